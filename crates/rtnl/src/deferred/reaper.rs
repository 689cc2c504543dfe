//! Whether the processes that this one leaves behind are reaped.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// The environment variable that overrides the answer: `always` or `never`.
const VARIABLE: &str = "CNI_DEFER";

/// Inode of the initial PID namespace (`PROC_PID_INIT_INO`, linux/proc_ns.h).
const INITIAL_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// Programs for PID 1 that reap all orphans. Nodes in containers (kind) run systemd.
const INIT_PROGRAMS: &[&str] = &["catatonit", "docker-init", "dumb-init", "systemd", "tini"];

/// Returns whether orphans of this process are sure to be reaped, or the variable's answer.
pub(super) fn reaps_orphans() -> bool {
    match std::env::var(VARIABLE).as_deref() {
        Ok("always") => true,
        Ok("never") => false,
        _ => is_in_initial_namespace() || is_below_init_program(),
    }
}

fn is_in_initial_namespace() -> bool {
    let namespace = fs::metadata("/proc/self/ns/pid");
    namespace.is_ok_and(|namespace| namespace.ino() == INITIAL_PID_NAMESPACE)
}

/// Returns whether PID 1 of this process's namespace is one of [`INIT_PROGRAMS`].
fn is_below_init_program() -> bool {
    let Ok(status) = fs::read_to_string("/proc/self/status") else {
        return false;
    };
    let program = fs::read_link("/proc/1/exe").unwrap_or_default();
    let name = program.file_name().and_then(OsStr::to_str);
    is_of_own_namespace(&status) && name.is_some_and(|name| INIT_PROGRAMS.contains(&name))
}

/// Returns whether `/proc` is that of the process's own PID namespace, from its status
/// there: in that of an outer one, the process has several IDs.
fn is_of_own_namespace(status: &str) -> bool {
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    ids.is_some_and(|ids| ids.split_whitespace().count() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outer_proc_is_recognised() {
        assert!(is_of_own_namespace("Name:\tx\nNSpid:\t7\nNSpgid:\t1\n"));
        assert!(!is_of_own_namespace("Name:\tx\nNSpid:\t907\t7\n"));
        assert!(!is_of_own_namespace("Name:\tx\n"));
    }
}
