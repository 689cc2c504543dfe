//! Why a result could not be read.

use std::fmt;

use crate::json;
use crate::quote::quote;
use crate::version::ParseError;

/// A result that is malformed or of a version that does not fit.
///
/// The texts are upstream's; they reach users and are matched on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResultError {
    /// No result of this version is known.
    UnsupportedVersion(String),
    /// The document's `cniVersion` has another shape than the one asked for.
    WrongFamily {
        /// The versions whose results have the shape that was asked for.
        supported: &'static [&'static str],
        /// The document's own version.
        got: String,
    },
    /// The document's `cniVersion` cannot be read.
    Version(ParseError),
    /// The document is no such result; the text names the key.
    Decode(json::Error),
    /// What a plugin printed is no JSON object.
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

/// The whole story is in the text, so there is no `source` to repeat it.
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
