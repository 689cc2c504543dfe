//! The entry point of a plugin: environment and standard input in, one document
//! and an exit code out (specification, section "CNI operations").
//!
//! ```no_run
//! use cni_core::{AddResult, Call, Plugin, skel};
//!
//! struct Nothing;
//!
//! impl Plugin for Nothing {
//!     fn name(&self) -> &'static str {
//!         "nothing"
//!     }
//!     fn add(&self, call: &Call) -> anyhow::Result<AddResult> {
//!         Ok(call.prev_result()?.unwrap_or_default())
//!     }
//!     fn del(&self, _: &Call) -> anyhow::Result<()> {
//!         Ok(())
//!     }
//!     fn check(&self, _: &Call) -> anyhow::Result<()> {
//!         Ok(())
//!     }
//!     fn gc(&self, _: &Call) -> anyhow::Result<()> {
//!         Ok(())
//!     }
//!     fn status(&self, _: &Call) -> anyhow::Result<()> {
//!         Ok(())
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     skel::main(&Nothing)
//! }
//! ```

mod call;
mod env;
mod gates;
mod process;
#[cfg(test)]
mod tests;
mod validate;

pub use call::Call;
pub use env::Env;
pub use process::main;
pub use validate::validate_if_name;
use validate::validate_network_name;

use crate::{AddResult, Code, Error, Version, json, version};
use std::io::Read;
use std::path::PathBuf;

/// A plugin: one type with five verbs.
///
/// A verb must not read the process's environment or standard input; everything
/// it needs is in the [`Call`]. A [`crate::Error`] anywhere in the chain of the
/// error it returns reaches the runtime as it is, any other error with code 999
/// and the whole chain as its text.
pub trait Plugin {
    /// The name of the plugin and of its binary.
    fn name(&self) -> &'static str;

    /// The specification versions it speaks.
    fn supported_versions(&self) -> &'static [Version] {
        Version::ALL
    }

    /// ADD: attach the container to the network, or fail and leave nothing behind.
    fn add(&self, call: &Call) -> anyhow::Result<AddResult>;

    /// DEL: undo ADD from any state. What is gone already is no error.
    fn del(&self, call: &Call) -> anyhow::Result<()>;

    /// CHECK: compare the attachment with what ADD has created.
    fn check(&self, call: &Call) -> anyhow::Result<()>;

    /// GC: remove everything of this network that belongs to none of
    /// [`Call::valid_attachments`].
    fn gc(&self, call: &Call) -> anyhow::Result<()>;

    /// STATUS: succeed if an ADD could be served now. Fail with
    /// [`Code::PLUGIN_NOT_AVAILABLE`] or [`Code::LIMITED_CONNECTIVITY`] if not.
    fn status(&self, call: &Call) -> anyhow::Result<()>;
}

/// The verb of a call: `CNI_COMMAND`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Attach a container.
    Add,
    /// Detach a container.
    Del,
    /// Verify an attachment.
    Check,
    /// Collect garbage.
    Gc,
    /// Report readiness.
    Status,
    /// Report supported versions.
    Version,
}

impl Command {
    /// The value of `CNI_COMMAND`; names are case-sensitive.
    pub fn from_name(name: &str) -> Option<Command> {
        Some(match name {
            "ADD" => Command::Add,
            "DEL" => Command::Del,
            "CHECK" => Command::Check,
            "GC" => Command::Gc,
            "STATUS" => Command::Status,
            "VERSION" => Command::Version,
            _ => return None,
        })
    }

    /// The value of `CNI_COMMAND`.
    pub fn name(self) -> &'static str {
        match self {
            Command::Add => "ADD",
            Command::Del => "DEL",
            Command::Check => "CHECK",
            Command::Gc => "GC",
            Command::Status => "STATUS",
            Command::Version => "VERSION",
        }
    }
}

/// Output and exit code of a run of a plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// For standard output.
    pub stdout: String,
    /// For standard error.
    pub stderr: String,
    /// The exit code.
    pub exit: u8,
}

impl Outcome {
    fn failure(error: &Error) -> Self {
        Outcome {
            stdout: error.to_json(),
            exit: 1,
            ..Outcome::default()
        }
    }
}

/// Runs one call of `plugin` without touching the process: the environment is
/// `env`, the configuration is read from `stdin`, and what would be printed is
/// returned.
pub fn run(plugin: &dyn Plugin, env: &Env, stdin: impl Read) -> Outcome {
    match prepare(plugin, env, stdin) {
        Ok(Step::Done(outcome)) => outcome,
        Ok(Step::Verb(call)) => match dispatch(plugin, *call) {
            Ok(stdout) => Outcome {
                stdout,
                ..Outcome::default()
            },
            Err(error) => Outcome::failure(&error),
        },
        Err(error) => Outcome::failure(&error),
    }
}

/// Initial size of the input buffer in bytes; most configurations fit.
const USUAL_CONFIG: usize = 4096;

/// Outcome of the checks that come before any verb.
enum Step {
    Done(Outcome),
    Verb(Box<Call>),
}

fn prepare(plugin: &dyn Plugin, env: &Env, mut stdin: impl Read) -> Result<Step, Error> {
    if env.command.is_empty() {
        return Ok(Step::Done(Outcome {
            stderr: about(plugin),
            ..Outcome::default()
        }));
    }
    env.validate()?;
    let command = Command::from_name(&env.command.to_string_lossy());
    if command == Some(Command::Version) {
        let stdout = version::reply(plugin.supported_versions());
        return Ok(Step::Done(Outcome {
            stdout,
            ..Outcome::default()
        }));
    }
    let mut bytes = Vec::with_capacity(USUAL_CONFIG);
    stdin.read_to_end(&mut bytes).map_err(|e| {
        Error::new(
            Code::IO_FAILURE,
            format!("error reading from stdin: {}", crate::errno::of(&e)),
        )
    })?;
    let undecodable = |e: json::Error| {
        Error::new(
            Code::DECODING_FAILURE,
            format!("error unmarshall network config: {e}"),
        )
    };
    let mut conf = json::parse(&bytes).map_err(undecodable)?;
    if conf.is_null() {
        // "null" is a configuration without keys, as upstream has it.
        conf = serde_json::Map::new().into();
    }
    let name: gates::Name = json::decode(&conf).map_err(undecodable)?;
    if name.name.is_empty() {
        return Err(Error::new(
            Code::INVALID_NETWORK_CONFIG,
            "missing network name",
        ));
    }
    validate_network_name(&name.name)?;
    let command = command.ok_or_else(|| {
        Error::new(
            Code::INVALID_ENVIRONMENT,
            format!("unknown CNI_COMMAND: {}", env.command.to_string_lossy()),
        )
    })?;
    let config_version = version::of_document(&conf)
        .map_err(|e| Error::new(Code::DECODING_FAILURE, e.to_string()))?;
    let version = gates::admit(command, &config_version, plugin.supported_versions())?;
    let call = Call {
        command,
        container_id: env.container_id.to_string_lossy().into_owned(),
        netns: PathBuf::from(&env.netns),
        if_name: env.if_name.to_string_lossy().into_owned(),
        args: env.args.clone(),
        path: env.path.clone(),
        netns_override: env.netns_override(),
        stdin: bytes,
        conf,
        name: name.name,
        version,
    };
    Ok(Step::Verb(Box::new(call)))
}

/// The text on standard error for a run without `CNI_COMMAND`, when the plugin was
/// called by hand.
fn about(plugin: &dyn Plugin) -> String {
    let versions: Vec<_> = plugin
        .supported_versions()
        .iter()
        .map(|v| v.as_str())
        .collect();
    format!(
        "CNI {} plugin {}\nCNI protocol versions supported: {}\n",
        plugin.name(),
        build_version(),
        versions.join(", ")
    )
}

/// The version this build calls itself: `CNI_BUILD_VERSION` at compile time.
pub fn build_version() -> &'static str {
    option_env!("CNI_BUILD_VERSION").unwrap_or("version unknown")
}

/// Calls the verb and returns the text for standard output.
fn dispatch(plugin: &dyn Plugin, mut call: Call) -> Result<String, Error> {
    let done = |verb: anyhow::Result<()>| match verb {
        Ok(()) => Ok(String::new()),
        Err(error) => Err(Error::from_chain(&error)),
    };
    match call.command {
        Command::Add => {
            // Upstream checks this after the verb, when the host's own interfaces have
            // been changed already.
            gates::not_own_netns(&call)?;
            add(plugin, &call)
        }
        Command::Del => {
            // Cleaning up must not be skipped, but the host's interfaces must not
            // be mistaken for the container's: the verb sees a container whose
            // namespace is gone.
            let identity = gates::not_own_netns(&call);
            if identity.is_err() {
                call.netns = PathBuf::new();
            }
            done(plugin.del(&call)).and(identity.map(|()| String::new()))
        }
        Command::Check => done(plugin.check(&call)),
        Command::Gc => done(plugin.gc(&call)),
        Command::Status => done(plugin.status(&call)),
        Command::Version => Ok(version::reply(plugin.supported_versions())),
    }
}

/// ADD, whose result may turn out not to be expressible in the version asked
/// for (0.2.0 and older have no result without addresses): the attachment is
/// undone then.
fn add(plugin: &dyn Plugin, call: &Call) -> Result<String, Error> {
    let result = plugin.add(call).map_err(|e| Error::from_chain(&e))?;
    result.to_json(call.version).map_err(|error| {
        let error = Error {
            code: Code::INTERNAL,
            ..error
        };
        match plugin.del(call) {
            Ok(()) => error,
            Err(undo) => error.with_details(format!("and undoing the attachment failed: {undo:#}")),
        }
    })
}
