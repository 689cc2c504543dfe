//! Quoting of strings as by Go's `%q`.
//!
//! Upstream's error messages quote names this way, and programs match them. Rust's `{:?}`
//! has other escapes (`\u{7f}`, `\'`, `\0`).

use std::fmt::Write as _;

/// Returns the text in double quotes, with the escapes of Go.
///
/// Printable characters are kept. Others become `\n`, `\x01`, `\u0085` or `\U000e0001`,
/// and bytes that are not UTF-8 `\xff`.
///
/// ```
/// use cni_core::quote::quote;
///
/// assert_eq!(quote("it's\u{1}"), r#""it's\x01""#);
/// assert_eq!(quote([b'a', 0xff]), r#""a\xff""#);
/// ```
pub fn quote(text: impl AsRef<[u8]>) -> String {
    quote_bytes(text.as_ref())
}

fn quote_bytes(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            push_escaped(&mut out, c);
        }
        for byte in chunk.invalid() {
            push_hex(&mut out, u32::from(*byte));
        }
    }
    out.push('"');
    out
}

/// Returns a list of texts as Go prints it with `%q`: `["a" "b"]`.
pub(crate) fn quote_list<I>(texts: I) -> String
where
    I: IntoIterator,
    I::Item: AsRef<[u8]>,
{
    let mut out = String::from("[");
    for text in texts {
        if out.len() > 1 {
            out.push(' ');
        }
        out.push_str(&quote(text));
    }
    out.push(']');
    out
}

fn push_hex(out: &mut String, byte: u32) {
    // Writing to a String cannot fail.
    let _ = write!(out, "\\x{byte:02x}");
}

fn push_escaped(out: &mut String, c: char) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\u{7}' => out.push_str("\\a"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{b}' => out.push_str("\\v"),
        ' '..='~' => out.push(c),
        '\0'..='\u{7f}' => push_hex(out, u32::from(c)),
        _ if is_printable(c) => out.push(c),
        _ => {
            let code = u32::from(c);
            let _ = if code < 0x10000 {
                write!(out, "\\u{code:04x}")
            } else {
                write!(out, "\\U{code:08x}")
            };
        }
    }
}

/// Returns whether a character outside ASCII is printable.
///
/// The standard library's table is accessible only through `escape_debug`. That escapes a
/// combining mark at the start of a text, which Go does not, so a letter precedes it.
fn is_printable(c: char) -> bool {
    let mut buffer = [b'a'; 5];
    let len = 1 + c.encode_utf8(&mut buffer[1..]).len();
    let text = std::str::from_utf8(&buffer[..len]).unwrap_or_default();
    text.escape_debug().nth(1) == Some(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_as_by_go() {
        let table: &[(&[u8], &str)] = &[
            (b"", r#""""#),
            (b"plain text", r#""plain text""#),
            (b"say \"hi\" \\ it's", r#""say \"hi\" \\ it's""#),
            (b"\x07\x08\x0c\n\r\t\x0b", r#""\a\b\f\n\r\t\v""#),
            (b"\x00\x01\x1f\x7f", r#""\x00\x01\x1f\x7f""#),
            (
                "h\u{e9}llo \u{4e16} \u{1f600}".as_bytes(),
                "\"h\u{e9}llo \u{4e16} \u{1f600}\"",
            ),
            ("e\u{301}\u{301}".as_bytes(), "\"e\u{301}\u{301}\""),
            ("\u{301}".as_bytes(), "\"\u{301}\""),
            (
                "\u{80}\u{85}\u{a0}\u{ad}".as_bytes(),
                r#""\u0080\u0085\u00a0\u00ad""#,
            ),
            (
                "\u{200b}\u{2028}\u{feff}\u{e000}".as_bytes(),
                r#""\u200b\u2028\ufeff\ue000""#,
            ),
            (
                "\u{e0001}\u{10ffff}".as_bytes(),
                r#""\U000e0001\U0010ffff""#,
            ),
            (b"a\xff\xe2\x82b", r#""a\xff\xe2\x82b""#),
            ("\u{fffd}".as_bytes(), "\"\u{fffd}\""),
        ];
        for (text, expected) in table {
            assert_eq!(quote(text), *expected, "{text:?}");
        }
    }

    #[test]
    fn lists_are_quoted_as_by_go() {
        assert_eq!(quote_list::<[&str; 0]>([]), "[]");
        assert_eq!(quote_list(["a"]), r#"["a"]"#);
        assert_eq!(quote_list(["", "b c"]), r#"["" "b c"]"#);
    }
}
