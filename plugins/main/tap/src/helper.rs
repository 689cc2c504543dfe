//! The helper process that creates a tap in another SELinux context, see `label.rs`:
//! this program started with arguments, which no runtime passes.

use crate::{TunSpec, tun};
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

/// The first argument of the helper.
const CREATE_TAP: &str = "--create-tap";

/// The argument for an owner or group that is not given.
const NONE: &str = "-";

/// The arguments that describe `spec`.
pub(crate) fn arguments(spec: &TunSpec) -> [String; 5] {
    let id = |id: Option<u32>| id.map_or(NONE.to_owned(), |id| id.to_string());
    [
        CREATE_TAP.to_owned(),
        spec.name.clone(),
        spec.multi_queue.to_string(),
        id(spec.owner),
        id(spec.group),
    ]
}

/// Parses `arguments`; `None` when they are not the helper's.
fn parse(arguments: &[OsString]) -> Option<TunSpec> {
    let [command, name, multi_queue, owner, group] = arguments else {
        return None;
    };
    let id = |text: &OsString| match text.to_str()? {
        NONE => Some(None),
        id => id.parse().ok().map(Some),
    };
    if command != CREATE_TAP {
        return None;
    }
    Some(TunSpec {
        name: name.to_str()?.to_owned(),
        multi_queue: multi_queue.to_str()?.parse().ok()?,
        owner: id(owner)?,
        group: id(group)?,
    })
}

/// Runs the helper if the process was started as one: creates the tap in the process's
/// network namespace, and reports a failure on standard error. `None` when the process
/// is the plugin.
pub fn main() -> Option<ExitCode> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let spec = parse(&arguments)?;
    Some(match tun::create(&spec) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let _ = writeln!(std::io::stderr(), "{e:#}");
            ExitCode::FAILURE
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_parsed_back() {
        for spec in [
            TunSpec {
                name: "eth0".into(),
                multi_queue: true,
                owner: Some(0),
                group: None,
            },
            TunSpec {
                name: "-".into(),
                multi_queue: false,
                owner: None,
                group: Some(u32::MAX),
            },
        ] {
            let arguments = arguments(&spec).map(OsString::from);
            assert_eq!(parse(&arguments), Some(spec));
            assert_eq!(parse(&arguments[1..]), None);
        }
        assert_eq!(parse(&[]), None);
    }
}
