//! Parser of files: JSON, and what people write in its place.

use std::ops::Range;

use jsonc_parser::ast;
use jsonc_parser::common::Ranged;
use jsonc_parser::errors::{ParseError, ParseErrorKind};
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use serde::de::IgnoredAny;
use serde_json::Number;

use super::document::{Content, Member, Node};
use super::finding::{Finding, Severity};

/// The byte order mark.
const BOM: char = '\u{feff}';

/// Parses a file. What is not JSON is added to `findings`; as far as it can be understood nevertheless, the
/// document is returned, so that the other mistakes are found too.
pub(super) fn parse(text: &str, findings: &mut Vec<Finding>) -> Option<Node> {
    let skipped = if text.starts_with(BOM) {
        BOM.len_utf8()
    } else {
        0
    };
    let json = &text[skipped..];
    if skipped > 0 {
        let (what, help) = (
            "the file begins with a byte order mark",
            "save it as UTF-8 without BOM",
        );
        findings.push(syntax(0..skipped, what, help));
    }
    if json.trim().is_empty() {
        findings.push(syntax(0..0, "the file is empty", "write a network list"));
        return None;
    }
    let errors_before = findings.len();
    let tree = parse_leniently(json, skipped, findings)?;
    if findings.len() == errors_before {
        // What the plugins' own decoder refuses for other reasons, such as nesting.
        if let Err(error) = serde_json::from_str::<IgnoredAny>(json) {
            let at = skipped + offset(json, error.line(), error.column());
            findings.push(refused(&error, at));
            return None;
        }
    }
    let node = convert(&tree, skipped);
    find_duplicates(&node, "", findings);
    Some(node)
}

/// The byte at a place that `serde_json` reports: a line, and a byte of it, both counted from 1.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let lines = text.split_inclusive('\n').take(line.saturating_sub(1));
    let at = lines.map(str::len).sum::<usize>() + column.saturating_sub(1);
    at.min(text.len())
}

fn refused(error: &serde_json::Error, at: usize) -> Finding {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    match text.starts_with("control character") {
        true => syntax(
            at..at + 1,
            "there is a tab or line break in a text",
            "write \"\\t\" or \"\\n\"",
        ),
        false => syntax(at..at, text, ""),
    }
}

fn syntax(span: Range<usize>, what: &str, help: &str) -> Finding {
    Finding {
        severity: Severity::Error,
        rule: "syntax",
        span,
        pointer: String::new(),
        what: what.to_owned(),
        help: help.to_owned(),
    }
}

/// Parses by JSON's rules; after each kind of mistake that can be tolerated, again with that tolerance.
fn parse_leniently<'t>(
    json: &'t str,
    offset: usize,
    findings: &mut Vec<Finding>,
) -> Option<ast::Value<'t>> {
    let mut options = strict();
    loop {
        let error = match parse_to_ast(json, &CollectOptions::default(), &options) {
            Ok(result) => return result.value,
            Err(error) => error,
        };
        let range = error.range();
        let (what, help) = describe(json, &error);
        findings.push(syntax(
            range.start + offset..range.end + offset,
            &what,
            &help,
        ));
        let tolerance = match error.kind() {
            ParseErrorKind::CommentsNotAllowed => &mut options.allow_comments,
            ParseErrorKind::TrailingCommasNotAllowed => &mut options.allow_trailing_commas,
            ParseErrorKind::SingleQuotedStringsNotAllowed => {
                &mut options.allow_single_quoted_strings
            }
            ParseErrorKind::ExpectedComma => &mut options.allow_missing_commas,
            ParseErrorKind::ExpectedStringObjectProperty => {
                &mut options.allow_loose_object_property_names
            }
            ParseErrorKind::HexadecimalNumbersNotAllowed => &mut options.allow_hexadecimal_numbers,
            ParseErrorKind::UnaryPlusNumbersNotAllowed => &mut options.allow_unary_plus_numbers,
            _ => return None,
        };
        if *tolerance {
            return None;
        }
        *tolerance = true;
    }
}

fn strict() -> ParseOptions {
    ParseOptions {
        allow_comments: false,
        allow_loose_object_property_names: false,
        allow_trailing_commas: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    }
}

/// What is wrong, and what to write instead.
fn describe(json: &str, error: &ParseError) -> (String, String) {
    let range = error.range();
    let found = json.get(range.start..).and_then(|rest| rest.chars().next());
    if let Some('\u{201c}' | '\u{201d}' | '\u{2018}' | '\u{2019}') = found {
        return (
            "typographic quotes do not delimit strings".into(),
            "write \"".into(),
        );
    }
    let (what, help) = match error.kind() {
        ParseErrorKind::CommentsNotAllowed => (
            "JSON has no comments",
            "remove it, or write a key \"_comment\"",
        ),
        ParseErrorKind::TrailingCommasNotAllowed => {
            ("there is a comma after the last element", "remove it")
        }
        ParseErrorKind::SingleQuotedStringsNotAllowed => {
            ("strings are in double quotes", "write \"")
        }
        ParseErrorKind::ExpectedComma => ("a comma is missing", "write \",\" before this"),
        ParseErrorKind::ExpectedStringObjectProperty | ParseErrorKind::UnexpectedTokenInObject => {
            ("keys are in double quotes", "write \"")
        }
        ParseErrorKind::ExpectedColonAfterObjectKey => {
            ("a colon is missing after the key", "write \":\"")
        }
        ParseErrorKind::ExpectedObjectValue => (
            "the value of the key is missing",
            "write one after the colon",
        ),
        ParseErrorKind::HexadecimalNumbersNotAllowed => ("numbers are decimal", "convert it"),
        ParseErrorKind::UnaryPlusNumbersNotAllowed => ("numbers have no plus sign", "remove it"),
        ParseErrorKind::UnterminatedArray => ("the array has no end", "write \"]\" where it ends"),
        ParseErrorKind::UnterminatedObject => {
            ("the object has no end", "write \"}\" where it ends")
        }
        ParseErrorKind::MultipleRootJsonValues => {
            ("there is more text after the document", "remove it")
        }
        ParseErrorKind::UnexpectedWord | ParseErrorKind::UnexpectedToken if range.start == 0 => (
            "this is not JSON",
            "write a network list, which begins with \"{\"; YAML is not read",
        ),
        ParseErrorKind::UnexpectedWord => (
            "this word is not a value of JSON",
            "write true, false, null, or a string in double quotes",
        ),
        other => {
            // Lower case, like all texts.
            let mut text = other.to_string();
            if let Some(first) = text.get_mut(..1) {
                first.make_ascii_lowercase();
            }
            return (text, String::new());
        }
    };
    (what.into(), help.into())
}

fn convert(value: &ast::Value<'_>, offset: usize) -> Node {
    let range = value.range();
    let content = match value {
        ast::Value::NullKeyword(_) => Content::Null,
        ast::Value::BooleanLit(value) => Content::Bool(value.value),
        ast::Value::NumberLit(number) => match number.value.parse::<Number>() {
            Ok(number) => Content::Number(number),
            // Hexadecimal or with a plus sign, which has been reported.
            Err(_) => Content::Null,
        },
        ast::Value::StringLit(text) => Content::Text(text.value.to_string()),
        ast::Value::Array(array) => Content::Array(
            array
                .elements
                .iter()
                .map(|element| convert(element, offset))
                .collect(),
        ),
        ast::Value::Object(object) => {
            let member = |property: &ast::ObjectProp<'_>| Member {
                key: property.name.as_str().to_owned(),
                key_span: property.name.start() + offset..property.name.end() + offset,
                value: convert(&property.value, offset),
            };
            Content::Object(object.properties.iter().map(member).collect())
        }
    };
    Node {
        span: range.start + offset..range.end + offset,
        value: content,
    }
}

/// Keys that differ at most in case: plugins use the last one.
fn find_duplicates(node: &Node, pointer: &str, findings: &mut Vec<Finding>) {
    let members = node.members();
    // Their keys are not the plugins', and differ if their case does.
    let is_map = pointer.ends_with("/capabilities") || pointer.ends_with("/sysctl");
    for (number, member) in members.iter().enumerate() {
        let pointer = super::document::join(pointer, &member.key);
        let same = |other: &&Member| match is_map {
            true => other.key == member.key,
            false => other.key.eq_ignore_ascii_case(&member.key),
        };
        let first = members[..number].iter().find(same);
        if let Some(first) = first {
            findings.push(Finding {
                severity: Severity::Warning,
                rule: "duplicate-key",
                span: member.key_span.clone(),
                pointer: pointer.clone(),
                what: format!(
                    "the key occurs twice, first as \"{}\"; the last one is used",
                    first.key
                ),
                help: "remove one of them".into(),
            });
        }
        find_duplicates(&member.value, &pointer, findings);
    }
    for (number, element) in node.elements().iter().enumerate() {
        find_duplicates(element, &super::document::join(pointer, number), findings);
    }
}
