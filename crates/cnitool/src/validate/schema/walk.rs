//! Comparison of a document with a schema.

use regex_lite::Regex;
use serde_json::Value;

use super::texts::{alternatives, conversion, listed, nearest, quoted, shown, with_article};
use super::{Schema, format};
use crate::validate::document::{Content, Node, integer, join};
use crate::validate::finding::{Finding, Severity};

/// How keys of the document are compared with those of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::validate) enum Keys {
    /// As plugins do: in any case.
    AnyCase,
    /// As runtimes do with the keys of a network list: exactly. Below, in any case.
    Exact,
}

impl Keys {
    pub(super) fn same(self, a: &str, b: &str) -> bool {
        match self {
            Keys::AnyCase => a.eq_ignore_ascii_case(b),
            Keys::Exact => a == b,
        }
    }
}

/// Compares a document with a schema.
pub(in crate::validate) fn check(
    node: &Node,
    schema: Schema<'_>,
    keys: Keys,
    pointer: &str,
) -> Vec<Finding> {
    let mut walk = Walk {
        keys,
        findings: Vec::new(),
    };
    walk.value(node, schema, pointer);
    let mut findings: Vec<Finding> = Vec::new();
    for finding in walk.findings {
        // Several schemas of a value may refer to the same one.
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
    findings
}

pub(super) struct Walk {
    pub(super) keys: Keys,
    pub(super) findings: Vec<Finding>,
}

impl Walk {
    pub(super) fn report(
        &mut self,
        rule: &'static str,
        node: &Node,
        pointer: &str,
        what: String,
        help: String,
    ) {
        let whole = matches!(node.value, Content::Array(_) | Content::Object(_));
        let span = if whole {
            node.start()
        } else {
            node.span.clone()
        };
        let (severity, pointer) = (Severity::Error, pointer.to_owned());
        self.findings.push(Finding {
            severity,
            rule,
            span,
            pointer,
            what,
            help,
        });
    }

    pub(super) fn is_valid(&self, node: &Node, schema: Schema<'_>) -> bool {
        let mut trial = Walk {
            keys: self.keys,
            findings: Vec::new(),
        };
        trial.value(node, schema, "");
        trial.findings.is_empty()
    }

    pub(super) fn value(&mut self, node: &Node, schema: Schema<'_>, pointer: &str) {
        if let Some(target) = schema.target() {
            self.value(node, target, pointer);
        }
        if !self.has_type(node, schema, pointer) {
            return;
        }
        self.scalar(node, schema, pointer);
        schema
            .each("allOf")
            .for_each(|part| self.value(node, part, pointer));
        self.conditions(node, schema, pointer);
        match &node.value {
            Content::Object(members) => self.object(node, members, schema, pointer),
            Content::Array(elements) => self.array(node, elements, schema, pointer),
            _ => {}
        }
    }

    fn has_type(&mut self, node: &Node, schema: Schema<'_>, pointer: &str) -> bool {
        let Some(expected) = schema.text("type") else {
            return true;
        };
        if is_type(node, expected) {
            return true;
        }
        self.wrong_type(node, &[expected], pointer);
        false
    }

    fn wrong_type(&mut self, node: &Node, expected: &[&str], pointer: &str) {
        let mut help = conversion(node, expected).unwrap_or_default();
        if pointer.contains("anges/") && node.kind() == "object" && expected == ["array"] {
            help =
                "write [[{ … }]]: a list of range sets, each of which is a list of ranges".into();
        }
        let kinds: Vec<String> = expected
            .iter()
            .map(|kind| with_article(kind).to_owned())
            .collect();
        let what = format!("expected {}, got {}", alternatives(&kinds), shown(node));
        self.report("type", node, pointer, what, help);
    }

    fn scalar(&mut self, node: &Node, schema: Schema<'_>, pointer: &str) {
        let key = pointer.rsplit('/').next().unwrap_or_default();
        // An empty text is an absent one, unless the schema says how long it must be.
        if node.text() == Some("") && schema.number("minLength").is_none() {
            return;
        }
        if let Some(expected) = schema.value.get("const")
            && !node.equals(expected)
        {
            let what = format!("{key} {} is not {expected}", shown(node));
            self.report("value", node, pointer, what, format!("write {expected}"));
        }
        let all = schema.list("enum");
        if !all.is_empty() && !all.iter().any(|one| node.equals(one)) {
            self.none_of(node, schema, pointer);
        }
        self.range(node, schema, pointer);
        if let Some(text) = node.text() {
            self.text(node, text, schema, pointer);
        }
    }

    fn none_of(&mut self, node: &Node, schema: Schema<'_>, pointer: &str) {
        let key = named(pointer);
        let near = node
            .text()
            .and_then(|text| nearest(text, schema.texts("enum")));
        let all: Vec<String> = schema.list("enum").iter().map(Value::to_string).collect();
        let help = match near {
            Some(near) => format!("write {}; the values are {}", quoted(near), listed(&all)),
            None => format!("write {}", alternatives(&all)),
        };
        self.report(
            "value",
            node,
            pointer,
            format!("{key}{} is not supported", shown(node)),
            help,
        );
    }

    fn range(&mut self, node: &Node, schema: Schema<'_>, pointer: &str) {
        let Content::Number(number) = &node.value else {
            return;
        };
        let given = integer(number);
        let (min, max) = (schema.number("minimum"), schema.number("maximum"));
        let inside =
            given.is_none_or(|n| min.is_none_or(|min| n >= min) && max.is_none_or(|max| n <= max));
        if !inside {
            let range = match (min, max) {
                (Some(min), Some(max)) => format!("{min} to {max}"),
                (Some(min), None) => format!("{min} or more"),
                (None, max) => format!("at most {}", max.unwrap_or_default()),
            };
            let what = format!("{}{number} is out of range", named(pointer));
            self.report("range", node, pointer, what, format!("write {range}"));
        }
    }

    fn text(&mut self, node: &Node, text: &str, schema: Schema<'_>, pointer: &str) {
        let key = named(pointer);
        let length = i128::try_from(text.len()).unwrap_or(i128::MAX);
        if schema.number("minLength").is_some_and(|min| length < min) {
            self.report(
                "value",
                node,
                pointer,
                format!("{key}is empty"),
                "write one".into(),
            );
            return;
        }
        if let Some(max) = schema.number("maxLength").filter(|max| length > *max) {
            let what = format!("{key}{} has {length} bytes", quoted(text));
            self.report("value", node, pointer, what, format!("write at most {max}"));
        }
        let matches = |pattern| Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text));
        if schema
            .text("pattern")
            .is_some_and(|pattern| !matches(pattern))
        {
            self.report(
                "value",
                node,
                pointer,
                format!("{key}{} is not valid", quoted(text)),
                described(schema),
            );
        }
        if let Some((expected, example)) = schema
            .text("format")
            .and_then(|name| format::mismatch(name, text))
        {
            let what = format!("{key}{} is not {expected}", quoted(text));
            let help = match schema.text("format") {
                Some("cidr") if format::mismatch("ip", text).is_none() => {
                    format!("write its prefix length, for example \"{text}/24\"")
                }
                _ => format!("write one such as \"{example}\""),
            };
            self.report("format", node, pointer, what, help);
        }
    }

    fn conditions(&mut self, node: &Node, schema: Schema<'_>, pointer: &str) {
        if let (Some(condition), Some(then)) = (schema.under("if"), schema.under("then"))
            && self.is_valid(node, condition)
        {
            self.value(node, then, pointer);
        }
        if let Some(refused) = schema.under("not")
            && self.is_valid(node, refused)
        {
            let keys: Vec<&str> = refused.texts("required").collect();
            let (what, help) = match keys[..] {
                [a, b] => (
                    format!("{a} and {b} cannot be combined"),
                    format!("remove {a} or {b}"),
                ),
                _ => (
                    format!("{} is not allowed here", subject(node, pointer)),
                    described(schema),
                ),
            };
            self.report("combination", node, pointer, what, help);
        }
        if schema.value.get("anyOf").is_some() {
            self.any_of(node, schema, pointer);
        }
    }

    /// Reports by the alternative that was probably meant: the last one of the value's type.
    fn any_of(&mut self, node: &Node, schema: Schema<'_>, pointer: &str) {
        if schema.each("anyOf").any(|one| self.is_valid(node, one)) {
            return;
        }
        let keys: Vec<String> = schema
            .each("anyOf")
            .flat_map(|one| one.texts("required"))
            .map(quoted)
            .collect();
        if !keys.is_empty() {
            let what = format!("one of {} is missing", keys.join(", "));
            self.report(
                "missing-key",
                node,
                pointer,
                what,
                format!("add {}", alternatives(&keys)),
            );
            return;
        }
        let meant = schema
            .each("anyOf")
            .filter(|one| one.text("type").is_some_and(|kind| is_type(node, kind)));
        if let Some(meant) = meant.last() {
            self.value(node, meant, pointer);
            return;
        }
        let kinds: Vec<&str> = schema
            .each("anyOf")
            .filter_map(|one| one.text("type"))
            .collect();
        let constants: Vec<String> = schema
            .each("anyOf")
            .filter_map(|one| one.value.get("const"))
            .filter(|c| c.is_string())
            .map(Value::to_string)
            .collect();
        if constants.is_empty() {
            self.wrong_type(node, &kinds, pointer);
            return;
        }
        let mut all: Vec<String> = kinds
            .iter()
            .map(|kind| with_article(kind).to_owned())
            .collect();
        all.extend(constants);
        let what = format!("expected {}, got {}", alternatives(&all), shown(node));
        self.report(
            "type",
            node,
            pointer,
            what,
            conversion(node, &kinds).unwrap_or_default(),
        );
    }

    fn array(&mut self, node: &Node, elements: &[Node], schema: Schema<'_>, pointer: &str) {
        let length = i128::try_from(elements.len()).unwrap_or(i128::MAX);
        if schema.number("minItems").is_some_and(|min| length < min) {
            self.report(
                "value",
                node,
                pointer,
                format!("{}is empty", named(pointer)),
                described(schema),
            );
        }
        if let Some(max) = schema.number("maxItems").filter(|max| length > *max) {
            let what = format!("{}has {length} elements", named(pointer));
            self.report("value", node, pointer, what, format!("write at most {max}"));
        }
        if let Some(items) = schema.under("items") {
            let outer = std::mem::replace(&mut self.keys, Keys::AnyCase);
            for (number, element) in elements.iter().enumerate() {
                self.value(element, items, &join(pointer, number));
            }
            self.keys = outer;
        }
    }
}

fn is_type(node: &Node, expected: &str) -> bool {
    node.kind() == expected || expected == "number" && node.kind() == "integer"
}

/// The key at the end of a pointer and a blank, for messages.
pub(super) fn named(pointer: &str) -> String {
    let parts: Vec<&str> = pointer.rsplit('/').collect();
    match parts[..] {
        [number, key, ..] if number.parse::<usize>().is_ok() => {
            format!("element {number} of {key} ")
        }
        [key, ..] if !key.is_empty() => format!("{key} "),
        _ => "the file ".into(),
    }
}

/// The key at the end of a pointer, and the value unless it is an array or object.
fn subject(node: &Node, pointer: &str) -> String {
    match node.value {
        Content::Array(_) | Content::Object(_) => named(pointer).trim_end().to_owned(),
        _ => format!("{}{}", named(pointer), shown(node)),
    }
}

/// The advice of a schema.
fn described(schema: Schema<'_>) -> String {
    schema.text("errorMessage").unwrap_or_default().to_owned()
}
