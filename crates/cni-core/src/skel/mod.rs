//! Entry point of a plugin: reads environment and standard input, runs the verb, and
//! returns one document and an exit code (specification, section "CNI operations").
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

mod bundle;
mod call;
mod env;
mod gates;
mod process;
#[cfg(test)]
mod tests;
mod validate;

pub use bundle::Bundle;
pub(crate) use bundle::Bundled;
pub use call::Call;
pub use env::Env;
pub use process::{main, main_bundled};
pub use validate::{validate_container_id, validate_if_name, validate_network_name};

use crate::confine::Needs;
use crate::{AddResult, Code, Error, Version, json, version};
use std::io::Read;
use std::path::PathBuf;

/// A plugin with its five verbs.
///
/// A verb must not read the process's environment or standard input, but the [`Call`]. If
/// the chain of its error contains a [`crate::Error`], the runtime receives that; any other
/// error is reported with code 999 and the whole chain as its text.
pub trait Plugin {
    /// Returns the name of the plugin and of its binary.
    fn name(&self) -> &'static str;

    /// Returns the supported versions of the specification.
    fn supported_versions(&self) -> &'static [Version] {
        Version::ALL
    }

    /// Returns what the verb of `call` needs of the system, so that [`main`] can give up
    /// everything else before it calls the verb; `None` gives up nothing. Called before
    /// the plugin has validated its configuration. Must not fail on an invalid one.
    fn needs(&self, _call: &Call) -> Option<Needs> {
        None
    }

    /// ADD: attaches the container to the network. A failed ADD leaves nothing behind.
    fn add(&self, call: &Call) -> anyhow::Result<AddResult>;

    /// DEL: undoes ADD, also one that was interrupted. A missing resource is not an error.
    fn del(&self, call: &Call) -> anyhow::Result<()>;

    /// CHECK: compares the attachment with what ADD has created.
    fn check(&self, call: &Call) -> anyhow::Result<()>;

    /// GC: removes the resources of all attachments of the network that are not among
    /// [`Call::valid_attachments`].
    fn gc(&self, call: &Call) -> anyhow::Result<()>;

    /// STATUS: succeeds if the plugin can serve an ADD; otherwise fails with
    /// [`Code::PLUGIN_NOT_AVAILABLE`] or [`Code::LIMITED_CONNECTIVITY`].
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
    /// Returns the verb with this `CNI_COMMAND`, which is case-sensitive.
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

    /// Returns the value of `CNI_COMMAND`.
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

/// Output and exit code of a call of a plugin.
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

/// Runs one call of `plugin` with the environment `env` and the configuration from
/// `stdin`, and returns the output. Uses no globals of the process.
pub fn run(plugin: &dyn Plugin, env: &Env, stdin: impl Read) -> Outcome {
    run_bundled(Bundle::default(), plugin, env, stdin, |_| {})
}

/// Runs one call of `plugin`, an element of `bundle` if that is not empty. `before` is
/// called before the verb.
pub(crate) fn run_bundled(
    bundle: Bundle,
    plugin: &dyn Plugin,
    env: &Env,
    stdin: impl Read,
    before: impl FnOnce(&Call),
) -> Outcome {
    match prepare(bundle, plugin, env, stdin) {
        Ok(Step::Done(outcome)) => outcome,
        Ok(Step::Verb(call)) => {
            before(&call);
            match dispatch(plugin, *call) {
                Ok(stdout) => Outcome {
                    stdout,
                    ..Outcome::default()
                },
                Err(error) => Outcome::failure(&error),
            }
        }
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

fn prepare(
    bundle: Bundle,
    plugin: &dyn Plugin,
    env: &Env,
    mut stdin: impl Read,
) -> Result<Step, Error> {
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
        // As in upstream, "null" is a configuration without keys.
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
        bundle,
    };
    Ok(Step::Verb(Box::new(call)))
}

/// Returns the text for standard error when the plugin is run by hand, without
/// `CNI_COMMAND`.
fn about(plugin: &dyn Plugin) -> String {
    let versions: Vec<_> = plugin
        .supported_versions()
        .iter()
        .map(|v| v.as_str())
        .collect();
    let commit = option_env!("CNI_BUILD_COMMIT").map(|commit| format!("commit {commit}\n"));
    // Programs parse the first line (nerdctl) or take the first word that is a version (Nomad).
    format!(
        "CNI {} plugin {}\nCNI protocol versions supported: {}\n{}",
        plugin.name(),
        build_version(),
        versions.join(", "),
        commit.unwrap_or_default()
    )
}

/// Returns the version of this build: at compile time `CNI_BUILD_VERSION`, which `cargo xtask` sets, else
/// `CNI_WORKSPACE_VERSION`, which a workspace sets in `.cargo/config.toml`.
pub fn build_version() -> &'static str {
    option_env!("CNI_BUILD_VERSION")
        .or(option_env!("CNI_WORKSPACE_VERSION"))
        .unwrap_or("version unknown")
}

/// Calls the verb and returns the text for standard output.
fn dispatch(plugin: &dyn Plugin, mut call: Call) -> Result<String, Error> {
    let done = |verb: anyhow::Result<()>| match verb {
        Ok(()) => Ok(String::new()),
        Err(error) => Err(Error::from_chain(&error)),
    };
    match call.command {
        Command::Add => {
            // Upstream checks this after the verb, which by then has changed the host's own
            // interfaces.
            gates::not_own_netns(&call)?;
            add(plugin, &call)
        }
        Command::Del => {
            // DEL must clean up, but must not take the host's interfaces for those of the
            // container, so it is called as if the namespace were gone.
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

/// Runs ADD and encodes its result. If the configured version cannot express the result
/// (those of 0.2.0 and older need an address), the attachment is deleted.
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
