//! Detection of duplicate sysctl keys, for which the document is read once more: its
//! decoded form has only the last one.

use cni_core::quote::quote;
use plugin_kit::detailed;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::fmt;

/// Upstream's message.
pub(crate) const DUPLICATED: &str = "duplicated sysctl keys are not allowed";

/// Refuses a configuration whose `sysctl` object has a key twice.
///
/// # Errors
/// Names the duplicate key.
pub(crate) fn refuse(document: &[u8]) -> anyhow::Result<()> {
    let text = String::from_utf8_lossy(document);
    let mut twice = None;
    let mut reader = serde_json::Deserializer::from_str(&text);
    // Invalid documents are reported by `Config::load`.
    let _ = Members {
        inside: false,
        twice: &mut twice,
    }
    .deserialize(&mut reader);
    match twice {
        Some(key) => Err(detailed(
            DUPLICATED,
            format!("{} is there twice", quote(&key)),
        )),
        None => Ok(()),
    }
}

/// Visits the members of the document, or those of its `sysctl` object.
struct Members<'a> {
    inside: bool,
    twice: &'a mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen: Vec<String> = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if !self.inside && key.eq_ignore_ascii_case("sysctl") {
                map.next_value_seed(Members {
                    inside: true,
                    twice: &mut *self.twice,
                })?;
                continue;
            }
            map.next_value::<IgnoredAny>()?;
            if self.inside && seen.contains(&key) {
                *self.twice = Some(key);
            } else if self.inside {
                seen.push(key);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_twice() {
        for text in [
            r#"{"sysctl": {"net.a": "1", "net.b": "1", "net.a": "1"}}"#,
            r#"{"name": "x", "SysCtl": {"net.a": "1", "net\u002ea": "2"}, "mtu": 1}"#,
        ] {
            let error = refuse(text.as_bytes()).unwrap_err().to_string();
            assert_eq!(
                error,
                "duplicated sysctl keys are not allowed; \"net.a\" is there twice"
            );
        }
    }

    #[test]
    fn nothing_twice() {
        for text in [
            "",
            "[]",
            "{",
            r#"{"sysctl": 5}"#,
            r#"{"sysctl": null, "name": "a", "name": "b"}"#,
            r#"{"sysctl": {"net.a": "1", "net.A": "1"}, "args": {"sysctl": {"x": "1", "x": "1"}}}"#,
        ] {
            assert!(refuse(text.as_bytes()).is_ok(), "{text}");
        }
    }
}
