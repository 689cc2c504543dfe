//! The file that tells the plugin what to answer.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use cni_core::skel::Env;
use cni_core::{Call, Code, Error, Version, json};
use serde::{Deserialize, Serialize};

use crate::record::Arguments;

/// An entry of the supported versions that is no version; runtimes must cope with it.
const ODD_VERSION: &str = "0.-42.0";

/// The key of `CNI_ARGS` that names the file.
const KEY: &[u8] = b"DEBUG";

/// A file and its contents.
#[derive(Debug)]
pub(crate) struct Script {
    path: PathBuf,
    pub(crate) contents: Contents,
}

/// What the file says, with upstream's keys.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Contents {
    /// What is printed on success, unchanged; or `PASSTHROUGH` or `INJECT-DNS`.
    pub(crate) report_result: String,
    /// The text of an error; empty for success.
    pub(crate) report_error: String,
    /// The error's code; 0 for 999.
    pub(crate) report_error_code: u32,
    /// What is written to standard error.
    pub(crate) report_stderr: String,
    /// The supported versions; empty for all and one that is none.
    pub(crate) report_version_support: Vec<String>,
    /// The exit code after success.
    pub(crate) exit_with_code: i64,
    /// The verb of the last call.
    command: String,
    /// Its arguments.
    cmd_args: Arguments,
}

/// The keys of the configuration that the plugin knows.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Config {
    debug_file: PathBuf,
}

impl Script {
    /// Returns the script that `CNI_ARGS` or else the configuration names.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn find(args: &OsStr, input: &[u8]) -> Result<Option<Script>, Error> {
        let Some(path) = in_args(args).or_else(|| in_config(input)) else {
            return Ok(None);
        };
        let refused = |what: String| {
            Error::new(Code::IO_FAILURE, format!("debug file {}", path.display()))
                .with_details(what)
        };
        let bytes =
            std::fs::read(&path).map_err(|e| refused(cni_core::errno::of(&e).to_string()))?;
        let contents = json::parse(&bytes)
            .and_then(|value| json::decode(&value))
            .map_err(|e| refused(e.to_string()))?;
        Ok(Some(Script { path, contents }))
    }

    /// Records the call in the file.
    pub(crate) fn write_back(&self, env: &Env, call: &Call) -> anyhow::Result<()> {
        let contents = Contents {
            command: call.command.name().to_owned(),
            cmd_args: Arguments::of(env, call),
            ..self.contents.clone()
        };
        std::fs::write(&self.path, serde_json::to_vec(&contents)?)
            .with_context(|| format!("debug file {}", self.path.display()))
    }

    /// The exit code after success.
    pub(crate) fn exit_code(&self) -> u8 {
        u8::try_from(self.contents.exit_with_code).unwrap_or_default()
    }
}

/// The versions that VERSION lists.
pub(crate) fn versions(script: Option<&Script>) -> Vec<String> {
    match script.map(|script| &script.contents.report_version_support) {
        Some(versions) if !versions.is_empty() => versions.clone(),
        _ => [ODD_VERSION]
            .into_iter()
            .chain(Version::ALL.iter().map(|version| version.as_str()))
            .map(String::from)
            .collect(),
    }
}

fn in_args(args: &OsStr) -> Option<PathBuf> {
    let pairs = args.as_bytes().split(|byte| *byte == b';');
    let path = pairs
        .filter_map(|pair| pair.strip_prefix(KEY)?.strip_prefix(b"="))
        .next()?;
    (!path.is_empty()).then(|| Path::new(OsStr::from_bytes(path)).to_owned())
}

fn in_config(input: &[u8]) -> Option<PathBuf> {
    // skel reports a malformed configuration.
    let config: Config = json::decode(&json::parse(input).ok()?).ok()?;
    Some(config.debug_file).filter(|path| !path.as_os_str().is_empty())
}
