//! The form of errors, and of silence on success.

use serde::Serialize;
use serde_json::{Value, json};
use testkit::Run;

use super::support::{by_shell, call};
use crate::demand;
use crate::rig::Rig;
use crate::rule::{Only, Rule, must, runtime, should};

const ERROR: &str = "spec 5: Error";
const SUCCESS: &str = "spec 5: Success";
const OVERVIEW: &str = "spec 2: Overview";
const LIBRARY: &str = "library: types";

pub(crate) const RULES: &[Rule] = &[
    must(
        "errors.status",
        OVERVIEW,
        "The exit status of a failure is not 0",
        status,
    )
    .advice("runtimes take status 0 for success, whatever is on standard output")
    .detached(),
    should(
        "errors.status-1",
        LIBRARY,
        "The exit status of a failure is 1",
        status_1,
    )
    .detached(),
    must(
        "errors.is-object",
        ERROR,
        "A failure prints one JSON object on standard output, and nothing else",
        is_object,
    )
    .advice("errors go to standard output; standard error is for logs")
    .detached(),
    must(
        "errors.code",
        ERROR,
        "An error has the member code, a number that is not negative",
        code,
    )
    .detached(),
    must(
        "errors.code-not-0",
        ERROR,
        "The code of an error is not 0",
        code_not_0,
    )
    .detached(),
    must(
        "errors.msg",
        ERROR,
        "An error has the member msg, a string that is not empty",
        msg,
    )
    .detached(),
    must(
        "errors.details",
        ERROR,
        "The member details of an error is a string, or missing",
        details,
    )
    .detached(),
    must(
        "errors.version",
        ERROR,
        "The member cniVersion of an error is a version, or missing",
        version,
    )
    .detached(),
    should(
        "errors.members",
        LIBRARY,
        "An error has no other members than the specification names",
        members,
    )
    .detached(),
    must(
        "errors.reserved-codes",
        ERROR,
        "Codes below 100 are only used for what the specification says",
        reserved_codes,
    )
    .only(&[Only::Netns])
    .advice("use codes from 100 on for the plugin's own errors")
    .detached(),
    must(
        "errors.escapes",
        ERROR,
        "Quotes, backslashes and control characters of the input do not break an error's JSON",
        escapes,
    )
    .advice("encode errors with a JSON library instead of printing text")
    .detached(),
    must(
        "errors.utf8",
        ERROR,
        "Bytes of the environment that are not UTF-8 do not break an error's JSON",
        utf8,
    )
    .detached(),
    should(
        "errors.form",
        LIBRARY,
        "An error is indented by four spaces, in the order code, msg, details, without line feed",
        form,
    )
    .detached(),
    must(
        "errors.no-result",
        OVERVIEW,
        "A failed ADD prints no result",
        no_result,
    )
    .only(&[Only::Netns])
    .detached(),
    should(
        "errors.del-is-silent",
        SUCCESS,
        "DEL prints nothing on success",
        del_is_silent,
    ),
    should(
        "errors.check-is-silent",
        SUCCESS,
        "CHECK prints nothing on success",
        check_is_silent,
    )
    .only(&[Only::Since("0.4.0")]),
    must(
        "errors.gc-is-silent",
        "spec 2: GC",
        "GC prints nothing on success",
        gc_is_silent,
    )
    .only(&[Only::Since("1.1.0")]),
    should(
        "errors.status-verb-is-silent",
        SUCCESS,
        "STATUS prints nothing on success",
        status_verb_is_silent,
    )
    .only(&[Only::Since("1.1.0")]),
    must(
        "errors.add-prints-result",
        SUCCESS,
        "A successful ADD prints one JSON object, and nothing else",
        add_prints_result,
    ),
    runtime(
        "errors.stderr-closed",
        "daemons without standard error",
        "ADD and DEL work if standard error is closed",
        stderr_closed,
    ),
    runtime(
        "errors.stdout-is-file",
        "scripts",
        "ADD works if standard output is a file",
        stdout_is_file,
    ),
    should(
        "errors.result-form",
        LIBRARY,
        "A result is indented by four spaces, without line feed at its end",
        result_form,
    ),
];

/// Errors that every plugin has: an unknown verb, invalid input, no network name.
fn failures(rig: &Rig) -> Vec<Run> {
    let pod = rig.pod("c1");
    let mut nameless = pod.config(rig);
    nameless["name"] = json!("");
    vec![
        super::call(rig, "PING", &pod).run(),
        rig.call("ADD", &pod.container, &Value::Null)
            .stdin("{")
            .run(),
        rig.add(&pod.container, &nameless),
        super::call(rig, "ADD", &pod)
            .without_env("CNI_IFNAME")
            .run(),
    ]
}

/// Demands something of each error.
#[track_caller]
fn each(rig: &Rig, what: &str, is_met: impl Fn(&Value) -> bool) {
    for run in failures(rig) {
        let object = demand::object(&run, "an error object");
        assert!(is_met(&object), "{what}: {object}\n{}", run.report());
    }
}

fn status(rig: &Rig) {
    for run in failures(rig) {
        assert!(!run.is_ok(), "status 0 with an error\n{}", run.report());
    }
}

fn status_1(rig: &Rig) {
    for run in failures(rig) {
        let status = run.status.code();
        assert!(
            status == Some(1),
            "{} instead of exit status 1\n{}",
            run.status,
            run.report()
        );
    }
}

fn is_object(rig: &Rig) {
    each(rig, "", |_| true);
}

fn code(rig: &Rig) {
    each(rig, "no code", |error| error["code"].is_u64());
}

fn code_not_0(rig: &Rig) {
    each(rig, "code 0", |error| error["code"] != 0);
}

fn msg(rig: &Rig) {
    each(rig, "no msg", |error| {
        error["msg"].as_str().is_some_and(|msg| !msg.is_empty())
    });
}

fn details(rig: &Rig) {
    each(rig, "details are not a string", |error| {
        error.get("details").is_none_or(Value::is_string)
    });
}

fn version(rig: &Rig) {
    each(rig, "cniVersion is not a version", |error| {
        error.get("cniVersion").is_none_or(|version| {
            version
                .as_str()
                .is_some_and(|text| text.split('.').count() == 3)
        })
    });
}

fn members(rig: &Rig) {
    each(rig, "other members", |error| {
        let known = ["cniVersion", "code", "msg", "details"];
        error
            .as_object()
            .is_some_and(|members| members.keys().all(|key| known.contains(&key.as_str())))
    });
}

fn reserved_codes(rig: &Rig) {
    let pod = rig.pod("c1");
    let path = rig.host.dir().join("missing");
    let error = demand::error(super::call(rig, "ADD", &pod).netns(path).run());
    // 8 is the reference library's, for the namespace.
    let known = [4, 5, 7, 8, 11];
    assert!(
        error.code >= 100 || known.contains(&error.code),
        "code {} for a namespace that does not exist",
        error.code
    );
}

fn escapes(rig: &Rig) {
    let pod = rig.pod("c1");
    let mut config = pod.config(rig);
    for name in ["a\"b", "a\\b", "a\nb", "a\u{1}b", "\"}", "%s%n", "<a>&'"] {
        config["name"] = json!(name);
        demand::orderly(rig.add(&pod.container, &config));
    }
    for id in ["a\"b", "a\\b", "a\nb", "a\u{1}b"] {
        demand::orderly(super::call(rig, "ADD", &pod).id(id).run());
    }
}

fn utf8(rig: &Rig) {
    use std::os::unix::ffi::OsStrExt;
    let pod = rig.pod("c1");
    let odd = std::ffi::OsStr::from_bytes(b"a\xff\xfe/");
    for variable in ["CNI_CONTAINERID", "CNI_IFNAME"] {
        demand::error(super::call(rig, "ADD", &pod).env(variable, odd).run());
    }
}

/// A document as the reference library prints it, which escapes some characters of HTML.
fn pretty(value: &Value) -> String {
    let mut text = Vec::new();
    let indent = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, indent);
    value
        .serialize(&mut serializer)
        .unwrap_or_else(|err| panic!("write JSON: {err}"));
    let text = String::from_utf8_lossy(&text);
    text.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
}

#[track_caller]
fn has_form(run: &Run, object: &Value) {
    let expected = pretty(object);
    assert!(
        run.stdout_text() == expected,
        "the form differs from\n{expected}\n{}",
        run.report()
    );
}

fn form(rig: &Rig) {
    for run in failures(rig) {
        let error = demand::object(&run, "an error object");
        let mut object = json!({"code": error["code"], "msg": error["msg"]});
        if let Some(details) = error.get("details") {
            object["details"] = details.clone();
        }
        has_form(&run, &object);
    }
}

fn no_result(rig: &Rig) {
    let pod = rig.pod("c1");
    let path = rig.host.dir().join("missing");
    let run = super::call(rig, "ADD", &pod).netns(path).run();
    let object = demand::object(&run, "an error object");
    for key in ["ips", "interfaces", "ip4", "ip6"] {
        assert!(
            object.get(key).is_none(),
            "an error with {key}\n{}",
            run.report()
        );
    }
}

#[track_caller]
fn is_silent(run: Run) {
    demand::silence(&demand::success(run));
}

fn del_is_silent(rig: &Rig) {
    let attached = rig.attach("c1");
    is_silent(call(rig, "DEL", &attached).run());
}

fn check_is_silent(rig: &Rig) {
    let attached = rig.attach("c1");
    is_silent(call(rig, "CHECK", &attached).run());
}

fn gc_is_silent(rig: &Rig) {
    is_silent(rig.plugin.gc(&rig.config()));
}

fn status_verb_is_silent(rig: &Rig) {
    is_silent(rig.plugin.status(&rig.config()));
}

fn add_prints_result(rig: &Rig) {
    let attached = rig.attach("c1");
    assert!(
        attached.result.is_object(),
        "no object\n{}",
        attached.run.report()
    );
}

/// A script that runs the plugin with this input and redirection.
fn redirected(rig: &Rig, config: &Value, redirection: &str) -> String {
    let input = rig.host.write("input", config.to_string());
    format!("exec $PLUGIN <{} {redirection}", input.display())
}

fn stderr_closed(rig: &Rig) {
    let pod = rig.pod("c1");
    let script = redirected(rig, &pod.config(rig), "2>&-");
    for verb in ["ADD", "DEL"] {
        by_shell(rig, verb, &pod, &script)
            .unwrap_or_else(|err| panic!("{verb} failed without standard error\n{err}"));
    }
}

fn stdout_is_file(rig: &Rig) {
    let pod = rig.pod("c1");
    let file = rig.host.write("output", b"");
    let script = redirected(rig, &pod.config(rig), &format!(">{}", file.display()));
    by_shell(rig, "ADD", &pod, &script).unwrap_or_else(|err| panic!("ADD failed\n{err}"));
    let text = std::fs::read(&file).unwrap_or_default();
    let result: Result<Value, _> = serde_json::from_slice(&text);
    assert!(
        result.is_ok_and(|result| result.is_object()),
        "the file has no result"
    );
}

fn result_form(rig: &Rig) {
    let attached = rig.attach("c1");
    has_form(&attached.run, &attached.result);
}
