//! The helper that makes a tap in another SELinux context, see `label.rs`: this very
//! program, started with arguments, which no runtime does.

use crate::{TunSpec, tun};
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

/// The first argument.
const ASKED: &str = "--create-tap";

/// What stands for an owner or group that is not given.
const NONE: &str = "-";

/// The arguments that ask for `spec`.
pub(crate) fn arguments(spec: &TunSpec) -> [String; 5] {
    let id = |id: Option<u32>| id.map_or(NONE.to_owned(), |id| id.to_string());
    [
        ASKED.to_owned(),
        spec.name.clone(),
        spec.multi_queue.to_string(),
        id(spec.owner),
        id(spec.group),
    ]
}

/// What `arguments` ask for; `None` when they ask for nothing of the kind.
fn parse(arguments: &[OsString]) -> Option<TunSpec> {
    let [asked, name, multi_queue, owner, group] = arguments else {
        return None;
    };
    let id = |text: &OsString| match text.to_str()? {
        NONE => Some(None),
        id => id.parse().ok().map(Some),
    };
    if asked != ASKED {
        return None;
    }
    Some(TunSpec {
        name: name.to_str()?.to_owned(),
        multi_queue: multi_queue.to_str()?.parse().ok()?,
        owner: id(owner)?,
        group: id(group)?,
    })
}

/// Acts as the helper if the process was started as it: makes the tap in the
/// process's network namespace, and says on standard error why it could not. `None`
/// when the process is the plugin.
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
    fn arguments_say_what_is_asked() {
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
