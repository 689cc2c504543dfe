//! Against real child processes: small shell scripts standing in for plugins.

use super::*;
use crate::{Code, Error};
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Writes an executable script `name` into `dir`.
fn script(dir: &Path, name: &str, body: &str) -> PathBuf {
    let path = dir.join(name);
    // Written elsewhere and moved, so that no parallel fork holds it open for writing.
    let scratch = dir.join(format!("{name}.new"));
    std::fs::write(&scratch, format!("#!/bin/sh\n{body}\n")).unwrap();
    std::fs::set_permissions(&scratch, PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::rename(&scratch, &path).unwrap();
    path
}

fn run(body: &str, stdin: &[u8]) -> Result<Vec<u8>, Error> {
    let dir = tempfile::tempdir().unwrap();
    let path = script(dir.path(), "plugin", body);
    Invocation {
        path: &path,
        env: &[],
        stdin,
        trace: None,
        deadline: None,
    }
    .run()
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
    // Zero exit is success whatever was printed.
    assert_eq!(run("echo '{\"code\":7}'", b"").unwrap(), b"{\"code\":7}\n");
}

#[test]
fn large_input_and_output_do_not_block_each_other() {
    let big = vec![b'x'; 3 << 20];
    assert_eq!(run("cat", &big).unwrap(), big);
    // A plugin that never reads its input is fine.
    assert_eq!(run("echo done", &big).unwrap(), b"done\n");
    let err = run("head -c 200000 /dev/zero | tr '\\0' . >&2; exit 3", &big).unwrap_err();
    assert!(err.msg.ends_with(": exit status 3"));
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
    // Well-formed but empty: say more than nothing.
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
fn start_failures_name_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("plugin");
    let invocation = Invocation {
        path: &path,
        env: &[],
        stdin: b"",
        trace: None,
        deadline: None,
    };
    let expect = |cause: &str| {
        assert_eq!(
            invocation.run().unwrap_err().msg,
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

#[test]
fn a_deadline_ends_a_plugin_and_does_not_wait_for_its_children() {
    let dir = tempfile::tempdir().unwrap();
    let path = script(dir.path(), "plugin", "sleep 60 & wait");
    let deadline = Some(Duration::from_millis(100));
    let before = Instant::now();
    let error = Invocation {
        path: &path,
        env: &[],
        stdin: b"",
        trace: None,
        deadline,
    }
    .run()
    .unwrap_err();
    assert_eq!(
        error.msg,
        "netplugin failed with no error message: signal: killed"
    );
    assert!(
        before.elapsed() < Duration::from_secs(30),
        "waited for the grandchild"
    );
}

#[test]
fn one_that_is_started_ahead_waits_for_its_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let did = dir.path().join("did");
    let is_up = dir.path().join("pid");
    let text = format!(
        "echo $$ >{0}~; mv {0}~ {0}; read conf; echo $conf | tee {1}",
        is_up.display(),
        did.display()
    );
    let path = script(dir.path(), "plugin", &text);
    let invocation = Invocation {
        path: &path,
        env: &[],
        stdin: b"",
        trace: None,
        deadline: Some(Duration::from_secs(60)),
    };
    let pid = || loop {
        if let Ok(pid) = std::fs::read_to_string(&is_up) {
            std::fs::remove_file(&is_up).unwrap();
            break format!("/proc/{}", pid.trim());
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let given_up = invocation.start().unwrap();
    let process = pid();
    drop(given_up);
    assert!(!Path::new(&process).exists(), "left running");

    let started = invocation.start().unwrap();
    pid();
    assert!(!did.exists(), "acted without a configuration");
    assert_eq!(started.finish(b"conf\n").unwrap(), b"conf\n");
    assert!(did.exists());
}

#[test]
fn environment_is_inherited_and_overridden() {
    let dir = tempfile::tempdir().unwrap();
    let path = script(
        dir.path(),
        "plugin",
        "echo $CNI_COMMAND $TRACEPARENT ${TRACESTATE-none}; test -n \"$PATH\"",
    );
    let trace = TraceContext {
        traceparent: "00-ab-cd-01".into(),
        ..TraceContext::default()
    };
    let invocation = Invocation {
        path: &path,
        env: &[
            ("CNI_COMMAND", OsStr::new("CHECK")),
            ("TRACESTATE", OsStr::new("stale")),
        ],
        stdin: b"",
        trace: Some(&trace),
        deadline: None,
    };
    assert_eq!(invocation.run().unwrap(), b"CHECK 00-ab-cd-01 none\n");
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
        }
    }

    #[test]
    fn gets_the_verb_the_environment_and_the_same_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let seen = dir.path().join("seen");
        let body = format!(
            "{{ echo $CNI_COMMAND $CNI_CONTAINERID $CNI_NETNS $CNI_IFNAME $CNI_ARGS; cat; }} > {}\n\
             echo '{{\"ips\":[{{\"address\":\"10.0.0.2/24\"}}]}}'",
            seen.display()
        );
        script(dir.path(), "ipam", &body);
        let call = call(dir.path());
        // No version in the output: the configuration's.
        let result = delegate_add(&call, "ipam").unwrap();
        assert_eq!(result.ips[0].address.to_string(), "10.0.0.2/24");
        let expect = |verb: &str| {
            let mut expected =
                format!("{verb} c1 /run/netns/c1 eth0 IgnoreUnknown=1\n").into_bytes();
            expected.extend_from_slice(&call.stdin);
            assert_eq!(std::fs::read(&seen).unwrap(), expected);
        };
        expect("ADD");
        delegate_del(&call, "ipam").unwrap();
        expect("DEL");
        delegate_check(&call, "ipam").unwrap();
        expect("CHECK");
        delegate_gc(&call, "ipam").unwrap();
        expect("GC");
        delegate_status(&call, "ipam").unwrap();
        expect("STATUS");
    }

    #[test]
    fn errors_keep_their_code_and_silence_is_no_result() {
        let dir = tempfile::tempdir().unwrap();
        script(
            dir.path(),
            "busy",
            "echo '{\"code\":11,\"msg\":\"later\"}'; exit 1",
        );
        script(dir.path(), "mute", "");
        let call = call(dir.path());
        let error = delegate_add(&call, "busy").unwrap_err().context("wrapped");
        assert_eq!(
            Error::from_chain(&error),
            Error::new(Code::TRY_AGAIN_LATER, "later")
        );
        let error = delegate_add(&call, "mute").unwrap_err().to_string();
        assert!(
            error.starts_with("failed to unmarshal raw result: "),
            "{error}"
        );
        delegate_del(&call, "mute").unwrap();
        assert_eq!(
            delegate_add(&call, "../mute").unwrap_err().to_string(),
            "invalid plugin name: ../mute"
        );
    }
}
