//! Parser of JSON documents, with the error messages of Go's decoder.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::{Map, Value};

use super::Error;

/// Parses one document, which only white space may follow.
///
/// Bytes that are not UTF-8 become U+FFFD. Of several equal keys the last one is kept, at
/// its own position. Nesting is limited to 127 levels, so that a document cannot exhaust
/// the stack of a function that recurses into it.
///
/// # Errors
/// `unexpected end of JSON input`, `invalid character 'x' looking for beginning of
/// value` and so on, in the words of Go's decoder.
pub fn parse(bytes: &[u8]) -> Result<Value, Error> {
    let text = decode_utf8(bytes);
    match serde_json::from_str::<Document>(&text) {
        Ok(document) => Ok(document.0),
        Err(error) => Err(reword(&text, &error)),
    }
}

/// Replaces each byte that is not UTF-8 by U+FFFD.
fn decode_utf8(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Cow::Owned(text)
}

/// Returns the parser's error in the words of Go's decoder, if it has an equivalent.
#[cold]
fn reword(text: &str, error: &serde_json::Error) -> Error {
    if error.classify() == Category::Eof {
        return Error::new("unexpected end of JSON input");
    }
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    if message == "recursion limit exceeded" {
        return Error::new("nested deeper than 127 levels");
    }
    let (before, c) = offending_character(text, error.line(), error.column()).unzip();
    let context = match message {
        "expected value" => "looking for beginning of value",
        "trailing characters" => "after top-level value",
        "expected `:`" => "after object key",
        "expected `,` or `}`" => "after object key:value pair",
        "expected `,` or `]`" => "after array element",
        "key must be a string" => "looking for beginning of object key string",
        "trailing comma" if c == Some('}') => "looking for beginning of object key string",
        "trailing comma" => "looking for beginning of value",
        "invalid number" => "in numeric literal",
        // For a \u escape with invalid digits the parser reports the position of the last one.
        "invalid escape" if before.is_some_and(|text| text.ends_with('\\')) => {
            "in string escape code"
        }
        "control character (\\u0000-\\u001F) found while parsing a string" => "in string literal",
        "expected ident" => "in literal",
        // The others do not concern a single character: a number out of range, half of a
        // surrogate pair.
        other => return Error::new(format!("invalid JSON: {other}")),
    };
    match c {
        Some(c) => Error::new(format!("invalid character {} {context}", quote_char(c))),
        None => Error::new(format!("invalid JSON: {message}")),
    }
}

/// Returns the text before the invalid character in its line, and the character. `line`
/// counts from 1, `column` counts bytes from 1.
fn offending_character(text: &str, line: usize, column: usize) -> Option<(&str, char)> {
    let line = text.split('\n').nth(line.checked_sub(1)?)?;
    match column.checked_sub(1) {
        // Column 0: the invalid character is the line break before this line.
        None => Some(("", '\n')),
        Some(at) => {
            let (before, rest) = line.split_at_checked(at)?;
            Some((before, rest.chars().next().unwrap_or('\n')))
        }
    }
}

/// Returns a character in single quotes, as in the messages of Go's decoder.
fn quote_char(c: char) -> String {
    match c {
        '\'' => r"'\''".to_owned(),
        '"' => r#"'"'"#.to_owned(),
        _ => {
            let quoted = crate::quote::quote(c.to_string());
            format!("'{}'", quoted.trim_matches('"'))
        }
    }
}

/// A [`Value`] in which the last of several equal keys keeps its own position. With
/// `serde_json`'s deserializer it would take the position of the first, and of `name`,
/// `Name`, `name` the second would win.
struct Document(Value);

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DocumentVisitor).map(Document)
    }
}

struct DocumentVisitor;

impl<'de> Visitor<'de> for DocumentVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Document(element)) = seq.next_element()? {
            list.push(element);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((key, Document(member))) = map.next_entry::<String, Document>()? {
            // Entries are moved only if the key exists already.
            object.shift_remove(&key);
            object.insert(key, member);
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fails(text: &str) -> String {
        parse(text.as_bytes()).expect_err(text).to_string()
    }

    #[test]
    fn reads_values() {
        let text = br#" {"a": [1, -2, 2.5, true, false, null, "x\u00e9"], "b": {}} "#;
        assert_eq!(
            parse(text).unwrap(),
            json!({"a": [1, -2, 2.5, true, false, null, "x\u{e9}"], "b": {}})
        );
        assert_eq!(
            parse(b"12345678901234567890").unwrap(),
            json!(12345678901234567890u64)
        );
    }

    #[test]
    fn error_texts_are_those_of_go() {
        let table = [
            ("", "unexpected end of JSON input"),
            ("  ", "unexpected end of JSON input"),
            ("{", "unexpected end of JSON input"),
            ("{\"a\":", "unexpected end of JSON input"),
            ("\"a", "unexpected end of JSON input"),
            ("[1,", "unexpected end of JSON input"),
            ("nul", "unexpected end of JSON input"),
            (
                "asdf",
                "invalid character 'a' looking for beginning of value",
            ),
            (
                "'a'",
                r"invalid character '\'' looking for beginning of value",
            ),
            (
                "{\"a\":\n x}",
                "invalid character 'x' looking for beginning of value",
            ),
            (
                "[1,]",
                "invalid character ']' looking for beginning of value",
            ),
            (
                "\u{feff}{}",
                r"invalid character '\ufeff' looking for beginning of value",
            ),
            (
                "\u{e9}",
                "invalid character '\u{e9}' looking for beginning of value",
            ),
            ("{} x", "invalid character 'x' after top-level value"),
            ("{}{}", "invalid character '{' after top-level value"),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            (
                "{\"a\":1 \"b\":2}",
                "invalid character '\"' after object key:value pair",
            ),
            ("[1 2]", "invalid character '2' after array element"),
            (
                "{a:1}",
                "invalid character 'a' looking for beginning of object key string",
            ),
            (
                "{\"a\":1,}",
                "invalid character '}' looking for beginning of object key string",
            ),
            (
                "{\"a\":1,\n}",
                "invalid character '}' looking for beginning of object key string",
            ),
            ("\"a\nb\"", "invalid character '\\n' in string literal"),
            ("\"a\u{1}b\"", r"invalid character '\x01' in string literal"),
            (r#""a\x""#, "invalid character 'x' in string escape code"),
            ("nulx", "invalid character 'x' in literal"),
            ("-x", "invalid character 'x' in numeric literal"),
            ("1.x", "invalid character 'x' in numeric literal"),
            (
                "// comment",
                "invalid character '/' looking for beginning of value",
            ),
            (r#""\u12x4""#, "invalid JSON: invalid escape"),
            (r#""\ud800""#, "unexpected end of hex escape"),
            ("1e999", "invalid JSON: number out of range"),
        ];
        for (text, expected) in table {
            let got = fails(text);
            assert!(got.contains(expected), "{text:?}: {got}");
        }
    }

    #[test]
    fn replaces_bytes_that_are_not_utf8() {
        assert_eq!(
            parse(b"\"a\xff\xe2\x82b\"").unwrap(),
            json!("a\u{fffd}\u{fffd}\u{fffd}b")
        );
        assert!(parse(b"\xff").is_err());
    }

    #[test]
    fn the_last_of_equal_keys_keeps_its_position() {
        let value = parse(br#"{"a":1,"A":2,"a":3}"#).unwrap();
        assert_eq!(value.to_string(), r#"{"A":2,"a":3}"#);
    }

    #[test]
    fn refuses_deep_nesting() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let deep = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
            assert_eq!(fails(&deep), "nested deeper than 127 levels");
            assert_eq!(
                fails(&open.repeat(100_000)),
                "nested deeper than 127 levels"
            );
            assert!(
                parse(format!("{}1{}", open.repeat(127), close.repeat(127)).as_bytes()).is_ok()
            );
            assert!(
                parse(format!("{}1{}", open.repeat(128), close.repeat(128)).as_bytes()).is_err()
            );
        }
    }
}
