//! The bill of materials of a release: CycloneDX 1.5 in JSON.
//!
//! It says what is linked into the binaries of all plugins and of cnitool together. cargo-cyclonedx would write one file for each
//! crate, without the C library and without a CPE.

use anyhow::Result;
use serde_json::{Value, json};

use super::components::{Component, Key};
use super::notices;
use crate::{build, commands, project};

/// The name under which vulnerability databases know this project.
const VENDOR: &str = "cni-plugins-rs";

/// Returns the document.
pub(crate) fn document(components: &[Component]) -> Result<Value> {
    let version = project::version();
    let plain = version.trim_start_matches('v');
    let root = format!("pkg:generic/{VENDOR}@{plain}");
    let shipped = components.iter().filter(|component| is_shipped(component));
    let mut dependencies: Vec<Value> = vec![json!({
        "ref": root,
        "dependsOn": shipped.map(|package| purl(&package.key())).collect::<Vec<_>>(),
    })];
    dependencies.extend(components.iter().map(|component| {
        json!({
            "ref": purl(&component.key()),
            "dependsOn": component.dependencies.iter().map(purl).collect::<Vec<_>>(),
        })
    }));
    let mut list: Vec<Value> = components.iter().map(crate_entry).collect();
    list.extend(notices::RUNTIME.iter().map(|(name, license, _)| {
        json!({
            "type": "library", "bom-ref": format!("runtime:{name}"), "name": name,
            "licenses": [{"expression": license}],
        })
    }));
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": timestamp()?,
            "component": {
                "type": "application", "bom-ref": root, "name": VENDOR, "version": plain,
                "licenses": [{"expression": "Apache-2.0"}],
                "purl": root,
                "cpe": format!("cpe:2.3:a:{VENDOR}:{VENDOR}:{}:*:*:*:*:*:*:*", escaped(plain)),
            },
        },
        "components": list,
        "dependencies": dependencies,
    }))
}

/// Whether a crate is one of those that contain the binaries.
fn is_shipped(component: &Component) -> bool {
    let is_plugin = component.dir.starts_with(project::root().join("plugins"));
    component.is_ours()
        && (is_plugin
            || [build::ALL_IN_ONE, build::CNITOOL, build::CONFORMANCE]
                .contains(&component.name.as_str()))
}

fn crate_entry(component: &Component) -> Value {
    let mut entry = json!({
        "type": "library", "bom-ref": purl(&component.key()),
        "name": component.name, "version": component.version,
        "licenses": [{"expression": component.license}],
        "purl": purl(&component.key()),
    });
    if let Some(checksum) = &component.checksum {
        entry["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
    }
    if let Some(repository) = &component.repository {
        entry["externalReferences"] = json!([{"type": "vcs", "url": repository}]);
    }
    entry
}

fn purl((name, version): &Key) -> String {
    format!("pkg:cargo/{name}@{version}")
}

/// A version as a component of a CPE: characters other than letters, digits, `_`, `.` and `-` are quoted.
fn escaped(version: &str) -> String {
    let mut text = String::new();
    for c in version.chars() {
        if !c.is_ascii_alphanumeric() && !"_.-".contains(c) {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

/// The date of the commit.
fn timestamp() -> Result<String> {
    let mut date = std::process::Command::new("date");
    date.args(["--utc", "+%Y-%m-%dT%H:%M:%SZ"])
        .arg(format!("--date=@{}", build::source_date()));
    commands::read(&mut date)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::dist::components;

    #[test]
    fn every_reference_is_a_component() {
        let components = components::linked().expect("cargo lists the linked crates");
        let document = document(&components).expect("a document");
        let list = |key: &str| document[key].as_array().expect("a list").clone();
        let mut known: BTreeSet<String> = list("components")
            .iter()
            .map(|entry| entry["bom-ref"].to_string())
            .collect();
        assert_eq!(
            known.len(),
            list("components").len(),
            "references are unique"
        );
        known.insert(document["metadata"]["component"]["bom-ref"].to_string());
        for node in list("dependencies") {
            assert!(known.contains(&node["ref"].to_string()), "{node}");
            let on = node["dependsOn"].as_array().expect("a list").clone();
            assert!(
                on.iter().all(|on| known.contains(&on.to_string())),
                "{node}"
            );
        }
        let roots = &list("dependencies")[0]["dependsOn"];
        assert!(roots.to_string().contains("cni-bridge@"), "{roots}");
        let cpe = document["metadata"]["component"]["cpe"].to_string();
        assert_eq!(cpe.replace("\\\\", "").matches(':').count(), 12, "{cpe}");
    }
}
