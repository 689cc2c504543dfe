//! A plugin of 30 lines of shell, which is in no way related to ours.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use crate::check;

/// The rules that it fails, by the reason.
const FAILS: &[(&str, &[&str])] = &[
    (
        "without CNI_COMMAND it has nothing to say about itself",
        &[
            "command.missing-succeeds",
            "command.missing-is-silent",
            "command.missing-names-plugin",
            "command.missing-lists-versions",
            "command.missing-checks-nothing",
            "command.empty-is-missing",
        ],
    ),
    (
        "it puts text from outside into JSON as it is",
        &[
            "command.white-space",
            "command.not-utf8",
            "identifiers.id-blank",
            "identifiers.id-punctuation",
            "identifiers.id-not-utf8",
            "namespace.not-utf8",
            "errors.escapes",
            "errors.utf8",
        ],
    ),
    (
        "it names the first variable that is missing, in words of its own",
        &[
            "variables.all-names-in-error",
            "variables.text",
            "identifiers.id-before-others",
        ],
    ),
    ("it does without CNI_PATH", &["variables.add-path"]),
    (
        "its texts and its spacing are not those of the reference library",
        &[
            "identifiers.id-in-details",
            "identifiers.ifname-text",
            "input.text",
            "input.text-cut-off",
            "config.name-text",
            "versions.text",
            "errors.form",
            "errors.result-form",
        ],
    ),
    (
        "it takes any namespace",
        &[
            "namespace.own-add",
            "namespace.own-add-changes-nothing",
            "namespace.own-add-one-object",
            "namespace.own-bound",
            "namespace.own-del",
            "namespace.own-no-override",
        ],
    ),
    (
        "sed is no JSON parser",
        &[
            "command.unknown-reads-input-first",
            "input.not-json",
            "input.not-utf8",
            "input.two-documents",
            "input.white-space",
            "input.escapes",
            "input.any-case",
            "config.null",
            "previous.del-other-version",
        ],
    ),
    (
        "it does not check the name of the network",
        &[
            "config.name-path",
            "config.name-first-character",
            "config.name-blank",
            "config.name-not-ascii",
            "config.name-in-del",
            "config.name-in-check",
        ],
    ),
    (
        "CHECK looks for its address, and not at prevResult",
        &[
            "previous.check-requires-it",
            "previous.check-not-an-object",
            "previous.check-reads-it",
            "check.interface-down",
            "check.other-sandbox",
        ],
    ),
    (
        "all containers have the same address",
        &["concurrency.unique-addresses"],
    ),
];

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
    let rules = FAILS.iter().flat_map(|(_, rules)| rules.iter());
    let expected: BTreeSet<String> = rules.map(ToString::to_string).collect();
    findings.assert_failed(&expected);
    assert_eq!(findings.run.status.code(), Some(1));
}
