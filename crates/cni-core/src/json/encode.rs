//! Encoder of JSON documents.
//!
//! For the same members in the same order the output is byte-identical to that of the
//! reference library, since programs compare whole documents.

use std::fmt::Write as _;

use serde_json::{Number, Value};

/// Returns the document with four spaces of indentation and no final newline.
///
/// `<`, `>`, `&`, U+2028 and U+2029 are escaped, empty objects and arrays are `{}` and
/// `[]`, and members keep their order.
pub fn to_string_pretty(value: &Value) -> String {
    let mut out = String::with_capacity(1024);
    write_value(&mut out, value, Some(0));
    out
}

/// Returns the document without white space, otherwise like [`to_string_pretty`].
pub fn to_string(value: &Value) -> String {
    let mut out = String::with_capacity(256);
    write_value(&mut out, value, None);
    out
}

/// Writes a value. `depth` is the level of indentation; `None` selects the compact form.
fn write_value(out: &mut String, value: &Value, depth: Option<usize>) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => write_number(out, number),
        Value::String(text) => write_string(out, text),
        Value::Array(list) => {
            let inner = depth.map(|depth| depth + 1);
            out.push('[');
            for (i, element) in list.iter().enumerate() {
                write_separator(out, i, inner);
                write_value(out, element, inner);
            }
            write_end(out, ']', list.is_empty(), depth);
        }
        Value::Object(object) => {
            let inner = depth.map(|depth| depth + 1);
            out.push('{');
            for (i, (key, member)) in object.iter().enumerate() {
                write_separator(out, i, inner);
                write_string(out, key);
                out.push_str(if inner.is_some() { ": " } else { ":" });
                write_value(out, member, inner);
            }
            write_end(out, '}', object.is_empty(), depth);
        }
    }
}

fn write_separator(out: &mut String, index: usize, depth: Option<usize>) {
    if index > 0 {
        out.push(',');
    }
    write_line_break(out, depth);
}

fn write_end(out: &mut String, bracket: char, empty: bool, depth: Option<usize>) {
    if !empty {
        write_line_break(out, depth);
    }
    out.push(bracket);
}

fn write_line_break(out: &mut String, depth: Option<usize>) {
    if let Some(depth) = depth {
        out.push('\n');
        for _ in 0..depth {
            out.push_str("    ");
        }
    }
}

/// Writes a number: integers exactly, others as Go writes a float64, without an exponent
/// from 1e-6 to 1e21 and with one outside that range.
fn write_number(out: &mut String, number: &Number) {
    // Writing to a String cannot fail.
    let _ = match number.as_f64() {
        Some(float) if number.is_f64() => {
            let size = float.abs();
            if size != 0.0 && !(1e-6..1e21).contains(&size) {
                let text = format!("{float:e}");
                match text.split_once('e') {
                    Some((mantissa, exponent)) if !exponent.starts_with('-') => {
                        write!(out, "{mantissa}e+{exponent}")
                    }
                    _ => write!(out, "{text}"),
                }
            } else {
                write!(out, "{float}")
            }
        }
        _ => write!(out, "{number}"),
    };
}

fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn indentation_is_four_spaces() {
        let value = json!({"b": [1, {"c": []}], "a": {}, "d": null});
        assert_eq!(
            to_string_pretty(&value),
            "{\n    \"b\": [\n        1,\n        {\n            \"c\": []\n        }\n    ],\n    \
             \"a\": {},\n    \"d\": null\n}"
        );
        assert_eq!(to_string(&value), r#"{"b":[1,{"c":[]}],"a":{},"d":null}"#);
        assert_eq!(to_string_pretty(&json!([])), "[]");
    }

    #[test]
    fn strings_are_escaped_as_by_go() {
        let text =
            "<a href=\"x\">&\\/\u{2028}\u{2029}\u{8}\u{c}\n\r\t\u{0}\u{1f}\u{7f}\u{e9}\u{1f600}";
        assert_eq!(
            to_string(&json!(text)),
            "\"\\u003ca href=\\\"x\\\"\\u003e\\u0026\\\\/\\u2028\\u2029\\b\\f\\n\\r\\t\\u0000\\u001f\u{7f}\u{e9}\u{1f600}\""
        );
        assert_eq!(to_string(&json!({"<": 1})), r#"{"\u003c":1}"#);
    }

    #[test]
    fn numbers_are_written_as_by_go() {
        let table = [
            (json!(1500), "1500"),
            (json!(-1), "-1"),
            (json!(u64::MAX), "18446744073709551615"),
            (json!(1500.0), "1500"),
            (json!(1e3), "1000"),
            (json!(0.5), "0.5"),
            (json!(0.1), "0.1"),
            (json!(0.000001), "0.000001"),
            (json!(0.00000012), "1.2e-7"),
            (json!(1e20), "100000000000000000000"),
            (json!(1e21), "1e+21"),
            (json!(-2.5e300), "-2.5e+300"),
            (json!(0.0), "0"),
            (json!(-0.0), "-0"),
            (
                json!(123456789012345678901234567890.0),
                "1.2345678901234568e+29",
            ),
        ];
        for (value, expected) in table {
            assert_eq!(to_string(&value), expected);
        }
    }
}
