//! JSON by the rules of upstream's decoder and encoder.
//!
//! Go's decoder is more lenient than serde: keys match in any case, and `null` counts as
//! absent. [`decode()`] applies these rules to every `#[derive(Deserialize)]` struct. Use it
//! instead of `serde_json::from_*` for all input.

mod decode;
mod encode;
mod error;
mod parse;
#[cfg(feature = "record-keys")]
mod record;
#[cfg(test)]
pub(crate) mod tests;

pub use decode::decode;
pub use encode::{to_string, to_string_pretty};
pub use error::Error;
pub use parse::parse;
#[cfg(feature = "record-keys")]
pub use record::take_keys_read;

use serde_json::Value;

/// Returns the member of an object whose key matches `key` in any case; the last one wins.
///
/// `null` counts as absent. A `value` that is not an object has no members.
///
/// ```
/// let conf = cni_core::json::parse(br#"{"Type": "ptp", "ipam": null}"#)?;
/// assert_eq!(cni_core::json::get(&conf, "type"), Some(&"ptp".into()));
/// assert_eq!(cni_core::json::get(&conf, "ipam"), None);
/// # Ok::<(), cni_core::json::Error>(())
/// ```
pub fn get<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    let object = value.as_object()?;
    #[cfg(feature = "record-keys")]
    record::note(object, [key]);
    object
        .iter()
        .rev()
        .find(|(k, v)| !v.is_null() && same_key(k, key))
        .map(|(_, v)| v)
}

/// Returns whether an object has a member whose key matches `key` in any case, even if it
/// is `null`.
#[must_use]
pub fn has_key(value: &Value, key: &str) -> bool {
    let object = value.as_object();
    object.is_some_and(|members| members.keys().any(|k| same_key(k, key)))
}

/// Returns whether two keys differ at most in case.
fn same_key(a: &str, b: &str) -> bool {
    if a.is_ascii() && b.is_ascii() {
        return a.eq_ignore_ascii_case(b);
    }
    // Go's decoder uses Unicode simple case folding, in which the long s equals s and the
    // Kelvin sign equals k.
    let fold = |c: char| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    a.chars().map(fold).eq(b.chars().map(fold))
}

/// Returns the type of a value, for messages.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
