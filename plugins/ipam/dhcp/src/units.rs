//! `dhcp units`: writes the systemd units, with the path of this binary.

use anyhow::{Context, bail};
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: dhcp units DIRECTORY
Writes cni-dhcp.service and cni-dhcp.socket into DIRECTORY, for this binary.";

/// The units, with a placeholder for the directory of the binary.
const UNITS: &[(&str, &str)] = &[
    (
        "cni-dhcp.service",
        include_str!("../../../../xtask/packaging/units/cni-dhcp.service"),
    ),
    (
        "cni-dhcp.socket",
        include_str!("../../../../xtask/packaging/units/cni-dhcp.socket"),
    ),
];

const PLACEHOLDER: &str = "@BINDIR@";

/// Writes the units; `arguments` are those after `units`.
pub(crate) fn main(arguments: &[OsString]) -> ExitCode {
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing better can be done when it is closed.
            let _ = writeln!(std::io::stderr(), "{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[OsString]) -> anyhow::Result<()> {
    let [directory] = arguments else {
        bail!(USAGE);
    };
    let program = std::env::current_exe().context("cannot find the path of this binary")?;
    let directory_of_program = program.parent().unwrap_or(Path::new("/"));
    if !directory_of_program.join("dhcp").exists() {
        bail!(
            "there is no dhcp in {}: install the binary, or a link to it, there first",
            directory_of_program.display()
        );
    }
    for (name, template) in UNITS {
        let path = Path::new(directory).join(name);
        let text = template.replace(PLACEHOLDER, &directory_of_program.to_string_lossy());
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
