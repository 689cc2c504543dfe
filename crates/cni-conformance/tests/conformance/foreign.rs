//! A plugin of 30 lines of shell, which is in no way related to ours.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

use crate::check;

/// The rules that it fails, and why.
const FAILS: &[(&str, &str)] = &[];

/// A directory with the script as the plugin `shell`, and the file that describes it.
pub(crate) fn installed() -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let program = dir.path().join("shell");
    fs::write(&program, include_str!("shell.sh")).expect("the script is written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is executable");
    fs::write(dir.path().join("shell.json"), include_str!("shell.json"))
        .expect("the description is written");
    dir
}

#[test]
fn the_script_has_30_lines() {
    let lines = include_str!("shell.sh").lines().count();
    assert!(lines <= 30, "{lines}");
}

#[test]
fn it_fails_exactly_the_rules_that_it_breaks() {
    let dir = installed();
    let subject = dir.path().join("shell.json");
    let findings = check(
        dir.path(),
        "shell",
        &["--subject", &subject.to_string_lossy()],
    );
    let expected: BTreeSet<String> = FAILS.iter().map(|(rule, _)| (*rule).to_owned()).collect();
    findings.assert_failed(&expected);
    assert_eq!(findings.run.status.code(), Some(1));
    assert!(Path::new(&subject).is_file());
}
