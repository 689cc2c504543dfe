//! Parser of `CNI_ARGS`.

use std::ffi::OsStr;
use std::fmt;

use crate::quote::{quote, quote_list};

/// The pairs of `CNI_ARGS` whose keys a plugin knows.
///
/// Kubernetes runtimes pass `IgnoreUnknown=1` and several `K8S_POD_*` pairs. Without
/// `IgnoreUnknown` an unknown key is an error, on which other runtimes rely.
///
/// ```
/// use cni_core::args::Args;
///
/// let args = Args::parse("IgnoreUnknown=1;K8S_POD_NAME=web;MAC=02:00:00:00:00:01", &["MAC"])?;
/// assert_eq!(args.get("MAC"), Some("02:00:00:00:00:01"));
/// assert_eq!(args.get("K8S_POD_NAME"), None);
///
/// let error = Args::parse("K8S_POD_NAME=web", &["MAC"]).unwrap_err();
/// assert_eq!(error.to_string(), r#"ARGS: unknown args ["K8S_POD_NAME=web"]"#);
/// # Ok::<(), cni_core::args::ArgsError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args {
    pairs: Vec<(String, String)>,
}

impl Args {
    /// Parses `K=V;K2=V2`. Keys are case-sensitive, of duplicates the last one wins, and
    /// values may be empty. `IgnoreUnknown` is always known.
    ///
    /// # Errors
    /// For a pair without exactly one `=` (a trailing `;` makes an empty pair), an
    /// `IgnoreUnknown` that is not a boolean, and unknown keys that are not ignored.
    pub fn parse(text: impl AsRef<OsStr>, known: &[&str]) -> Result<Args, ArgsError> {
        parse(text.as_ref().as_encoded_bytes(), known)
    }

    /// Returns the value of a known key; `None` if it was not given.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs
            .iter()
            .rev()
            .find(|(k, _)| k == key)
            .map(|(_, value)| value.as_str())
    }

    /// Returns the value of a known key, converted by `convert`; `None` if it was not given.
    ///
    /// # Errors
    /// `ARGS: error parsing value of pair "<K=V>": <error of convert>`.
    pub fn get_with<T, E: fmt::Display>(
        &self,
        key: &str,
        convert: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, ArgsError> {
        self.get(key)
            .map(|value| {
                convert(value).map_err(|e| bad_value(format!("{key}={value}").as_bytes(), &e))
            })
            .transpose()
    }
}

/// Parses bytes, since an environment variable need not be UTF-8.
fn parse(text: &[u8], known: &[&str]) -> Result<Args, ArgsError> {
    let mut args = Args::default();
    if text.is_empty() {
        return Ok(args);
    }
    let lossy = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let mut ignore_unknown = false;
    let mut unknown = Vec::new();
    for pair in text.split(|byte| *byte == b';') {
        let mut parts = pair.split(|byte| *byte == b'=');
        let (Some(key), Some(value), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err(ArgsError(format!("ARGS: invalid pair {}", quote(pair))));
        };
        if key == b"IgnoreUnknown" {
            ignore_unknown = parse_bool(&lossy(value)).map_err(|e| bad_value(pair, &e))?;
        } else if known.iter().any(|known| known.as_bytes() == key) {
            args.pairs.push((lossy(key), lossy(value)));
        } else {
            unknown.push(pair);
        }
    }
    if unknown.is_empty() || ignore_unknown {
        Ok(args)
    } else {
        Err(ArgsError(format!(
            "ARGS: unknown args {}",
            quote_list(unknown)
        )))
    }
}

fn parse_bool(value: &str) -> Result<bool, String> {
    let value = value.to_lowercase();
    match value.as_str() {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(format!("boolean unmarshal error: invalid input {value}")),
    }
}

fn bad_value(pair: &[u8], detail: &dyn fmt::Display) -> ArgsError {
    ArgsError(format!(
        "ARGS: error parsing value of pair {}: {detail}",
        quote(pair)
    ))
}

/// Invalid `CNI_ARGS`, or a value that cannot be converted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgsError(String);

impl fmt::Display for ArgsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ArgsError {}

#[cfg(test)]
mod tests {
    use super::*;

    type Pairs = Vec<(String, String)>;

    fn parse_pairs(text: &str) -> Result<Pairs, String> {
        Args::parse(text, &["MAC", "IP"])
            .map(|args| args.pairs)
            .map_err(|e| e.to_string())
    }

    #[test]
    fn pairs_are_parsed_as_by_upstream() {
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        let table: Vec<(&str, Result<Pairs, &str>)> = vec![
            ("", Ok(vec![])),
            ("MAC=m", Ok(vec![pair("MAC", "m")])),
            ("MAC=", Ok(vec![pair("MAC", "")])),
            ("MAC= m ", Ok(vec![pair("MAC", " m ")])),
            ("MAC=a;IP=b", Ok(vec![pair("MAC", "a"), pair("IP", "b")])),
            ("MAC=m;", Err(r#"ARGS: invalid pair """#)),
            (";", Err(r#"ARGS: invalid pair """#)),
            ("MAC", Err(r#"ARGS: invalid pair "MAC""#)),
            ("MAC=a=b", Err(r#"ARGS: invalid pair "MAC=a=b""#)),
            ("mac=m", Err(r#"ARGS: unknown args ["mac=m"]"#)),
            (" MAC=m", Err(r#"ARGS: unknown args [" MAC=m"]"#)),
            ("A=b;MAC=m;C=d", Err(r#"ARGS: unknown args ["A=b" "C=d"]"#)),
            ("A=b;IgnoreUnknown=0", Err(r#"ARGS: unknown args ["A=b"]"#)),
            ("A=b;IgnoreUnknown=1", Ok(vec![])),
            ("IgnoreUnknown=TRUE;A=b;MAC=m", Ok(vec![pair("MAC", "m")])),
            (
                "IgnoreUnknown=true;IgnoreUnknown=False;A=b",
                Err(r#"ARGS: unknown args ["A=b"]"#),
            ),
            (
                "ignoreunknown=1",
                Err(r#"ARGS: unknown args ["ignoreunknown=1"]"#),
            ),
            (
                "IgnoreUnknown=YES",
                Err("ARGS: error parsing value of pair \"IgnoreUnknown=YES\": \
                     boolean unmarshal error: invalid input yes"),
            ),
            (
                "IgnoreUnknown=",
                Err("ARGS: error parsing value of pair \"IgnoreUnknown=\": \
                     boolean unmarshal error: invalid input "),
            ),
            // A malformed pair is reported even after an unknown key.
            ("A=b;MAC", Err(r#"ARGS: invalid pair "MAC""#)),
        ];
        for (text, expected) in table {
            assert_eq!(parse_pairs(text), expected.map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn the_last_of_duplicate_keys_wins() {
        let args = Args::parse("MAC=a;MAC=b", &["MAC"]).unwrap();
        assert_eq!(args.get("MAC"), Some("b"));
    }

    #[test]
    fn values_are_converted() {
        let args = Args::parse("IP=x", &["IP", "MAC"]).unwrap();
        let error = args
            .get_with("IP", crate::cidr::parse_ip)
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "ARGS: error parsing value of pair \"IP=x\": invalid IP address: x"
        );
        assert_eq!(args.get_with("MAC", crate::cidr::parse_ip).unwrap(), None);
    }

    #[cfg(unix)]
    #[test]
    fn invalid_utf8_is_quoted() {
        use std::os::unix::ffi::OsStrExt as _;
        let error = Args::parse(OsStr::from_bytes(b"\xff"), &[])
            .unwrap_err()
            .to_string();
        assert_eq!(error, r#"ARGS: invalid pair "\xff""#);
    }
}
