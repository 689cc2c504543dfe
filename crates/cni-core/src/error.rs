//! The error object of the CNI specification.

use std::fmt;

/// An error code of the CNI specification, section "Error".
///
/// Codes 1 to 99 belong to the specification, 100 and above to plugins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(pub u32);

impl Code {
    /// A plugin failed without a usable error object. Plugins never return it.
    pub const UNKNOWN: Code = Code(0);
    /// The configuration's `cniVersion` is not supported by the plugin.
    pub const INCOMPATIBLE_VERSION: Code = Code(1);
    /// A field of the configuration is not supported.
    pub const UNSUPPORTED_FIELD: Code = Code(2);
    /// The container is unknown; the runtime need not clean up.
    pub const UNKNOWN_CONTAINER: Code = Code(3);
    /// A necessary environment variable is missing or malformed.
    pub const INVALID_ENVIRONMENT: Code = Code(4);
    /// Reading standard input or writing standard output failed.
    pub const IO_FAILURE: Code = Code(5);
    /// The configuration cannot be decoded.
    pub const DECODING_FAILURE: Code = Code(6);
    /// The network configuration is invalid.
    pub const INVALID_NETWORK_CONFIG: Code = Code(7);
    /// `CNI_NETNS` is the plugin's own namespace. Not in the specification's table, but
    /// returned by every plugin that uses the reference library.
    pub const INVALID_NETNS: Code = Code(8);
    /// A transient condition; the runtime should try again later.
    pub const TRY_AGAIN_LATER: Code = Code(11);
    /// STATUS: the plugin cannot serve ADD requests.
    pub const PLUGIN_NOT_AVAILABLE: Code = Code(50);
    /// STATUS: the plugin cannot serve ADD, and existing containers may have
    /// limited connectivity.
    pub const LIMITED_CONNECTIVITY: Code = Code(51);
    /// Any other failure of a plugin.
    pub const INTERNAL: Code = Code(999);
}

/// The error object a plugin prints and a runtime receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The kind of failure.
    pub code: Code,
    /// What failed, in one line.
    pub msg: String,
    /// Further information; empty means absent.
    pub details: String,
}

impl Error {
    /// Returns an error without details.
    pub fn new(code: Code, msg: impl Into<String>) -> Self {
        Error {
            code,
            msg: msg.into(),
            details: String::new(),
        }
    }

    /// Sets the details.
    #[must_use]
    pub fn with_details(mut self, details: impl Into<String>) -> Self {
        self.details = details.into();
        self
    }

    /// Returns the error object for the failure of a verb. A CNI error anywhere in the
    /// chain is returned without the added context, so that a delegate's code reaches the
    /// runtime. Any other error becomes [`Code::INTERNAL`] with the whole chain as text.
    pub fn from_chain(error: &anyhow::Error) -> Self {
        match error
            .chain()
            .find_map(|cause| cause.downcast_ref::<Error>())
        {
            Some(inner) => inner.clone(),
            None => Error::new(Code::INTERNAL, format!("{error:#}")),
        }
    }

    /// Returns the document that a plugin prints, in the form of the reference library:
    /// four spaces of indentation, no final newline, no `cniVersion`.
    pub fn to_json(&self) -> String {
        let mut object = serde_json::Map::new();
        object.insert("code".into(), self.code.0.into());
        object.insert("msg".into(), self.msg.as_str().into());
        if !self.details.is_empty() {
            object.insert("details".into(), self.details.as_str().into());
        }
        crate::json::to_string_pretty(&object.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.msg)?;
        if !self.details.is_empty() {
            write!(f, "; {}", self.details)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
