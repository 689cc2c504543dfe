//! Errors and results of delegates.

use std::fs;
use std::time::{Duration, Instant};

use blackbox::{answer, state};
use serde_json::json;
use testkit::{Node, Run};

use crate::{GOOD, Stage};

/// Code, message and details of a delegate are passed on unchanged, because runtimes act on them. The details also name
/// the delegate.
#[test]
fn errors_of_add_are_passed_on() {
    for (object, code, msg, details) in [
        (
            r#"{"code":11,"msg":"come back later","details":"pool is locked"}"#,
            11,
            "come back later",
            "pool is locked; ",
        ),
        (
            r#"{"cniVersion":"1.0.0","code":7,"msg":"no such pool"}"#,
            7,
            "no such pool",
            "",
        ),
        (r#"{"code":123,"msg":"ours"}"#, 123, "ours", ""),
        (r#"{"CODE":50,"Msg":"loud"}"#, 50, "loud", ""),
        (
            r#"{"code":4294967295,"msg":"the largest"}"#,
            4_294_967_295,
            "the largest",
            "",
        ),
    ] {
        for exit in [1, 2, 255] {
            let stage = Stage::new(&format!("cat >/dev/null\necho '{object}'\nexit {exit}"));
            let error = stage.refused(code);
            assert_eq!(error.msg, msg);
            assert_eq!(error.details, format!("{details}{}", stage.delegate()));
            // No DEL follows: nothing was allocated, and DEL could release the addresses of a running container.
            assert_eq!(stage.verbs(), ["ADD"]);
        }
    }
}

/// The other verbs pass on the error of the delegate as well.
#[test]
fn errors_of_other_verbs_are_passed_on() {
    let script = format!(
        "case $CNI_COMMAND in ADD) ;; *) echo '{{\"code\":11,\"msg\":\"not now\"}}'; exit 1;; esac\n{GOOD}"
    );
    let stage = Stage::new(&script);
    let added = stage.call("ADD").run();
    answer::result(&added);
    let attached = state::of(&stage.host);
    for verb in ["CHECK", "STATUS", "GC"] {
        let error = answer::refusal(stage.call(verb).config(&added.with_prev()).run(), 11);
        assert_eq!(error.msg, "not now");
        attached.assert_same(&state::of(&stage.host));
    }
    // DEL deletes the interface all the same, and can be repeated until the addresses are released.
    for _ in 0..2 {
        assert_eq!(answer::refusal(stage.call("DEL").run(), 11).msg, "not now");
        assert!(stage.container.link("eth0").is_none());
        assert!(state::veths(&stage.host).is_empty());
    }
    assert_eq!(
        stage.verbs(),
        ["ADD", "CHECK", "STATUS", "GC", "DEL", "DEL"]
    );
}

/// A delegate that fails without an error object: the error contains its output and exit status.
#[test]
fn failures_without_an_error_object() {
    for (script, text) in [
        (
            "exit 3",
            "netplugin failed with no error message: exit status 3",
        ),
        (
            "kill -9 $$",
            "netplugin failed with no error message: signal: killed",
        ),
        (
            "kill -15 $$",
            "netplugin failed with no error message: signal: terminated",
        ),
        (
            "kill -11 $$",
            "netplugin failed with no error message: signal: segmentation fault",
        ),
        (
            "echo 'no pool' >&2; exit 3",
            "netplugin failed: \"no pool\\n\": exit status 3",
        ),
        (
            "echo garbage; exit 1",
            "netplugin failed but error parsing its diagnostic message \"garbage\\n\": \
             invalid character 'g' looking for beginning of value",
        ),
        (
            "printf '{\"code\":7'; exit 1",
            "netplugin failed but error parsing its diagnostic message \"{\\\"code\\\":7\": \
             unexpected end of JSON input",
        ),
        (
            "echo '{}'; exit 1",
            "netplugin failed with no error message: exit status 1",
        ),
        (
            "echo null; exit 1",
            "netplugin failed with no error message: exit status 1",
        ),
        (
            "echo '[]'; exit 1",
            "netplugin failed but error parsing its diagnostic message \"[]\\n\": ",
        ),
        (
            "echo '{\"code\":-1,\"msg\":\"x\"}'; exit 1",
            "netplugin failed but error parsing its diagnostic message ",
        ),
        (
            "printf 'a\\377b\\001'; exit 1",
            "netplugin failed but error parsing its diagnostic message \"a\\xffb\\x01\": ",
        ),
    ] {
        let stage = Stage::new(script);
        let error = stage.refused(0);
        assert!(
            error.msg.starts_with(text),
            "{script}: {text:?} expected, but is {:?}",
            error.msg
        );
    }
}

/// A delegate that succeeds but prints no valid result: ADD fails, and DEL releases what was allocated.
#[test]
fn unreadable_results_are_undone() {
    for (output, text) in [
        (
            "true",
            "failed to unmarshal raw result: unexpected end of JSON input",
        ),
        (
            "echo garbage",
            "failed to unmarshal raw result: invalid character 'g' looking for beginning of value",
        ),
        ("echo '[]'", "failed to unmarshal raw result: "),
        (
            "echo '{\"cniVersion\":\"9.9.9\"}'",
            "unsupported CNI result version \"9.9.9\"",
        ),
        (
            "echo '{\"cniVersion\":\"1.0.0\",\"ips\":[{\"address\":\"10.0.0.1\"}]}'",
            "invalid CIDR address: 10.0.0.1",
        ),
        ("echo '{\"cniVersion\":\"1.0.0\",\"ips\":[null]}'", "ips"),
        ("echo '{\"cniVersion\":\"1.0.0\",\"ips\":7}'", "ips"),
        (
            "echo '{\"cniVersion\":\"1.0.0\",\"ips\":[]}'",
            "IPAM plugin returned missing IP config",
        ),
        ("echo '{}'", "IPAM plugin returned missing IP config"),
        ("echo null", "IPAM plugin returned missing IP config"),
        // With exit status 0, an error object is not an error.
        (
            "echo '{\"code\":11,\"msg\":\"x\"}'",
            "IPAM plugin returned missing IP config",
        ),
    ] {
        let stage = Stage::new(&format!("cat >/dev/null\n{output}"));
        let error = stage.refused(999);
        assert!(
            error.msg.contains(text),
            "{output}: {text:?} expected, but is {:?}",
            error.msg
        );
        assert_eq!(stage.verbs(), ["ADD", "DEL"], "{output}");
    }
}

/// If the kernel refuses an address, ADD is undone, and DEL of the IPAM plugin is called.
#[test]
fn add_is_undone_if_the_kernel_refuses_an_address() {
    for ip in ["224.0.0.1/24", "0.0.0.0/24", "ff02::1/64"] {
        let answer = format!(
            "{{\"cniVersion\":\"1.0.0\",\"ips\":[{{\"address\":\"{ip}\",\"gateway\":\"{}\"}}]}}",
            if ip.contains(':') {
                "fd00::1"
            } else {
                "10.40.0.1"
            }
        );
        let stage = Stage::new(&format!("cat >/dev/null\necho '{answer}'"));
        let before = state::of(&stage.host);
        let run = stage.call("ADD").run();
        if run.is_ok() {
            // If this kernel accepts the address, CHECK must succeed as well.
            answer::silent(stage.call("CHECK").config(&run.with_prev()).run());
            continue;
        }
        answer::failure(run);
        before.assert_same(&state::of(&stage.host));
        assert_eq!(stage.verbs(), ["ADD", "DEL"], "{ip}");
    }
}

/// If the undo fails as well, the first error is reported.
#[test]
fn a_failing_undo_does_not_hide_the_cause() {
    let stage = Stage::new(
        r#"cat >/dev/null
if [ "$CNI_COMMAND" = DEL ]; then echo '{"code":11,"msg":"not now"}'; exit 1; fi
echo '{"cniVersion":"1.0.0","ips":[{"address":"10.40.0.2/24"}],"routes":[{"dst":"192.0.2.0/24","gw":"198.51.100.1"}]}'"#,
    );
    stage.refused(999).mentions("failed to add route");
    assert_eq!(stage.verbs(), ["ADD", "DEL"]);
}

/// A delegate gets the input of its caller byte for byte, and the same environment.
#[test]
fn delegates_get_the_input_and_environment_of_the_caller() {
    let script = format!(
        r#"dir=${{0%/*}}
cat >$dir/$CNI_COMMAND.stdin
env >$dir/$CNI_COMMAND.env
exec </dev/null
{GOOD}"#
    );
    let stage = Stage::new(&script);
    // Spelling, order and white space must be kept as they are.
    let input = format!(
        "\n {{ \"ZZZ\" : 1.50 , \"cniVersion\":\"1.1.0\", \"name\":\"net\",\t\"type\":\"bridge\", \
         \"IPAM\" : {{\"TYPE\":\"scripted\",\"pool\": \"<a&b>\\u00e9\"}}, \"big\":12345678901234567890123 , \
         \"padding\": \"{}\" }} \n",
        "x".repeat(300_000)
    );
    let call = |verb: &str| {
        let call = stage
            .call(verb)
            .stdin(input.clone())
            .env("SOMETHING_ELSE", "passed on");
        call.args("IgnoreUnknown=1;POOL=x")
            .env("CNI_NETNS_OVERRIDE", "")
    };
    let added = call("ADD").run();
    answer::result(&added);
    let check = input.replacen(
        "\"ZZZ\"",
        &format!("\"prevResult\":{}, \"ZZZ\"", added.stdout_text()),
        1,
    );
    for verb in ["ADD", "CHECK", "STATUS", "GC", "DEL"] {
        if verb == "CHECK" {
            answer::silent(call(verb).stdin(check.clone()).run());
        } else if verb != "ADD" {
            answer::silent(call(verb).run());
        }
        let recorded = |what: &str| {
            let path = stage.plugins.join(format!("{verb}.{what}"));
            fs::read_to_string(path).expect("read what the delegate got")
        };
        let expected = if verb == "CHECK" { &check } else { &input };
        assert!(recorded("stdin") == *expected, "{verb}: the input differs");
        let env = recorded("env");
        for line in [
            format!("CNI_COMMAND={verb}"),
            "CNI_CONTAINERID=c1".into(),
            "CNI_IFNAME=eth0".into(),
            format!("CNI_NETNS={}", stage.container.netns().display()),
            "CNI_ARGS=IgnoreUnknown=1;POOL=x".into(),
            format!("CNI_PATH={}", stage.path()),
            "SOMETHING_ELSE=passed on".into(),
        ] {
            assert!(
                env.lines().any(|l| l == line),
                "{verb}: {line} is not in\n{env}"
            );
        }
    }
}

/// Standard error of a delegate that succeeds is passed on.
#[test]
fn warnings_of_delegates_are_passed_on() {
    let stage = Stage::new(&format!("echo 'the pool is nearly empty' >&2\n{GOOD}"));
    let added = stage.call("ADD").run();
    answer::result(&added);
    assert!(
        added.stderr_text().contains("the pool is nearly empty"),
        "{}",
        added.report()
    );
}

/// A delegate may print a result of any version, whatever the version of the configuration.
#[test]
fn delegates_may_answer_in_any_version() {
    for (version, body) in [
        (
            "0.1.0",
            r#""ip4":{"ip":"10.40.0.2/24","gateway":"10.40.0.1"}"#,
        ),
        (
            "0.2.0",
            r#""ip4":{"ip":"10.40.0.2/24","gateway":"10.40.0.1"}"#,
        ),
        (
            "0.3.0",
            r#""ips":[{"version":"4","address":"10.40.0.2/24","gateway":"10.40.0.1"}]"#,
        ),
        (
            "0.4.0",
            r#""ips":[{"version":"4","address":"10.40.0.2/24","gateway":"10.40.0.1"}]"#,
        ),
        (
            "1.0.0",
            r#""ips":[{"address":"10.40.0.2/24","gateway":"10.40.0.1"}]"#,
        ),
        (
            "1.1.0",
            r#""ips":[{"address":"10.40.0.2/24","gateway":"10.40.0.1"}]"#,
        ),
        (
            "",
            r#""ips":[{"address":"10.40.0.2/24","gateway":"10.40.0.1"}]"#,
        ),
    ] {
        let named = format!("{{\"cniVersion\":\"{version}\",{body}}}");
        let stage = Stage::new(&format!("cat >/dev/null\necho '{named}'"));
        let result = answer::result(&stage.call("ADD").run());
        assert_eq!(result["cniVersion"], "1.1.0");
        assert_eq!(
            result["ips"],
            json!([{"address": "10.40.0.2/24", "gateway": "10.40.0.1", "interface": 2}]),
            "{named}"
        );
        stage.container.ping("10.40.0.1");
    }
}

/// A delegate that does not read its input does not block the caller.
#[test]
fn a_delegate_that_reads_nothing_does_not_block_the_caller() {
    let reads_nothing = GOOD.replacen("cat >/dev/null\n", "", 1);
    let stage = Stage::new(&reads_nothing);
    let mut config = stage.config();
    config["padding"] = json!("x".repeat(1 << 20));
    let started = Instant::now();
    let run: Run = stage.call("ADD").config(&config).run();
    answer::result(&run);
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
}
