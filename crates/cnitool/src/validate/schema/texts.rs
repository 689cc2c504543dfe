//! Texts about values, and suggestions.

use serde_json::Value;

use crate::validate::document::{Content, Node};

/// A type with its article, for "expected …".
pub(super) fn with_article(kind: &str) -> &'static str {
    match kind {
        "boolean" => "true or false",
        "integer" => "an integer",
        "number" => "a number",
        "string" => "a string",
        "array" => "an array",
        "object" => "an object",
        _ => "null",
    }
}

/// A value for a message: scalars as they are written, of others the type.
pub(super) fn shown(node: &Node) -> String {
    match &node.value {
        Content::Null => "null".into(),
        Content::Bool(value) => value.to_string(),
        Content::Number(number) => number.to_string(),
        Content::Text(text) => quoted(text),
        Content::Array(_) => "an array".into(),
        Content::Object(_) => "an object".into(),
    }
}

/// A text in quotes, as JSON, cut if it is long.
pub(super) fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    let short: String = text.chars().take(LONGEST).collect();
    let dots = if short.len() < text.len() { "…" } else { "" };
    Value::from(format!("{short}{dots}")).to_string()
}

/// `a, b or c`.
pub(super) fn alternatives(all: &[String]) -> String {
    joined(all, "or")
}

/// `a, b and c`.
pub(super) fn listed(all: &[String]) -> String {
    joined(all, "and")
}

fn joined(all: &[String], word: &str) -> String {
    match all {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} {word} {last}", first.join(", ")),
    }
}

/// What to write for a value of the wrong type, if that can be guessed.
pub(super) fn conversion(node: &Node, kinds: &[&str]) -> Option<String> {
    let text = node.text();
    let is = |kind: &str| kinds.contains(&kind);
    match &node.value {
        Content::Text(_)
            if is("integer") && text.is_some_and(|t| t.trim().parse::<i64>().is_ok()) =>
        {
            text.map(|text| format!("write {}", text.trim()))
        }
        Content::Text(text) if is("boolean") => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some("write true".into()),
            "false" | "no" | "off" | "0" => Some("write false".into()),
            _ => None,
        },
        Content::Number(number) if is("boolean") && number.as_i64() == Some(0) => {
            Some("write false".into())
        }
        Content::Number(number) if is("boolean") && number.as_i64() == Some(1) => {
            Some("write true".into())
        }
        Content::Number(_) if is("integer") => Some("write a whole number".into()),
        Content::Number(number) if is("string") => Some(format!("write \"{number}\"")),
        Content::Bool(value) if is("string") => Some(format!("write \"{value}\"")),
        Content::Array(_) if is("object") => Some("write it without [ ]".into()),
        Content::Object(_) if is("array") => Some("write [ ] around it".into()),
        Content::Text(text) if is("array") => Some(format!("write [{}]", quoted(text))),
        _ => None,
    }
}

/// The name that was probably meant: the nearest one, if it is near.
pub(crate) fn nearest<'n>(
    given: &str,
    names: impl IntoIterator<Item = &'n str>,
) -> Option<&'n str> {
    let given = given.to_lowercase();
    let score = |name: &'n str| {
        let lower = name.to_lowercase();
        let is_beginning = given.len() >= 3 && lower.starts_with(&given);
        let distance = strsim::damerau_levenshtein(&given, &lower);
        (if is_beginning { 1 } else { distance }, lower.len(), name)
    };
    let (distance, _, name) = names.into_iter().map(score).min()?;
    let longest = given.chars().count().max(name.chars().count());
    // One mistake in three characters, one more in each further three.
    (distance <= longest.div_ceil(3)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names() {
        let names = ["isGateway", "isDefaultGateway", "ipMasq", "mtu"];
        assert_eq!(nearest("isgatway", names), Some("isGateway"));
        assert_eq!(nearest("ipmasquerade", names), None);
        assert_eq!(nearest("MTU ", names), Some("mtu"));
        assert_eq!(nearest("color", names), None);
        assert_eq!(nearest("1.0", ["0.1.0", "1.0.0", "1.1.0"]), Some("1.0.0"));
    }
}
