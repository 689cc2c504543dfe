//! Errors, in upstream's words, which runtimes match and their users know.

use cni_core::invoke::FindError;
use cni_core::quote::quote;
use cni_core::types::ResultError;
use cni_core::{errno, version};
use std::fmt::{self, Display as _};
use std::io;
use std::path::{Path, PathBuf};

/// Why an operation of this crate failed.
///
/// [`Error::cni_error`] returns the error object of the plugin that failed, with its code.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The configuration directory has no configurations.
    NoConfigs {
        /// The directory.
        dir: PathBuf,
    },
    /// The configuration directory has no network of this name.
    NotFound {
        /// The directory.
        dir: PathBuf,
        /// The network's name.
        name: String,
    },
    /// A configuration file cannot be read.
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A configuration directory cannot be read.
    List {
        /// The directory.
        dir: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The folder with further plugins of a network cannot be read.
    Folder {
        /// The folder.
        dir: PathBuf,
        /// Why.
        source: Box<Error>,
    },
    /// A network list is malformed; the text says where.
    InvalidList(String),
    /// The configuration of a plugin is malformed; the text says where.
    InvalidPlugin(String),
    /// The configuration of one plugin of a list is malformed.
    InvalidElement {
        /// Its position in `plugins`, from 0.
        index: usize,
        /// Why.
        source: Box<Error>,
    },
    /// Neither a list nor the folder beside it has plugins.
    NoPlugins,
    /// A configuration file is malformed.
    InFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<Error>,
    },
    /// A plugin is not in the plugin directories.
    Find(FindError),
    /// The error object of a plugin, or of a plugin that failed without one; also that of an
    /// invalid name, container ID or interface name, which plugins refuse with the same object.
    Plugin(cni_core::Error),
    /// The result of a plugin cannot be decoded.
    Result(ResultError),
    /// A plugin of a list failed in ADD or DEL.
    Step {
        /// `type` of the plugin.
        kind: String,
        /// `name` in the plugin's own configuration, usually empty.
        name: String,
        /// `add` or `delete`.
        step: &'static str,
        /// Why.
        source: Box<Error>,
    },
    /// ADD failed, and so did DEL of what it had done ([`Cni::rollback`](crate::Cni::rollback)).
    Rollback {
        /// Why ADD failed.
        source: Box<Error>,
        /// Why DEL failed.
        rollback: Box<Error>,
    },
    /// The version of a configuration is malformed.
    Version(version::ParseError),
    /// CHECK needs a `cniVersion` of 0.4.0 or newer.
    CheckUnsupported {
        /// The network's version.
        version: String,
    },
    /// A plugin does not support the version of its configuration.
    VersionUnsupported {
        /// `type` of the plugin.
        kind: String,
        /// The version.
        version: String,
    },
    /// The reply of a plugin to VERSION is malformed; the text says where.
    VersionReply(String),
    /// The three names that a cache file is found by are not complete, or not valid in a
    /// file name.
    CacheKey {
        /// The network's name.
        network: String,
        /// The container's ID.
        container_id: String,
        /// The interface's name.
        if_name: String,
    },
    /// The cache directory or a file in it cannot be read or written.
    Cache(cni_state::Error),
    /// A cache file is malformed; the text says where.
    CacheContent {
        /// The network's name.
        network: String,
        /// What is wrong.
        text: String,
    },
    /// The cached result of a network is of no use.
    CachedResult {
        /// The network's name.
        network: String,
        /// `get` or `set`.
        action: &'static str,
        /// Why.
        source: Box<Error>,
    },
    /// A cached result cannot be expressed in the version of the configuration.
    Conversion {
        /// The version.
        version: String,
        /// Why.
        source: Box<Error>,
    },
    /// GC could not delete an attachment that is no longer valid.
    Stale {
        /// The container's ID.
        container_id: String,
        /// The interface's name.
        if_name: String,
        /// Why.
        source: Box<Error>,
    },
    /// GC of a plugin failed.
    Gc {
        /// `type` of the plugin.
        kind: String,
        /// Why.
        source: Box<Error>,
    },
    /// Several independent steps failed; the text has a line for each.
    Several(Vec<Error>),
    /// Validation found faults; the text is a list in brackets.
    Invalid(Vec<Error>),
}

impl Error {
    /// Returns the error object of the plugin that failed, the first one if several did.
    #[must_use]
    pub fn cni_error(&self) -> Option<&cni_core::Error> {
        match self {
            Error::Plugin(error) => Some(error),
            Error::Several(errors) | Error::Invalid(errors) => {
                errors.iter().find_map(Error::cni_error)
            }
            other => other.inner()?.cni_error(),
        }
    }

    /// Returns the error that this one adds a context to.
    fn inner(&self) -> Option<&Error> {
        match self {
            Error::Folder { source, .. }
            | Error::InvalidElement { source, .. }
            | Error::InFile { source, .. }
            | Error::Step { source, .. }
            | Error::Rollback { source, .. }
            | Error::CachedResult { source, .. }
            | Error::Conversion { source, .. }
            | Error::Stale { source, .. }
            | Error::Gc { source, .. } => Some(source),
            _ => None,
        }
    }

    pub(crate) fn invalid_list(why: impl fmt::Display) -> Error {
        Error::InvalidList(why.to_string())
    }

    pub(crate) fn invalid_plugin(why: impl fmt::Display) -> Error {
        Error::InvalidPlugin(why.to_string())
    }

    pub(crate) fn in_file(self, path: &Path) -> Error {
        Error::InFile {
            path: path.to_owned(),
            source: Box::new(self),
        }
    }

    /// Returns one error for all of `errors`; none if there are none.
    pub(crate) fn join(mut errors: Vec<Error>) -> Result<(), Error> {
        match errors.pop() {
            None => Ok(()),
            Some(error) if errors.is_empty() => Err(error),
            Some(error) => {
                errors.push(error);
                Err(Error::Several(errors))
            }
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoConfigs { dir } => {
                write!(f, "no net configurations found in {}", dir.display())
            }
            Error::NotFound { dir, name } => write!(
                f,
                "no net configuration with name {} in {}",
                quote(name),
                dir.display()
            ),
            Error::Read { path, error } => {
                let path = path.display();
                write!(f, "error reading {path}: open {path}: {}", errno::of(error))
            }
            Error::List { dir, error } => write!(f, "open {}: {}", dir.display(), errno::of(error)),
            Error::Folder { dir, source } => write!(
                f,
                "failed to read plugin config files in {}: {source}",
                dir.display()
            ),
            Error::InvalidList(text) => write!(f, "error parsing configuration list: {text}"),
            Error::InvalidPlugin(text) => write!(f, "error parsing configuration: {text}"),
            Error::InvalidElement { index, source } => {
                write!(f, "failed to parse plugin config {index}: {source}")
            }
            Error::NoPlugins => f.write_str("no plugin configs found"),
            // As upstream separates `msg` and `details`.
            Error::InFile { path, source } => write!(f, "{source}; file {}", path.display()),
            Error::Version(error) => error.fmt(f),
            other => other.fmt_call(f),
        }
    }
}

impl Error {
    /// Writes the text of an error that is not one of loading a configuration.
    fn fmt_call(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Find(error) => error.fmt(f),
            Error::Plugin(error) => error.fmt(f),
            Error::Result(error) => error.fmt(f),
            Error::Step {
                kind,
                name,
                step,
                source,
            } => {
                write!(f, "plugin type={}", quote(kind))?;
                if !name.is_empty() {
                    write!(f, " name={}", quote(name))?;
                }
                write!(f, " failed ({step}): {source}")
            }
            Error::Rollback { source, rollback } => {
                write!(
                    f,
                    "{source}; deleting what it had done failed too: {rollback}"
                )
            }
            Error::CheckUnsupported { version } => write!(
                f,
                "configuration version {} does not support the CHECK command",
                quote(version)
            ),
            Error::VersionUnsupported { kind, version } => write!(
                f,
                "plugin {kind} does not support config version {}",
                quote(version)
            ),
            Error::VersionReply(text) => write!(f, "decoding version info: {text}"),
            Error::Gc { kind, source } => write!(f, "failed to GC plugin {kind}: {source}"),
            Error::Several(errors) => f.write_str(&joined(errors, "\n")),
            Error::Invalid(errors) => write!(f, "[{}]", joined(errors, " ")),
            other => other.fmt_cache(f),
        }
    }

    /// Writes the text of an error of the cache.
    fn fmt_cache(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::CacheKey {
                network,
                container_id,
                if_name,
            } => write!(
                f,
                "cache file path requires network name ({}), container ID ({}), and interface name ({})",
                quote(network),
                quote(container_id),
                quote(if_name)
            ),
            Error::Cache(error) => error.fmt(f),
            Error::CacheContent { network, text } => {
                write!(
                    f,
                    "failed to unmarshal cached network {} config: {text}",
                    quote(network)
                )
            }
            Error::CachedResult {
                network,
                action,
                source,
            } => write!(
                f,
                "failed to {action} network {} cached result: {source}",
                quote(network)
            ),
            Error::Conversion { version, source } => write!(
                f,
                "failed to convert cached result to config version {}: {source}",
                quote(version)
            ),
            Error::Stale {
                container_id,
                if_name,
                source,
            } => write!(
                f,
                "failed to delete stale attachment {container_id} {if_name}: {source}"
            ),
            // All others have been written.
            _ => Ok(()),
        }
    }
}

fn joined(errors: &[Error], separator: &str) -> String {
    let texts: Vec<String> = errors.iter().map(Error::to_string).collect();
    texts.join(separator)
}

/// The text includes the cause. `source` returns it for those who look for a certain error.
impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Read { error, .. } | Error::List { error, .. } => Some(error),
            Error::Find(error) => Some(error),
            Error::Plugin(error) => Some(error),
            Error::Result(error) => Some(error),
            Error::Version(error) => Some(error),
            Error::Cache(error) => Some(error),
            Error::Several(errors) | Error::Invalid(errors) => {
                errors.first().map(|error| error as _)
            }
            other => other.inner().map(|error| error as _),
        }
    }
}

impl From<FindError> for Error {
    fn from(error: FindError) -> Self {
        Error::Find(error)
    }
}

impl From<cni_core::Error> for Error {
    fn from(error: cni_core::Error) -> Self {
        Error::Plugin(error)
    }
}

impl From<version::ParseError> for Error {
    fn from(error: version::ParseError) -> Self {
        Error::Version(error)
    }
}

impl From<ResultError> for Error {
    fn from(error: ResultError) -> Self {
        Error::Result(error)
    }
}

impl From<cni_state::Error> for Error {
    fn from(error: cni_state::Error) -> Self {
        Error::Cache(error)
    }
}
