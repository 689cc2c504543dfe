//! The command line: exit status, files, and errors that say what to do.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::{Run, bin_dir, patience};

use crate::{foreign, program};

fn ours(more: &[&str]) -> Run {
    let dir = bin_dir();
    let dir = dir.to_string_lossy();
    program(
        &[
            &[
                "--cni-path",
                &*dir,
                "--plugin",
                "host-local",
                "--rule",
                "command",
            ],
            more,
        ]
        .concat(),
    )
    .run()
}

/// Demands exit status 2 and a message that contains each of `parts`.
#[track_caller]
fn refused(arguments: &[&str], parts: &[&str]) {
    let run = program(arguments).run();
    assert_eq!(run.status.code(), Some(2), "{}", run.report());
    for part in parts {
        assert!(
            run.stderr_text().contains(part),
            "no {part:?}\n{}",
            run.report()
        );
    }
}

#[test]
fn the_table_has_a_line_for_each_plugin() {
    let text = ours(&["--plugin", "static"]).expect_ok().stdout_text();
    for name in ["plugin ", "host-local ", "static ", "all "] {
        assert!(
            text.lines().any(|line| line.starts_with(name)),
            "no {name:?}\n{text}"
        );
    }
}

#[test]
fn files_are_written_in_three_forms() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let (json, junit, markdown) = (file("a.json"), file("a.xml"), file("a.md"));
    ours(&["--json", &json, "--junit", &junit, "--markdown", &markdown]).expect_ok();
    let json: Value = serde_json::from_slice(&fs::read(json).expect("written")).expect("JSON");
    assert_eq!(json["plugins"][0]["plugin"], "host-local");
    assert_eq!(json["summary"]["failedMust"], 0);
    let rule = &json["plugins"][0]["results"][0];
    assert!(
        rule["rule"]
            .as_str()
            .is_some_and(|id| id.starts_with("command.")),
        "{rule}"
    );
    assert_eq!(rule["outcome"], "passed");
    let junit = fs::read_to_string(junit).expect("written");
    assert!(junit.starts_with("<?xml version=\"1.0\""), "{junit}");
    assert!(
        junit.contains("<testcase classname=\"host-local\" name=\"command.unknown-text\""),
        "{junit}"
    );
    let markdown = fs::read_to_string(markdown).expect("written");
    assert!(
        markdown.contains("| host-local | 0.1.0 to 1.1.0 |"),
        "{markdown}"
    );
}

#[test]
fn one_version_can_be_chosen() {
    let run = ours(&["--spec", "0.4.0", "--json", "-"]).expect_ok();
    assert_eq!(run.json()["plugins"][0]["versions"], json!(["0.4.0"]));
}

/// Checks the shell plugin.
fn foreign(more: &[&str]) -> Run {
    let dir = foreign::installed();
    let path = dir.path().to_string_lossy().into_owned();
    let subject = format!("{path}/shell.json");
    let base = ["--cni-path", &path, "--subject", &subject];
    program(&[&base, more].concat()).run()
}

/// The exit status follows the severity of what failed.
#[test]
fn only_strict_minds_the_severity_should() {
    let status = |more: &[&str]| foreign(more).status.code();
    let should = ["--rule", "command.missing-succeeds"];
    assert_eq!(status(&should), Some(0));
    assert_eq!(status(&[&should[..], &["--strict"]].concat()), Some(1));
    assert_eq!(status(&["--rule", "errors.escapes"]), Some(1));
}

#[test]
fn a_failure_says_what_was_expected_what_was_seen_and_what_to_do() {
    let text = foreign(&["--rule", "errors.escapes"]).stdout_text();
    for part in [
        "shell: errors.escapes failed (must; spec 5: Error)",
        "  expected  ",
        "  seen      ",
        "  to do     ",
    ] {
        assert!(text.contains(part), "no {part:?}\n{text}");
    }
}

#[test]
fn fail_fast_stops_at_a_failure_that_counts() {
    let run = foreign(&["--jobs", "1", "--fail-fast", "--json", "-"]);
    assert_eq!(run.status.code(), Some(1), "{}", run.report());
    let report = run.json();
    assert_eq!(report["summary"]["failedMust"], 1, "{}", run.report());
    let results = report["plugins"][0]["results"]
        .as_array()
        .map_or(0, Vec::len);
    assert!((5..300).contains(&results), "{results} results");
}

#[test]
fn verbose_says_why_a_rule_does_not_apply() {
    let text = foreign(&["--rule", "gc.late-del", "--verbose"]).expect_ok();
    let expected = "shell: gc.late-del does not apply: the plugin does not support version 1.1.0";
    assert!(text.stdout_text().contains(expected), "{}", text.report());
}

#[test]
fn unusable_arguments_are_refused() {
    let dir = bin_dir();
    let dir = dir.to_string_lossy();
    refused(&[], &["--cni-path"]);
    refused(&["--cni-path", "/nowhere"], &["/nowhere", "No such file"]);
    refused(&["--cni-path", "/run"], &["/run", "copy"]);
    refused(
        &["--cni-path", &dir, "--rule", "nothing"],
        &["nothing", "--list"],
    );
    refused(&["--cni-path", &dir, "--spec", "1.2"], &["1.2", "1.1.0"]);
    refused(&["--cni-path", &dir, "--plugin", "absent"], &["absent"]);
    refused(
        &["--cni-path", &dir, "--plugin", "cnitool"],
        &["cnitool", "--subject"],
    );
    refused(&["--cni-path", "/usr/share"], &["/usr/share", "--subject"]);
    refused(&["--list", "--junit", "-"], &["--junit"]);
    refused(&["--cni-path", &dir, "--quick"], &["--quick"]);
}

#[test]
fn descriptions_that_cannot_be_used_are_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().to_string_lossy().into_owned();
    for (text, part) in [
        ("{", "not JSON"),
        ("{}", "plugin"),
        (
            r#"{"plugin": "a/b", "config": {"name": "n", "type": "a"}}"#,
            "not the name of a file",
        ),
        (r#"{"plugin": "a", "config": 7}"#, "config"),
        (r#"{"plugin": "a", "config": {"name": "n"}}"#, "config.type"),
        (
            r#"{"plugin": "a", "config": {"name": "n", "type": "a"}, "needs": ["flux"]}"#,
            "flux",
        ),
        (
            r#"{"plugin": "a", "config": {"name": "n", "type": "a"}, "ipam": true}"#,
            "ipam",
        ),
    ] {
        let file = dir.path().join("subject.json");
        fs::write(&file, text).expect("written");
        let file = file.to_string_lossy().into_owned();
        refused(&["--cni-path", &path, "--subject", &file], &[&file, part]);
    }
}

/// A rule that cannot be checked is neither passed nor failed.
#[test]
fn what_could_not_be_prepared_is_reported_as_not_run() {
    let dir = foreign::installed();
    let path = dir.path().to_string_lossy().into_owned();
    let text =
        include_str!("shell.json").replace("\"plugin\"", "\"before\": [\"exit 7\"], \"plugin\"");
    let file = dir.path().join("broken.json");
    fs::write(&file, text).expect("written");
    let file = file.to_string_lossy().into_owned();
    let arguments = [
        "--cni-path",
        &path,
        "--subject",
        &file,
        "--rule",
        "versions.answer",
        "--json",
        "-",
    ];
    let run = program(&arguments).run();
    assert_eq!(run.status.code(), Some(2), "{}", run.report());
    assert_eq!(run.json()["plugins"][0]["results"][0]["outcome"], "not-run");
}

/// How many processes run a program.
fn processes_of(program: &Path) -> usize {
    let entries = fs::read_dir("/proc").expect("/proc is there").flatten();
    let programs = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let name = program.as_os_str().as_encoded_bytes();
    programs
        .filter(|words| words.split(|byte| *byte == 0).next() == Some(name))
        .count()
}

#[track_caller]
fn wait_for(count: usize, program: &Path) {
    let end = Instant::now() + Duration::from_secs(30) * patience();
    while processes_of(program) != count {
        assert!(
            Instant::now() < end,
            "never {count} of {}",
            program.display()
        );
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn nothing_runs_on_when_the_program_is_killed() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name);
    let daemon = path("daemon");
    symlink("/bin/sleep", &daemon).expect("a link");
    fs::write(path("unused"), "").expect("written");
    let subject = json!({
        "plugin": "unused", "config": {"name": "n", "type": "unused"}, "versions": ["1.0.0"],
        "before": [format!("{} 300 >/dev/null 2>&1 &", daemon.display()), "sleep 300"],
    });
    let file = path("subject.json");
    fs::write(&file, subject.to_string()).expect("written");
    let (path, file) = (dir.path().to_string_lossy(), file.to_string_lossy());
    let subject = ["--cni-path", &*path, "--subject", &*file];
    let rule = ["--rule", "versions.answer"];
    let mut running = program(&[&subject[..], &rule].concat()).start();
    wait_for(1, &daemon);
    running.kill();
    wait_for(0, &daemon);
}
