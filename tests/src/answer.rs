//! Assertions about the output of a plugin.

use serde::Serialize;
use serde_json::{Value, json};
use testkit::{ErrorReply, Run};

/// Demands success with nothing on standard output, as of DEL, CHECK, GC and STATUS (CNI specification, section 3).
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

/// Demands a failure with `code`, exit status 1, and an error object in exactly the form in which plugins built on the
/// reference library print it: one document, the keys `code`, `msg` and, if not empty, `details` in this order, an
/// indent of four spaces, no newline at the end.
///
/// # Panics
///
/// When the plugin succeeded, or the object differs.
#[track_caller]
pub fn refusal(run: Run, code: u64) -> ErrorReply {
    let error = run.clone().expect_error(code);
    let mut object = json!({"code": error.code, "msg": error.msg});
    if !error.details.is_empty() {
        object["details"] = json!(error.details);
    }
    // Go escapes U+FFFD, its replacement for bytes that are not UTF-8.
    let text = run.stdout_text().replace("\\ufffd", "\u{fffd}");
    assert_eq!(
        text,
        pretty(&object),
        "the form of the error object differs\n{}",
        run.report()
    );
    error
}

/// Demands a failure with any code, and an error object in the form that [`refusal`] demands.
///
/// # Panics
///
/// When the plugin succeeded, or the object has another form.
#[track_caller]
pub fn failure(run: Run) -> ErrorReply {
    assert!(!run.is_ok(), "a failure expected\n{}", run.report());
    let code = run.json()["code"].as_u64();
    let code = code.unwrap_or_else(|| panic!("an error object expected\n{}", run.report()));
    refusal(run, code)
}

/// Demands a result in the form in which the reference library prints it: an indent of four spaces, no newline at the
/// end. Returns the result.
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
        "the form of the result differs\n{}",
        run.report()
    );
    value
}

/// Formats a document as the reference library does: an indent of four spaces, no newline at the end, keys in their
/// order, and `<`, `>` and `&` escaped.
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

/// Returns the text of a result with placeholders for values that differ from run to run: `<bridge mac>`,
/// `<veth mac>` and `<mac>` for hardware addresses, `<veth>` for the generated name of the host's end, `<netns>` for
/// the path of the namespace.
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
        // The hardware address of lo is always zero.
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
