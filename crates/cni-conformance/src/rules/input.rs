//! Standard input: what is no configuration, and how a configuration may be written.

use serde_json::{Value, json};

use super::support::by_shell;
use crate::demand;
use crate::rig::Rig;
use crate::rule::{Only, Rule, must, runtime, should};

const CODES: &str = "spec 5: Error";
const FORMAT: &str = "spec 2: Execution protocol";
const LIBRARY: &str = "library: skel";
const ADVICE: &str =
    "answer code 6, \"failed to decode content\", to input that is not a JSON object";
const MESSAGE: &str = "error unmarshall network config: ";

pub(crate) const RULES: &[Rule] = &[
    must("input.empty", CODES, "ADD refuses empty input with code 6", empty).advice(ADVICE).detached(),
    must("input.blank", CODES, "ADD refuses input of white space with code 6", blank).advice(ADVICE).detached(),
    must("input.cut-off", CODES, "ADD refuses a configuration that is cut off with code 6", cut_off).advice(ADVICE).detached(),
    must("input.not-json", CODES, "ADD refuses text that is not JSON with code 6", no_json).advice(ADVICE).detached(),
    must("input.not-utf8", CODES, "ADD refuses bytes that are not UTF-8 outside of strings with code 6", not_utf8).advice(ADVICE).detached(),
    must("input.not-an-object", CODES, "ADD refuses JSON that is not an object with code 6", no_object).advice(ADVICE).detached(),
    should("input.two-documents", LIBRARY, "ADD refuses two configurations in a row with code 6", two_documents).advice(ADVICE).detached(),
    must("input.del", CODES, "DEL refuses input that is not JSON with code 6", del).advice(ADVICE).detached(),
    must("input.check", CODES, "CHECK refuses input that is not JSON with code 6", check)
        .only(&[Only::Since("0.4.0")]).advice(ADVICE).detached(),
    must("input.gc", CODES, "GC refuses input that is not JSON with code 6", gc)
        .only(&[Only::Since("1.1.0")]).advice(ADVICE).detached(),
    must("input.status", CODES, "STATUS refuses input that is not JSON with code 6", status)
        .only(&[Only::Since("1.1.0")]).advice(ADVICE).detached(),
    should("input.text", LIBRARY, "The error for input that is not JSON begins with \"error unmarshall network config: \"", text).detached(),
    should("input.text-cut-off", "library: tests of its users", "The error for input that is cut off mentions \"unexpected end of JSON input\"", text_cut_off).detached(),
    should("input.refused-changes-nothing", "library: skel", "Input that is refused changes nothing", refused_changes_nothing).detached(),
    should("input.nesting", "library: decoding", "Input with 100,000 nested lists is answered, and does not crash the plugin", nesting)
        .advice("limit the depth of the parser: recursion on the stack is a crash").detached(),
    runtime("input.large", "libcni: input is a pipe", "A configuration of 1 MiB, more than a pipe holds, is read to its end", large),
    runtime("input.in-parts", "libcni: input is a pipe", "Input that arrives in parts is read to its end", in_parts),
    must("input.white-space", FORMAT, "White space and line feeds around tokens are accepted", white_space),
    must("input.escapes", FORMAT, "Escapes in strings are decoded", escapes),
    should("input.any-case", "library: decoding", "Keys match in any case", any_case)
        .advice("the reference library's decoder ignores the case of keys; configurations in the field rely on it"),
    should("input.last-wins", "library: decoding", "The last of several equal keys counts", last_wins).detached(),
    runtime("input.unknown-keys", "libcni: passes keys of others", "Keys that the plugin does not know are ignored", unknown_keys),
    runtime("input.null", "libcni, Go: empty members", "A known key with the value null counts as missing", null),
    runtime("input.reserved-keys", "spec 1: Configuration format", "Keys that begin with cni.dev/ are ignored by ADD", reserved_keys),
];

#[track_caller]
fn refuses(rig: &Rig, verb: &str, inputs: &[&[u8]]) {
    let pod = rig.pod("c1");
    for input in inputs {
        let call = rig.call(verb, &pod.container, &Value::Null).stdin(*input);
        demand::error_with(6, call.run());
    }
}

fn empty(rig: &Rig) {
    refuses(rig, "ADD", &[b""]);
}

fn blank(rig: &Rig) {
    refuses(rig, "ADD", &[b" ", b"\n\t\r\n"]);
}

fn cut_off(rig: &Rig) {
    let whole = rig.config().to_string();
    let (half, last) = (&whole[..whole.len() / 2], &whole[..whole.len() - 1]);
    refuses(rig, "ADD", &[b"{", half.as_bytes(), last.as_bytes()]);
}

fn no_json(rig: &Rig) {
    refuses(
        rig,
        "ADD",
        &[
            b"xyz",
            b"{\"name\":}",
            b"{name: 'net'}",
            b"{\"name\": \"net\",}",
            b"\0",
        ],
    );
}

fn not_utf8(rig: &Rig) {
    refuses(rig, "ADD", &[b"\xff\xfe{}", b"{\xff}"]);
}

fn no_object(rig: &Rig) {
    refuses(rig, "ADD", &[b"[]", b"\"text\"", b"7", b"true"]);
}

fn two_documents(rig: &Rig) {
    let one = rig.config().to_string();
    refuses(
        rig,
        "ADD",
        &[
            format!("{one}{one}").as_bytes(),
            format!("{one} x").as_bytes(),
        ],
    );
}

fn del(rig: &Rig) {
    refuses(rig, "DEL", &[b"", b"{", b"xyz"]);
}

fn check(rig: &Rig) {
    refuses(rig, "CHECK", &[b"", b"{", b"xyz"]);
}

fn gc(rig: &Rig) {
    refuses(rig, "GC", &[b"", b"{", b"xyz"]);
}

fn status(rig: &Rig) {
    refuses(rig, "STATUS", &[b"", b"{", b"xyz"]);
}

fn text(rig: &Rig) {
    let pod = rig.pod("c1");
    for input in ["", "{", "xyz", "[]"] {
        let call = rig.call("ADD", &pod.container, &Value::Null).stdin(input);
        demand::error(call.run()).mentions(MESSAGE);
    }
}

fn text_cut_off(rig: &Rig) {
    let pod = rig.pod("c1");
    for input in ["", "{"] {
        let call = rig.call("ADD", &pod.container, &Value::Null).stdin(input);
        demand::error(call.run()).mentions("unexpected end of JSON input");
    }
}

fn refused_changes_nothing(rig: &Rig) {
    let pod = rig.pod("c1");
    for input in ["", "{", "[]", "{\"name\": 7}"] {
        let call = rig.call("ADD", &pod.container, &Value::Null).stdin(input);
        rig.unchanged(|| demand::error(call.run()));
    }
}

fn nesting(rig: &Rig) {
    let pod = rig.pod("c1");
    let mut config = rig.config().to_string();
    let deep = 100_000;
    config.pop();
    config += &format!(",\"x\":{}{}}}", "[".repeat(deep), "]".repeat(deep));
    demand::orderly(
        rig.call("ADD", &pod.container, &Value::Null)
            .stdin(config)
            .run(),
    );
}

/// ADD succeeds with this text of the configuration, and so does DEL.
#[track_caller]
fn accepts(rig: &Rig, text: impl Fn(&Value) -> String) {
    let pod = rig.pod("c1");
    let config = pod.config(rig);
    let call = rig.call("ADD", &pod.container, &config);
    demand::result(&call.stdin(text(&config)).run());
    let call = rig.call("DEL", &pod.container, &config);
    demand::success(call.stdin(text(&config)).run());
}

fn large(rig: &Rig) {
    accepts(rig, |config| {
        let mut config = config.clone();
        config["com.example/note"] = json!("x".repeat(1 << 20));
        config.to_string()
    });
}

fn in_parts(rig: &Rig) {
    let pod = rig.pod("c1");
    let config = pod.config(rig).to_string();
    let half = (0..=config.len() / 2)
        .rev()
        .find(|at| config.is_char_boundary(*at));
    let (first, second) = config.split_at(half.unwrap_or(0));
    let first = rig.host.write("first", first);
    let second = rig.host.write("second", second);
    let script = format!(
        "{{ cat {}; sleep 0.3; cat {}; }} | $PLUGIN",
        first.display(),
        second.display()
    );
    let stdout = by_shell(rig, "ADD", &pod, &script);
    let result = stdout.unwrap_or_else(|err| panic!("ADD failed with input in two parts\n{err}"));
    let result: Result<Value, _> = serde_json::from_str(&result);
    assert!(
        result.is_ok_and(|result| result.is_object()),
        "ADD printed no result"
    );
}

fn white_space(rig: &Rig) {
    accepts(rig, |config| format!("\n\t {config:#}\r\n\n"));
}

/// A string in which each letter is an escape.
fn escaped(text: &str) -> String {
    text.encode_utf16()
        .map(|unit| format!("\\u{unit:04x}"))
        .collect()
}

fn escapes(rig: &Rig) {
    accepts(rig, |config| {
        let name = config["name"].as_str().unwrap_or_default();
        let kind = config["type"].as_str().unwrap_or_default();
        let version = config["cniVersion"].as_str().unwrap_or_default();
        [name, kind, version]
            .iter()
            .fold(config.to_string(), |text, word| {
                text.replacen(
                    &format!(":\"{word}\""),
                    &format!(":\"{}\"", escaped(word)),
                    1,
                )
            })
    });
}

fn any_case(rig: &Rig) {
    let pod = rig.pod("c1");
    let config = pod.config(rig);
    let members = config.as_object().into_iter().flatten();
    let upper: Value = members
        .map(|(key, value)| (key.to_uppercase(), value.clone()))
        .collect();
    let result = demand::result(&rig.add(&pod.container, &upper));
    assert!(
        result["cniVersion"] == rig.newest(),
        "the result has the version {} instead of {}",
        result["cniVersion"],
        rig.newest()
    );
    demand::success(rig.del(&pod.container, &upper));
}

fn last_wins(rig: &Rig) {
    let pod = rig.pod("c1");
    let mut config = rig.config().to_string();
    config.pop();
    config += ",\"name\":\"\"}";
    let call = rig.call("ADD", &pod.container, &Value::Null).stdin(config);
    demand::error_with(7, call.run());
}

/// ADD and DEL succeed with these keys added.
#[track_caller]
fn accepts_keys(rig: &Rig, keys: &Value) {
    accepts(rig, |config| with_keys(config, keys).to_string());
}

fn with_keys(config: &Value, keys: &Value) -> Value {
    let mut config = config.clone();
    for (key, value) in keys.as_object().into_iter().flatten() {
        config[key] = value.clone();
    }
    config
}

fn unknown_keys(rig: &Rig) {
    accepts_keys(
        rig,
        &json!({"com.example/note": {"deep": [1, 2.5, null, {"er": "x"}]}, "": 1, "é": true}),
    );
}

fn null(rig: &Rig) {
    accepts_keys(
        rig,
        &json!({"dns": null, "args": null, "cni.dev/valid-attachments": null}),
    );
}

fn reserved_keys(rig: &Rig) {
    accepts_keys(
        rig,
        &json!({"cni.dev/valid-attachments": [], "cni.dev/future": {"a": 1}}),
    );
}
