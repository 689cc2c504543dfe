//! Plugins that misbehave: each is a clear error in bounded time and memory.

use crate::rig::{Rig, attachment, list, parsed, result};
use libcni::Error;
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};
use testkit::patience;

/// Longer than any plugin here takes that is not meant to be killed, on a busy machine.
const LONG: Duration = Duration::from_secs(120);

/// Long enough for a plugin to begin, short enough to wait for.
const SHORT: Duration = Duration::from_secs(3);

/// Runs ADD of a plugin with this body, and returns the error's text without its context.
fn add(body: &str, limit: Duration) -> String {
    let rig = Rig::new();
    rig.script("one", body);
    let started = Instant::now();
    let cni = rig.cni().time_limit(limit);
    let error = cni
        .add(&list("1.1.0", &["one"]), &attachment())
        .unwrap_err();
    assert!(started.elapsed() < LONG);
    assert!(!rig.results().exists());
    let text = error.to_string();
    let prefix = r#"plugin type="one" failed (add): "#;
    text.strip_prefix(prefix)
        .expect("the context of a chain")
        .to_owned()
}

#[test]
fn one_that_prints_no_result_is_an_error_that_shows_what_it_printed() {
    let result = "failed to unmarshal raw result: ";
    assert_eq!(
        add("", LONG),
        format!("{result}unexpected end of JSON input")
    );
    assert_eq!(
        add("echo garbage", LONG),
        format!("{result}invalid character 'g' looking for beginning of value")
    );
    assert_eq!(
        add("exec >&-; exit 0", LONG),
        format!("{result}unexpected end of JSON input")
    );
    assert_eq!(
        add("echo '[]'", LONG),
        format!("{result}expected an object, got array")
    );
    assert_eq!(
        add(r#"echo '{"cniVersion":"3.0.0"}'"#, LONG),
        r#"unsupported CNI result version "3.0.0""#
    );
    assert_eq!(
        add("echo garbage; exit 3", LONG),
        "netplugin failed but error parsing its diagnostic message \"garbage\\n\": \
         invalid character 'g' looking for beginning of value"
    );
    assert_eq!(
        add("echo why >&2; exit 3", LONG),
        r#"netplugin failed: "why\n": exit status 3"#
    );
}

#[test]
fn one_that_dies_by_a_signal_says_which() {
    let prefix = "netplugin failed with no error message: signal: ";
    assert_eq!(
        add("kill -SEGV $$", LONG),
        format!("{prefix}segmentation fault")
    );
    assert_eq!(add("kill -9 $$", LONG), format!("{prefix}killed"));
}

#[test]
fn one_that_hangs_is_killed_with_its_children() {
    let rig = Rig::new();
    let pids = rig.path("pids");
    rig.script(
        "one",
        &format!("sleep 300 & echo $! >{0}; echo begun; wait", pids.display()),
    );
    let limit = SHORT * patience();
    let cni = rig.cni().time_limit(limit);
    let error = cni
        .add(&list("1.1.0", &["one"]), &attachment())
        .unwrap_err()
        .to_string();
    let expected = format!(
        "netplugin failed: killed because it had not finished after {limit:?}; its output begins with \"begun\""
    );
    assert!(error.ends_with(&expected), "{error}");
    let child = fs::read_to_string(&pids).unwrap();
    let until = Instant::now() + LONG;
    // Gone, or a zombie until init reaps it.
    let is_alive = || {
        let status = fs::read_to_string(format!("/proc/{}/status", child.trim()));
        status.is_ok_and(|status| !status.contains("State:\tZ"))
    };
    while is_alive() {
        assert!(Instant::now() < until, "the grandchild goes on");
        std::thread::yield_now();
    }
}

#[test]
fn one_that_leaves_children_behind_does_not_delay_its_result() {
    let rig = Rig::new();
    let answer = result("1.1.0", "10.0.0.1/8");
    // The daemon keeps the plugin's standard output open.
    rig.script(
        "one",
        &format!(
            "sleep 300 & echo $! >{}; echo '{answer}'",
            rig.path("pid").display()
        ),
    );
    let started = Instant::now();
    rig.cni()
        .add(&list("1.1.0", &["one"]), &attachment())
        .unwrap();
    assert!(started.elapsed() < LONG);
    let pid = fs::read_to_string(rig.path("pid")).unwrap();
    let pid = nix::unistd::Pid::from_raw(pid.trim().parse().unwrap());
    // It goes on after success.
    nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL).unwrap();
}

#[test]
fn one_that_writes_without_end_is_killed() {
    let flood = "netplugin failed: killed because it wrote more than 8 MiB to standard";
    assert_eq!(
        add("exec yes", LONG),
        format!("{flood} output; its output begins with \"y\"")
    );
    assert_eq!(
        add("exec yes >&2", LONG),
        format!("{flood} error; its output begins with \"y\"")
    );
}

#[test]
fn one_that_does_not_read_its_configuration_succeeds() {
    let rig = Rig::new();
    rig.script(
        "one",
        &format!("exec <&-; echo '{}'", result("1.1.0", "10.0.0.1/8")),
    );
    // More than a pipe holds.
    let list = parsed(&json!({
        "cniVersion": "1.1.0", "name": "net", "plugins": [{"type": "one", "filler": "x".repeat(1 << 20)}],
    }));
    rig.cni().add(&list, &attachment()).unwrap();
}

#[test]
fn no_plugin_starts_after_the_deadline() {
    let rig = Rig::new();
    rig.answering("one", &result("1.1.0", "10.0.0.1/8"));
    rig.script("two", "exec sleep 300");
    let chain = list("1.1.0", &["one", "two"]);
    let cni = rig.cni().deadline(Instant::now());
    let error = cni.add(&chain, &attachment()).unwrap_err().to_string();
    assert!(
        error.starts_with(r#"plugin type="one" failed (add): netplugin failed with no error message: context deadline exceeded;"#),
        "{error}"
    );
    assert!(rig.take().is_empty());
    let started = Instant::now();
    let cni = rig.cni().deadline(started + SHORT * patience());
    let error = cni.add(&chain, &attachment()).unwrap_err();
    assert!(
        matches!(&error, Error::Step { kind, .. } if kind == "two"),
        "{error}"
    );
    assert!(started.elapsed() >= SHORT && started.elapsed() < LONG);
    assert_eq!(rig.take(), ["ADD one"]);
}

#[test]
fn a_file_that_is_no_program_is_reported_as_by_upstream() {
    let rig = Rig::new();
    let path = rig.bin().join("one");
    fs::write(&path, "\0\0").unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    let error = rig
        .cni()
        .add(&list("1.1.0", &["one"]), &attachment())
        .unwrap_err();
    let path = path.display();
    assert_eq!(
        error.to_string(),
        format!(
            r#"plugin type="one" failed (add): netplugin failed with no error message: fork/exec {path}: exec format error"#
        )
    );
}

#[test]
fn a_type_with_separators_executes_nothing() {
    let rig = Rig::new();
    rig.script("one", &format!("touch {}", rig.path("executed").display()));
    let kind = "../bin/one";
    let error = rig
        .cni()
        .add(&list("1.1.0", &[kind]), &attachment())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(r#"plugin type="{kind}" failed (add): invalid plugin name: {kind}"#)
    );
    assert!(!rig.path("executed").exists());
}
