//! Tests with shell scripts as plugins.

use super::exec::{self, Failure};
use super::find::{find_in_path, split_path};
use super::*;
use crate::{Code, Error};
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(60);

/// Writes an executable script `name` into `dir`.
fn script(dir: &Path, name: &str, body: &str) -> PathBuf {
    let path = dir.join(name);
    // Renamed after writing, so that no concurrent fork has it open for writing.
    let scratch = dir.join(format!("{name}.new"));
    std::fs::write(&scratch, format!("#!/bin/sh\n{body}\n")).unwrap();
    std::fs::set_permissions(&scratch, PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::rename(&scratch, &path).unwrap();
    path
}

fn finish(path: &Path, stdin: &[u8], time: Duration) -> Result<Vec<u8>, Failure> {
    let fail = |error| Failure {
        error,
        was_killed: false,
    };
    let running = exec::start(path, &[]).map_err(fail)?;
    exec::finish(running, stdin, time)
}

fn run(body: &str, stdin: &[u8]) -> Result<Vec<u8>, Error> {
    let dir = tempfile::tempdir().unwrap();
    let path = script(dir.path(), "plugin", body);
    finish(&path, stdin, LONG).map_err(|failure| failure.error)
}

fn msg(body: &str) -> String {
    let error = run(body, b"{}").unwrap_err();
    assert_eq!(error.code, Code::UNKNOWN, "{error}");
    error.msg
}

#[test]
fn names_are_plain_file_names() {
    let dirs = vec![PathBuf::from("/bin")];
    assert_eq!(find_in_path("", &dirs), Err(FindError::NoName));
    for name in ["../bin/sh", "/bin/sh", "a/b", "x\0y"] {
        assert_eq!(
            find_in_path(name, &dirs),
            Err(FindError::InvalidName(name.into()))
        );
    }
    assert_eq!(
        find_in_path("sh", &[]).unwrap_err().to_string(),
        "no paths provided"
    );
    for name in [".", ".."] {
        assert!(matches!(
            find_in_path(name, &dirs),
            Err(FindError::NotFound { .. })
        ));
    }
}

#[test]
fn first_regular_file_wins_and_links_are_followed() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::create_dir(a.path().join("plugin")).unwrap();
    let real = script(b.path(), "real", "");
    std::os::unix::fs::symlink(&real, b.path().join("plugin")).unwrap();
    let dirs = vec![a.path().into(), PathBuf::new(), b.path().into()];
    assert_eq!(
        find_in_path("plugin", &dirs).unwrap(),
        b.path().join("plugin")
    );
    let dirs = vec![PathBuf::from("/a"), "/b".into(), "".into()];
    assert_eq!(
        find_in_path("x", &dirs).unwrap_err().to_string(),
        r#"failed to find plugin "x" in path [/a /b ]"#
    );
    assert_eq!(split_path(OsStr::new("")), Vec::<PathBuf>::new());
    assert_eq!(split_path(OsStr::new("/a:/b:")), dirs);
}

#[test]
fn output_is_returned_and_input_delivered() {
    assert_eq!(
        run("cat", b"{\"name\":\"x\"}").unwrap(),
        b"{\"name\":\"x\"}"
    );
    // Exit code 0 is success, whatever the output.
    assert_eq!(run("echo '{\"code\":7}'", b"").unwrap(), b"{\"code\":7}\n");
}

#[test]
fn failures_are_decoded_as_runtimes_expect() {
    assert_eq!(
        msg("exit 1"),
        "netplugin failed with no error message: exit status 1"
    );
    assert_eq!(
        msg("kill -9 $$"),
        "netplugin failed with no error message: signal: killed"
    );
    assert_eq!(
        msg("printf 'a \"b\"\\n' >&2; exit 2"),
        r#"netplugin failed: "a \"b\"\n": exit status 2"#
    );
    assert!(
        msg("printf nonsense; exit 1").starts_with(
            r#"netplugin failed but error parsing its diagnostic message "nonsense": "#
        )
    );
    // An object without code and message.
    for empty in ["echo '{}'; exit 1", "echo null; exit 1"] {
        assert_eq!(
            msg(empty),
            "netplugin failed with no error message: exit status 1"
        );
    }
    let object =
        r#"echo '{"cniVersion":"1.1.0","code":11,"msg":"later","details":"soon"}'; exit 1"#;
    assert_eq!(
        run(object, b"").unwrap_err(),
        Error::new(Code::TRY_AGAIN_LATER, "later").with_details("soon")
    );
}

#[test]
fn long_outputs_are_shortened_in_errors() {
    let text = msg("head -c 5000 /dev/zero | tr '\\0' x >&2; exit 1");
    assert!(
        text.ends_with("xxx\"... (5000 bytes): exit status 1"),
        "{text}"
    );
    assert!(text.len() < 1200);
}

#[test]
fn limits_say_what_was_exceeded_and_show_the_first_line() {
    let dir = tempfile::tempdir().unwrap();
    let expect = |body: &str, time: Duration, msg: &str, details: &str| {
        let failure = finish(&script(dir.path(), "plugin", body), b"", time).unwrap_err();
        let error = Error::new(Code::UNKNOWN, msg).with_details(details);
        assert_eq!(failure.error, error);
        assert!(failure.was_killed);
    };
    let flood = "netplugin failed: killed because it wrote more than 8 MiB to standard";
    expect(
        "echo; echo a; exec yes",
        LONG,
        &format!("{flood} output"),
        r#"its output begins with "a""#,
    );
    expect(
        "exec yes >&2",
        LONG,
        &format!("{flood} error"),
        r#"its output begins with "y""#,
    );
    let late = "netplugin failed: killed because it had not finished after 100ms";
    expect(
        "exec sleep 60",
        Duration::from_millis(100),
        late,
        "it wrote nothing",
    );
}

#[test]
fn start_failures_name_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("plugin");
    let expect = |cause: &str| {
        assert_eq!(
            exec::start(&path, &[]).unwrap_err().msg,
            format!(
                "netplugin failed with no error message: fork/exec {}: {cause}",
                path.display()
            )
        );
    };
    expect("no such file or directory");
    std::fs::write(&path, "").unwrap();
    expect("permission denied");
}

mod delegate {
    use super::*;
    use crate::{Call, Command, Version, json};

    fn call(dir: &Path) -> Call {
        let stdin = br#"{ "name": "net",  "cniVersion":"1.0.0","ipam":{"type":"ipam"} }"#.to_vec();
        Call {
            command: Command::Add,
            container_id: "c1".into(),
            netns: "/run/netns/c1".into(),
            if_name: "eth0".into(),
            args: "IgnoreUnknown=1".into(),
            path: dir.into(),
            netns_override: false,
            conf: json::parse(&stdin).unwrap(),
            stdin,
            name: "net".into(),
            version: Version::V1_0_0,
            bundle: Default::default(),
        }
    }

    #[test]
    fn receives_verb_environment_and_the_unchanged_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let seen = dir.path().join("seen");
        let body = format!(
            "{{ echo $CNI_COMMAND $CNI_CONTAINERID $CNI_NETNS $CNI_IFNAME $CNI_ARGS; cat; }} > {}\n\
             echo '{{\"ips\":[{{\"address\":\"10.0.0.2/24\"}}]}}'",
            seen.display()
        );
        script(dir.path(), "ipam", &body);
        let call = call(dir.path());
        // The output has no version, so that of the configuration applies.
        let result = delegate_add(&call, "ipam").unwrap();
        assert_eq!(result.ips[0].address.to_string(), "10.0.0.2/24");
        let expect = |verb: &str| {
            let mut expected =
                format!("{verb} c1 /run/netns/c1 eth0 IgnoreUnknown=1\n").into_bytes();
            expected.extend_from_slice(&call.stdin);
            assert_eq!(std::fs::read(&seen).unwrap(), expected);
        };
        let run = |verb| delegate(&call, "ipam", verb).unwrap();
        expect("ADD");
        run(Command::Del);
        expect("DEL");
        run(Command::Check);
        expect("CHECK");
        run(Command::Gc);
        expect("GC");
        run(Command::Status);
        expect("STATUS");
    }

    #[test]
    fn errors_keep_their_code_and_empty_output_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        script(
            dir.path(),
            "busy",
            "echo '{\"code\":11,\"msg\":\"later\"}'; exit 1",
        );
        script(dir.path(), "mute", "");
        let call = call(dir.path());
        let error = delegate_add(&call, "busy").unwrap_err().context("wrapped");
        let name = format!("delegate: busy ({}/busy)", dir.path().display());
        assert_eq!(
            Error::from_chain(&error),
            Error::new(Code::TRY_AGAIN_LATER, "later").with_details(name)
        );
        let error = delegate_add(&call, "mute").unwrap_err().to_string();
        assert!(
            error.starts_with("failed to unmarshal raw result: "),
            "{error}"
        );
        delegate(&call, "mute", Command::Del).unwrap();
        assert_eq!(
            delegate_add(&call, "../mute").unwrap_err().to_string(),
            "invalid plugin name: ../mute"
        );
    }
}
