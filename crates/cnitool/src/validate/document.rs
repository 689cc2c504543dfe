//! JSON documents with the places of their values.

use std::ops::Range;

use serde_json::{Number, Value};

/// A value and the bytes that it is written in.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) span: Range<usize>,
    pub(super) value: Content,
}

/// The content of a [`Node`].
#[derive(Clone, Debug)]
pub(super) enum Content {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    Array(Vec<Node>),
    Object(Vec<Member>),
}

/// A member of an object.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) key: String,
    pub(super) key_span: Range<usize>,
    pub(super) value: Node,
}

impl Node {
    /// The member of an object by the rules of plugins: in any case, the last one, `null` is absent.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        let present =
            |member: &&Member| member.key.eq_ignore_ascii_case(key) && !member.value.is_null();
        self.members()
            .iter()
            .rev()
            .find(present)
            .map(|member| &member.value)
    }

    /// The same by the rules of runtimes for network lists: in exactly this case, the last one.
    pub(super) fn get_exactly(&self, key: &str) -> Option<&Node> {
        let member = self.members().iter().rev().find(|member| member.key == key);
        member.map(|member| &member.value)
    }

    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Content::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn is_true(&self) -> bool {
        matches!(self.value, Content::Bool(true))
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self.value, Content::Null)
    }

    pub(super) fn members(&self) -> &[Member] {
        match &self.value {
            Content::Object(members) => members,
            _ => &[],
        }
    }

    pub(super) fn elements(&self) -> &[Node] {
        match &self.value {
            Content::Array(elements) => elements,
            _ => &[],
        }
    }

    /// The first of the bytes, for what concerns a whole object.
    pub(super) fn start(&self) -> Range<usize> {
        self.span.start..self.span.start + 1
    }

    /// Whether it is this value; numbers and objects are compared as `serde_json` does.
    pub(super) fn equals(&self, value: &Value) -> bool {
        match (&self.value, value) {
            (Content::Null, Value::Null) => true,
            (Content::Bool(a), Value::Bool(b)) => a == b,
            (Content::Number(a), Value::Number(b)) => a == b,
            (Content::Text(a), Value::String(b)) => a == b,
            _ => false,
        }
    }

    /// The type in the words of JSON Schema.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Content::Null => "null",
            Content::Bool(_) => "boolean",
            Content::Number(number) if integer(number).is_none() => "number",
            Content::Number(_) => "integer",
            Content::Text(_) => "string",
            Content::Array(_) => "array",
            Content::Object(_) => "object",
        }
    }
}

/// A number as an integer. `1500.0` is one: runtimes pass it on as `1500`.
pub(super) fn integer(number: &Number) -> Option<i128> {
    /// Beyond it, not every integer is a floating-point number.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let whole = number
        .as_i64()
        .map(i128::from)
        .or_else(|| number.as_u64().map(i128::from));
    whole.or_else(|| {
        let float = number.as_f64()?;
        (float.fract() == 0.0 && float.abs() <= EXACT).then_some(float as i128)
    })
}

/// Appends a part to a JSON pointer.
pub(super) fn join(pointer: &str, part: impl std::fmt::Display) -> String {
    let part = part.to_string().replace('~', "~0").replace('/', "~1");
    format!("{pointer}/{part}")
}
