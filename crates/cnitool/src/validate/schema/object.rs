//! Objects: their members, and keys that are missing or unknown.

use regex_lite::Regex;
use serde_json::Value;

use super::Schema;
use super::texts::{nearest, quoted};
use super::walk::{Keys, Walk, named};
use crate::validate::document::{Content, Member, Node, join};
use crate::validate::finding::{Finding, Severity};

/// The object at a pointer, for messages.
fn owner(schema: Schema<'_>, pointer: &str) -> String {
    match schema.text("title") {
        _ if pointer.ends_with("/ipam") => schema.file.to_owned(),
        Some("CNI network list") => "a network list".to_owned(),
        Some(_) => schema.file.to_owned(),
        None => whole(pointer),
    }
}

impl Walk {
    pub(super) fn object(
        &mut self,
        node: &Node,
        members: &[Member],
        schema: Schema<'_>,
        pointer: &str,
    ) {
        let keys = self.keys;
        for (name, property) in schema.members("properties") {
            let given = members
                .iter()
                .rev()
                .find(|member| keys.same(&member.key, name) && !member.value.is_null());
            if let Some(member) = given {
                self.keys = Keys::AnyCase;
                self.value(&member.value, property, &join(pointer, &member.key));
                self.keys = keys;
            }
        }
        self.required(node, members, schema, pointer);
        if let Some(names) = schema.under("propertyNames") {
            for member in members {
                let name = Node {
                    span: member.key_span.clone(),
                    value: Content::Text(member.key.clone()),
                };
                self.value(&name, names, pointer);
            }
        }
        let closed = ["additionalProperties", "unevaluatedProperties"]
            .iter()
            .any(|keyword| schema.value.get(*keyword) == Some(&Value::Bool(false)));
        if closed {
            self.unknown_keys(node, members, schema, pointer);
        } else if let Some(others) = schema.under("additionalProperties") {
            for member in members {
                self.value(&member.value, others, &join(pointer, &member.key));
            }
        }
    }

    fn required(&mut self, node: &Node, members: &[Member], schema: Schema<'_>, pointer: &str) {
        let keys = self.keys;
        let has = |name: &str| {
            members
                .iter()
                .any(|m| keys.same(&m.key, name) && !m.value.is_null())
        };
        for name in schema.texts("required").filter(|name| !has(name)) {
            let near = members
                .iter()
                .find(|member| keys.same(&member.key.to_lowercase(), &name.to_lowercase()));
            let help = match near {
                Some(member) => format!("write \"{name}\" for {}", quoted(&member.key)),
                None => format!("add \"{name}\""),
            };
            let what = format!("{} has no \"{name}\"", whole(pointer));
            self.report("missing-key", node, pointer, what, help);
        }
        for (name, others) in schema.members("dependentRequired") {
            let others = others
                .value
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str);
            for other in others.filter(|other| has(name) && !has(other)) {
                let what = format!("{name} needs {other}, which is missing");
                self.report(
                    "missing-key",
                    node,
                    pointer,
                    what,
                    format!("add \"{other}\""),
                );
            }
        }
    }

    fn unknown_keys(&mut self, node: &Node, members: &[Member], schema: Schema<'_>, pointer: &str) {
        let mut known = Known::default();
        self.collect(node, schema, &mut known);
        for member in members {
            let matches = |pattern: &&str| {
                Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(&member.key))
            };
            if known
                .keys
                .iter()
                .any(|name| self.keys.same(name, &member.key))
                || known.patterns.iter().any(matches)
            {
                continue;
            }
            let mut missing = schema
                .texts("required")
                .filter(|name| node.get(name).is_none());
            let near = nearest(&member.key, known.keys.iter().copied());
            // A key of another name, where only one is missing, is probably that one.
            let near = near.or_else(|| missing.next().filter(|_| missing.next().is_none()));
            let ignored = match self.keys {
                Keys::AnyCase => "remove it, since it has no effect",
                Keys::Exact => "remove it, since runtimes ignore it",
            };
            let help = near.map_or(ignored.to_owned(), |near| format!("write \"{near}\""));
            self.findings.push(Finding {
                severity: Severity::Warning,
                rule: "unknown-key",
                span: member.key_span.clone(),
                pointer: join(pointer, &member.key),
                what: format!(
                    "{} has no key {}",
                    owner(schema, pointer),
                    quoted(&member.key)
                ),
                help,
            });
        }
    }

    /// The keys that a schema and everything that applies beside it describe.
    fn collect<'s>(&self, node: &Node, schema: Schema<'s>, known: &mut Known<'s>) {
        known
            .keys
            .extend(schema.members("properties").map(|(name, _)| name));
        known.patterns.extend(
            schema
                .members("patternProperties")
                .map(|(pattern, _)| pattern),
        );
        schema
            .target()
            .into_iter()
            .chain(schema.each("allOf"))
            .for_each(|part| self.collect(node, part, known));
        if let (Some(condition), Some(then)) = (schema.under("if"), schema.under("then"))
            && self.is_valid(node, condition)
        {
            self.collect(node, then, known);
        }
    }
}

#[derive(Default)]
struct Known<'s> {
    keys: Vec<&'s str>,
    patterns: Vec<&'s str>,
}

/// The object at a pointer.
fn whole(pointer: &str) -> String {
    named(pointer).trim_end().to_owned()
}
