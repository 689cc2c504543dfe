//! Versions of the specification.

use std::cmp::Ordering;
use std::fmt;
use std::num::IntErrorKind;

use serde::Deserialize;
use serde_json::Value;

use crate::json;
use crate::quote::quote;

/// A known version of the specification.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Version {
    /// 0.1.0: ADD and DEL. The version of a configuration without `cniVersion`.
    V0_1_0,
    /// 0.2.0: VERSION.
    V0_2_0,
    /// 0.3.0: plugin chains, several addresses in a result.
    V0_3_0,
    /// 0.3.1: as 0.3.0.
    V0_3_1,
    /// 0.4.0: CHECK.
    V0_4_0,
    /// 1.0.0: no `version` in a result's addresses.
    V1_0_0,
    /// 1.1.0: GC and STATUS.
    V1_1_0,
}

impl Version {
    /// All versions, oldest first.
    pub const ALL: &'static [Version] = &[
        Version::V0_1_0,
        Version::V0_2_0,
        Version::V0_3_0,
        Version::V0_3_1,
        Version::V0_4_0,
        Version::V1_0_0,
        Version::V1_1_0,
    ];

    /// The newest version.
    pub const CURRENT: Version = Version::V1_1_0;

    /// Returns the value of `cniVersion`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Version::V0_1_0 => "0.1.0",
            Version::V0_2_0 => "0.2.0",
            Version::V0_3_0 => "0.3.0",
            Version::V0_3_1 => "0.3.1",
            Version::V0_4_0 => "0.4.0",
            Version::V1_0_0 => "1.0.0",
            Version::V1_1_0 => "1.1.0",
        }
    }

    /// Returns the version of a `cniVersion`. Texts are compared literally, so `1.1` is not
    /// 1.1.0. An empty text means 0.1.0.
    pub fn from_text(text: &str) -> Option<Version> {
        if text.is_empty() {
            return Some(Version::V0_1_0);
        }
        Version::ALL
            .iter()
            .copied()
            .find(|version| version.as_str() == text)
    }

    /// Returns this version and all newer ones, for a plugin that needs a minimum version.
    pub fn starting_from(self) -> &'static [Version] {
        // ALL is in the order of the discriminants.
        Version::ALL.get(self as usize..).unwrap_or_default()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The error of a malformed version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError(String);

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ParseError {}

/// Returns the major, minor and micro number of any version, also an unknown one.
///
/// Missing parts are 0, an empty text is 0.1.0, and signs are allowed (`0.-42.0`).
///
/// # Errors
/// `invalid version "<v>": too many parts`, or `failed to convert major version
/// part "<p>": strconv.Atoi: parsing "<p>": invalid syntax` (also `minor`, `micro`):
/// upstream's texts, which become the text of a CNI error.
pub fn parse(text: &str) -> Result<(i64, i64, i64), ParseError> {
    if text.is_empty() {
        return Ok((0, 1, 0));
    }
    if text.split('.').count() > 3 {
        return Err(ParseError(format!(
            "invalid version {}: too many parts",
            quote(text)
        )));
    }
    let mut parts = text.split('.');
    let mut part = |name: &str| {
        match parts.next() {
        None => Ok(0),
        Some(part) => part.parse::<i64>().map_err(|e| {
            let reason = match e.kind() {
                IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
                _ => "invalid syntax",
            };
            let part = quote(part);
            ParseError(format!(
                "failed to convert {name} version part {part}: strconv.Atoi: parsing {part}: {reason}"
            ))
        }),
    }
    };
    Ok((part("major")?, part("minor")?, part("micro")?))
}

/// Compares two versions by their numbers: `1.1` equals `1.1.0`.
///
/// # Errors
/// As [`parse`], for the first malformed version.
pub fn compare(a: &str, b: &str) -> Result<Ordering, ParseError> {
    Ok(parse(a)?.cmp(&parse(b)?))
}

/// Returns the `cniVersion` of a configuration or result, which may be unknown; `0.1.0` if
/// it is absent or empty.
///
/// # Errors
/// `decoding version from network config: <detail>` if the document is not an object or
/// its `cniVersion` not a string.
pub fn of_document(document: &Value) -> Result<String, ParseError> {
    #[derive(Deserialize)]
    struct Versioned {
        #[serde(rename = "cniVersion", default)]
        cni_version: String,
    }
    let version = match document {
        Value::Null => String::new(),
        _ => {
            json::decode::<Versioned>(document)
                .map_err(|e| ParseError(format!("decoding version from network config: {e}")))?
                .cni_version
        }
    };
    Ok(if version.is_empty() {
        Version::V0_1_0.as_str().to_owned()
    } else {
        version
    })
}

/// Returns the output of VERSION: one compact line with a newline. Its `cniVersion` is
/// always the newest.
pub(crate) fn reply(supported: &[Version]) -> String {
    let mut object = serde_json::Map::new();
    object.insert("cniVersion".into(), Version::CURRENT.as_str().into());
    let supported = supported
        .iter()
        .map(|version| version.as_str())
        .collect::<Vec<_>>();
    object.insert("supportedVersions".into(), supported.into());
    let mut line = json::to_string(&object.into());
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn version_texts_round_trip() {
        for version in Version::ALL {
            assert_eq!(Version::from_text(version.as_str()), Some(*version));
            assert_eq!(version.to_string(), version.as_str());
        }
        assert_eq!(Version::from_text(""), Some(Version::V0_1_0));
        assert_eq!(Version::ALL.last(), Some(&Version::CURRENT));
        for unknown in ["1.1", "1.2.0", "v1.1.0", " 1.1.0", "0.2", "1.1.0\n"] {
            assert_eq!(Version::from_text(unknown), None, "{unknown:?}");
        }
    }

    #[test]
    fn starting_from_lists_the_newer_versions() {
        assert_eq!(Version::V0_1_0.starting_from(), Version::ALL);
        assert_eq!(
            Version::V1_0_0.starting_from(),
            [Version::V1_0_0, Version::V1_1_0]
        );
        assert_eq!(Version::V1_1_0.starting_from(), [Version::V1_1_0]);
        for version in Version::ALL {
            assert_eq!(version.starting_from().first(), Some(version));
        }
    }

    #[test]
    fn parses_numbers() {
        let bad = |name: &str, part: &str, why: &str| {
            Err(format!(
                "failed to convert {name} version part \"{part}\": strconv.Atoi: parsing \"{part}\": {why}"
            ))
        };
        type Numbers = Result<(i64, i64, i64), String>;
        let table: &[(&str, Numbers)] = &[
            ("", Ok((0, 1, 0))),
            ("1", Ok((1, 0, 0))),
            ("1.1", Ok((1, 1, 0))),
            ("1.2.3", Ok((1, 2, 3))),
            ("0.-42.0", Ok((0, -42, 0))),
            ("+1.02.0", Ok((1, 2, 0))),
            (
                "1.2.3.4",
                Err("invalid version \"1.2.3.4\": too many parts".into()),
            ),
            ("...", Err("invalid version \"...\": too many parts".into())),
            ("x", bad("major", "x", "invalid syntax")),
            ("1.", bad("minor", "", "invalid syntax")),
            ("1.0.0-rc1", bad("micro", "0-rc1", "invalid syntax")),
            ("1. 0", bad("minor", " 0", "invalid syntax")),
            (
                "99999999999999999999",
                bad("major", "99999999999999999999", "value out of range"),
            ),
        ];
        for (text, expected) in table {
            assert_eq!(&parse(text).map_err(|e| e.to_string()), expected, "{text}");
        }
    }

    #[test]
    fn compares_numbers() {
        assert_eq!(compare("0.10.0", "0.9.0"), Ok(Ordering::Greater));
        assert_eq!(compare("1.1", "1.1.0"), Ok(Ordering::Equal));
        assert_eq!(compare("", "0.2.0"), Ok(Ordering::Less));
        assert!(compare("1.0.0", "one").is_err());
    }

    #[test]
    fn version_of_a_document() {
        let of = |v: Value| of_document(&v).map_err(|e| e.to_string());
        assert_eq!(of(json!({})), Ok("0.1.0".into()));
        assert_eq!(of(json!(null)), Ok("0.1.0".into()));
        assert_eq!(of(json!({"cniVersion": ""})), Ok("0.1.0".into()));
        assert_eq!(of(json!({"cniVersion": null})), Ok("0.1.0".into()));
        assert_eq!(of(json!({"CNIVERSION": "7.0"})), Ok("7.0".into()));
        assert_eq!(
            of(json!({"cniVersion": 1})),
            Err(
                "decoding version from network config: cniVersion: expected a string, got number"
                    .into()
            )
        );
    }

    #[test]
    fn prints_a_version_reply() {
        assert_eq!(
            reply(Version::V0_4_0.starting_from()),
            "{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[\"0.4.0\",\"1.0.0\",\"1.1.0\"]}\n"
        );
    }
}
