//! Errors of parsing and decoding JSON.

use std::fmt::{self, Write as _};

use serde::de::{self, Expected, Unexpected};

/// The error of a malformed document, or of a value that the decoder does not expect.
///
/// The text begins with the path of the key:
/// `ipam.ranges[0][1].subnet: expected a string, got number`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Inner {
    /// Keys and indices from the innermost to the outermost, the order in which the decoder
    /// returns.
    path: Vec<Step>,
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

impl Error {
    #[cold]
    pub(crate) fn new(text: impl Into<String>) -> Error {
        Error(Box::new(Inner {
            path: Vec::new(),
            text: text.into(),
        }))
    }

    #[cold]
    pub(crate) fn in_key(mut self, key: &str) -> Error {
        self.0.path.push(Step::Key(key.to_owned()));
        self
    }

    #[cold]
    pub(crate) fn in_element(mut self, index: usize) -> Error {
        self.0.path.push(Step::Index(index));
        self
    }

    /// Returns the path of the invalid key, such as `ipam.ranges[0].subnet`; empty if the
    /// error concerns the whole document.
    pub fn path(&self) -> String {
        let mut path = String::new();
        for step in self.0.path.iter().rev() {
            match step {
                Step::Key(key) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(key);
                }
                Step::Index(index) => {
                    // Writing to a String cannot fail.
                    let _ = write!(path, "[{index}]");
                }
            }
        }
        path
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.path.is_empty() {
            f.write_str(&self.path())?;
            f.write_str(": ")?;
        }
        f.write_str(&self.0.text)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    #[cold]
    fn custom<T: fmt::Display>(text: T) -> Self {
        Error::new(text.to_string())
    }

    #[cold]
    fn invalid_type(got: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let got = match got {
            Unexpected::Bool(_) => "bool",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "number",
            Unexpected::Char(_) | Unexpected::Str(_) => "string",
            Unexpected::Unit | Unexpected::Option => "null",
            Unexpected::Seq => "array",
            Unexpected::Map => "object",
            _ => "something else",
        };
        Error::new(format!("expected {expected}, got {got}"))
    }

    #[cold]
    fn invalid_value(got: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let got = match got {
            Unexpected::Bool(value) => value.to_string(),
            Unexpected::Unsigned(value) => value.to_string(),
            Unexpected::Signed(value) => value.to_string(),
            Unexpected::Float(value) => value.to_string(),
            Unexpected::Char(value) => crate::quote::quote(value.to_string()),
            Unexpected::Str(value) => crate::quote::quote(value),
            _ => return Self::invalid_type(got, expected),
        };
        Error::new(format!("expected {expected}, got {got}"))
    }

    #[cold]
    fn invalid_length(len: usize, expected: &dyn Expected) -> Self {
        Error::new(format!("expected {expected}, got {len} elements"))
    }

    #[cold]
    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let got = crate::quote::quote(variant);
        Error::new(format!(
            "{got} is none of {}",
            crate::quote::quote_list(expected)
        ))
    }

    #[cold]
    fn missing_field(field: &'static str) -> Self {
        Error::new(format!("missing key {}", crate::quote::quote(field)))
    }

    #[cold]
    fn duplicate_field(field: &'static str) -> Self {
        Error::new(format!("key {} is given twice", crate::quote::quote(field)))
    }
}
