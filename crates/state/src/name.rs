//! File names of records: readable where they are short, hashed where they are not.

use sha2::{Digest, Sha512};
use std::fmt::Write as _;

/// Between the parts of a name. A part that contains it is hashed.
pub(crate) const SEPARATOR: char = ':';

/// First character of a hashed part. A part that begins with it is hashed.
const HASHED: char = '~';

/// Longest part that is used as it is, in bytes. Three parts, their separators and the
/// dot of a temporary name are 219 bytes, less than the 255 of `NAME_MAX` (limits.h).
const PART_MAX: usize = 72;

/// Digits of a hashed part: 256 bits.
const HASH_DIGITS: usize = 64;

/// Longest name of a file (`NAME_MAX` of limits.h), less the dot of a temporary name.
const NAME_MAX: usize = 254;

/// Returns the file name of a record that is found by one key.
pub(crate) fn of_key(key: &str) -> String {
    encode(key, |c| c.is_ascii_graphic() && c != '/')
}

/// Returns the file name made of `parts`. Different parts never have the same name but
/// by a collision of hashes.
pub(crate) fn joined(parts: &[&str]) -> String {
    let parts: Vec<String> = parts.iter().map(|part| name_part(part)).collect();
    parts.join(&SEPARATOR.to_string())
}

/// Returns `part` of a name: itself if it is at most 72 bytes of printable ASCII without
/// `/` and `:` that do not begin with `.` or `~`, else `~` and 64 digits of its hash.
#[must_use]
pub fn name_part(part: &str) -> String {
    encode(part, |c| c.is_ascii_graphic() && c != '/' && c != SEPARATOR)
}

fn encode(part: &str, is_plain: impl Fn(char) -> bool) -> String {
    // Names that begin with a dot are those of temporary files.
    let begins_plainly = !part.is_empty() && !part.starts_with([HASHED, '.']);
    match begins_plainly && part.len() <= PART_MAX && part.chars().all(is_plain) {
        true => part.to_owned(),
        false => hashed(part),
    }
}

/// Returns `name` if it can be the name of a file, else a name made of its hash and
/// `suffix`. For files in another implementation's form, which has no file of a longer
/// name.
#[must_use]
pub fn bounded(name: &str, suffix: &str) -> String {
    let fits = name.len() + suffix.len() <= NAME_MAX;
    match fits {
        true => format!("{name}{suffix}"),
        false => hashed(name) + suffix,
    }
}

fn hashed(text: &str) -> String {
    format!("{HASHED}{}", sha512(text, HASH_DIGITS))
}

/// Returns the first `digits` hexadecimal digits, at most 128, of the SHA-512 of `text`.
#[must_use]
pub fn sha512(text: &str, digits: usize) -> String {
    let mut hex = String::with_capacity(128);
    for byte in Sha512::digest(text) {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex.truncate(digits);
    hex
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn short_names_are_readable_and_others_are_hashed() {
        assert_eq!(joined(&["net", "id_1.a-b", "eth0"]), "net:id_1.a-b:eth0");
        let hash = "~f7fbba6e0636f890e56fbbf3283e524c6fa3204ae298382d624741d0dc663832";
        assert_eq!(hashed("foo"), hash);
        for part in [
            "",
            ".",
            "..",
            "~a",
            "a:b",
            "a/b",
            "a b",
            "\u{e4}",
            &"x".repeat(73),
        ] {
            assert_eq!(joined(&[part]), hashed(part));
        }
        assert_eq!(of_key("fd00::1"), "fd00::1");
        assert_eq!(bounded("id_eth0", ".json"), "id_eth0.json");
        let long = "x".repeat(250);
        assert_eq!(bounded(&long, ".json"), hashed(&long) + ".json");
    }

    proptest! {
        #[test]
        fn names_are_file_names_of_their_own(
            one in prop::array::uniform3("[a-c:~./]{0,3}|[a-z]{70,300}"),
            other in prop::array::uniform3("[a-c:~./]{0,3}|[a-z]{70,300}"),
        ) {
            let name = |parts: &[String; 3]| joined(&parts.each_ref().map(String::as_str));
            let (a, b) = (name(&one), name(&other));
            prop_assert_eq!(a == b, one == other);
            prop_assert!(a.len() <= NAME_MAX && !a.starts_with('.') && !a.contains('/'));
        }
    }
}
