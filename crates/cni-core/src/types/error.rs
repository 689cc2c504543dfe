//! Errors of decoding a result.

use std::fmt;

use crate::json;
use crate::quote::quote;
use crate::version::ParseError;

/// The error of a result that is malformed or of the wrong version.
///
/// The texts are upstream's, which programs match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResultError {
    /// The version is unknown.
    UnsupportedVersion(String),
    /// The document's `cniVersion` belongs to another family than the expected version.
    WrongFamily {
        /// The versions of the expected family.
        supported: &'static [&'static str],
        /// The document's version.
        got: String,
    },
    /// The document's `cniVersion` is malformed.
    Version(ParseError),
    /// The document cannot be decoded; the text names the key.
    Decode(json::Error),
    /// The output of a plugin is not a JSON object.
    RawResult(json::Error),
    /// The `prevResult` of a configuration cannot be used.
    PrevResult(Box<ResultError>),
}

impl fmt::Display for ResultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResultError::UnsupportedVersion(version) => {
                write!(f, "unsupported CNI result version {}", quote(version))
            }
            ResultError::WrongFamily { supported, got } => write!(
                f,
                "result type supports [{}] but unmarshalled CNIVersion is {}",
                supported.join(" "),
                quote(got)
            ),
            ResultError::Version(error) => error.fmt(f),
            ResultError::Decode(error) => error.fmt(f),
            ResultError::RawResult(error) => write!(f, "failed to unmarshal raw result: {error}"),
            ResultError::PrevResult(error) => write!(f, "could not parse prevResult: {error}"),
        }
    }
}

/// The text includes the cause, so `source` returns `None`.
impl std::error::Error for ResultError {}

impl From<json::Error> for ResultError {
    fn from(error: json::Error) -> Self {
        ResultError::Decode(error)
    }
}

impl From<ParseError> for ResultError {
    fn from(error: ParseError) -> Self {
        ResultError::Version(error)
    }
}
