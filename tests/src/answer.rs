//! Demands on what a plugin printed.

use serde::Serialize;
use serde_json::{Value, json};
use testkit::{ErrorReply, Run};

/// Demands success without a word, as DEL, CHECK, GC and STATUS owe it (CNI specification, section 3).
///
/// # Panics
///
/// When the plugin failed, or printed anything on standard output.
#[track_caller]
pub fn silent(run: Run) -> Run {
    let run = run.expect_ok();
    assert!(
        run.stdout.is_empty(),
        "nothing on standard output expected\n{}",
        run.report()
    );
    run
}

/// Demands a failure with `code` whose error object has exactly the form that plugins built on the reference
/// library print: one document, keys `code`, `msg` and perhaps `details` in this order, four spaces of
/// indent, no newline at the end; exit status 1.
///
/// # Panics
///
/// When it succeeded, or the object is another one.
#[track_caller]
pub fn refusal(run: Run, code: u64) -> ErrorReply {
    let error = run.clone().expect_error(code);
    let mut object = json!({"code": error.code, "msg": error.msg});
    if !error.details.is_empty() {
        object["details"] = json!(error.details);
    }
    // Go writes what was not UTF-8 as an escape, which is the same character.
    let text = run.stdout_text().replace("\\ufffd", "\u{fffd}");
    assert_eq!(
        text,
        pretty(&object),
        "the error object has another form\n{}",
        run.report()
    );
    error
}

/// Demands a failure whose error object has the form [`refusal`] demands, whatever its code.
///
/// # Panics
///
/// When it succeeded, or the object has another form.
#[track_caller]
pub fn failure(run: Run) -> ErrorReply {
    assert!(!run.is_ok(), "a failure expected\n{}", run.report());
    let code = run.json()["code"].as_u64();
    let code = code.unwrap_or_else(|| panic!("an error object expected\n{}", run.report()));
    refusal(run, code)
}

/// Demands a result printed as the reference library prints it: four spaces of indent, no newline at the end.
///
/// # Panics
///
/// When the plugin failed or printed something else.
#[track_caller]
pub fn result(run: &Run) -> Value {
    assert!(run.is_ok(), "plugin failed\n{}", run.report());
    let value = run.json();
    assert_eq!(
        run.stdout_text(),
        pretty(&value),
        "printed in another form\n{}",
        run.report()
    );
    value
}

/// A document with four spaces of indent and no newline at the end, keys in their order, and `<`, `>` and `&`
/// escaped as the reference library escapes them.
///
/// # Panics
///
/// Never: a [`Value`] can always be written to memory.
pub fn pretty(value: &Value) -> String {
    let mut text = Vec::new();
    let indent = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    value
        .serialize(&mut serde_json::Serializer::with_formatter(
            &mut text, indent,
        ))
        .unwrap();
    let text = String::from_utf8(text).unwrap();
    // These three occur in strings only.
    text.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
}

/// A result's text with everything that differs from run to run replaced by a name: hardware addresses and
/// the random name of the host's end by `<bridge mac>`, `<veth>`, `<veth mac>`, `<mac>`, the namespace's path by
/// `<netns>`.
///
/// # Panics
///
/// When the plugin failed or printed no JSON.
#[track_caller]
pub fn normalised(run: &Run) -> String {
    assert!(run.is_ok(), "plugin failed\n{}", run.report());
    let result = run.json();
    let mut text = run.stdout_text();
    for interface in result["interfaces"].as_array().into_iter().flatten() {
        let member = |key: &str| interface[key].as_str().unwrap_or_default().to_owned();
        let (name, mac, sandbox) = (member("name"), member("mac"), member("sandbox"));
        let of = match (name.starts_with("veth"), sandbox.is_empty()) {
            (true, true) => "<veth mac>",
            (false, true) => "<bridge mac>",
            (_, false) => "<mac>",
        };
        // The zero address of lo is no matter of chance.
        if !mac.is_empty() && mac != "00:00:00:00:00:00" {
            text = text.replace(&mac, of);
        }
        if name.starts_with("veth") && sandbox.is_empty() {
            text = text.replace(&name, "<veth>");
        }
        if !sandbox.is_empty() {
            text = text.replace(&sandbox, "<netns>");
        }
    }
    text
}
