//! The section `sizes`: the binaries beside the peer's.

use std::fs;

use anyhow::Result;
use serde_json::json;

use super::report::Report;
use super::targets::Target;
use super::{Section, Setup};
use crate::project::SIZE_BUDGET;

pub(super) const SECTION: Section = Section {
    name: "sizes",
    needs: &[],
    measure,
};

fn measure(setup: &Setup<'_>) -> Result<Report> {
    let peer_size = |name: &str| Some(fs::metadata(setup.peer?.join(name)).ok()?.len());
    let rows = setup.binaries.iter().map(|binary| {
        let peer = peer_size(&binary.name);
        let ratio = peer.map(|size| format!("{:.1}x", size as f64 / binary.size as f64));
        let cell = |value: Option<String>| value.unwrap_or_else(|| "-".into());
        vec![
            binary.name.clone(),
            binary.size.to_string(),
            cell(peer.map(|size| size.to_string())),
            cell(ratio),
        ]
    });
    let head = ["binary", "bytes", "peer's bytes", "smaller"];
    let mut report = Report::new(SECTION.name, &head, rows.collect());
    report.notes = "Static binaries.".into();
    let bytes = setup.binaries.iter();
    let bytes = bytes.map(|binary| json!({"name": binary.name, "bytes": binary.size}));
    report.data = bytes.collect();
    let largest = setup.binaries.iter().max_by_key(|binary| binary.size);
    report.targets = largest
        .map(|binary| Target {
            what: "binary size".into(),
            wanted: format!("below {SIZE_BUDGET} bytes"),
            is: format!("{} bytes ({})", binary.size, binary.name),
            met: binary.size < SIZE_BUDGET,
        })
        .into_iter()
        .collect();
    Ok(report)
}
