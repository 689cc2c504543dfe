//! Delegating a verb to another plugin (specification, section "Delegation").
//!
//! The delegate receives the caller's environment, with `CNI_COMMAND` set to the verb, and
//! its standard input byte for byte.

use super::exec::{self, Failure};
use super::failure::first_line;
use super::find::{FindError, find_in_path, split_path};
use super::in_process;
use crate::skel::{Bundled, Env};
use crate::types::ResultError;
use crate::{AddResult, Call, Code, Command, Error};
use child_process::Running;
use std::path::PathBuf;
use std::time::Duration;

/// Timeout of a verb of a delegate.
const TIME: Duration = Duration::from_secs(90);

/// Timeout of a verb of `dhcp`: its longest exchange with a server (`resendtimeout`,
/// 208 s) and 10 s for everything else.
const DHCP_TIME: Duration = Duration::from_secs(218);

/// Timeout of the DEL after an ADD that was killed.
const UNDO_TIME: Duration = Duration::from_secs(10);

/// Finds the executable of the plugin `delegate` in the call's `CNI_PATH`.
///
/// # Errors
/// See [`FindError`].
pub fn find(call: &Call, delegate: &str) -> Result<PathBuf, FindError> {
    find_in_path(delegate, &split_path(&call.path))
}

/// Returns the plugin `delegate` if it would run in this process.
pub(crate) fn in_this_process(call: &Call, delegate: &str) -> Option<Bundled> {
    if call.bundle.plugins().is_empty() {
        return None;
    }
    call.bundle.by_path(&find(call, delegate).ok()?, delegate)
}

/// Runs `verb` of the plugin `delegate`. For ADD, which has a result, use
/// [`delegate_add`].
///
/// # Errors
/// When the plugin is not found, and its error object if it fails, with its name added to
/// the details; an error in upstream's words if it ends without one. It is killed if it
/// writes more than 8 MiB or does not finish in time (90 s, `dhcp` 218 s).
pub fn delegate(call: &Call, delegate: &str, verb: Command) -> anyhow::Result<()> {
    start(call, delegate, verb)?.finish()
}

/// Runs ADD of the plugin `delegate`, and returns its result.
///
/// # Errors
/// As [`delegate`], and when it succeeds without printing a result. If it was killed or its
/// result cannot be decoded, what it has done is unknown, and its DEL is called.
pub fn delegate_add(call: &Call, delegate: &str) -> anyhow::Result<AddResult> {
    start(call, delegate, Command::Add)?.add()
}

/// A delegate that has been started for one verb and waits for its configuration. It is
/// killed when dropped.
struct Delegate<'a> {
    call: &'a Call,
    kind: String,
    path: PathBuf,
    started: Started,
}

/// How a delegate runs.
enum Started {
    /// As a process.
    Process(Running),
    /// In this process, because its executable is this one.
    InProcess(Bundled, Env),
}

impl Delegate<'_> {
    /// Passes the configuration and waits for the verb to finish, see [`delegate`].
    fn finish(self) -> anyhow::Result<()> {
        let (name, time) = (self.name(), time(self.call, &self.kind));
        match self.output(time) {
            Ok(_) => Ok(()),
            Err(failure) => Err(named(failure.error, &name).into()),
        }
    }

    /// Passes the configuration and waits for ADD to finish, see [`delegate_add`].
    fn add(self) -> anyhow::Result<AddResult> {
        let (call, kind, name) = (self.call, self.kind.clone(), self.name());
        let version = call.version.as_str();
        let error = match self.output(time(call, &kind)) {
            Ok(stdout) => match AddResult::from_plugin_output(version, &stdout) {
                Ok((_, result)) => return Ok(result),
                Err(e) => unreadable_result(&e, &stdout),
            },
            Err(failure) if !failure.was_killed => return Err(named(failure.error, &name).into()),
            Err(failure) => failure.error,
        };
        let error = named(error, &name);
        let undone = start(call, &kind, Command::Del).and_then(|del| {
            del.output(UNDO_TIME.min(time(call, &kind)))
                .map_err(|Failure { error, .. }| error.into())
        });
        Err(match undone {
            Ok(_) => error.into(),
            Err(undo) => {
                let text = format!("undoing it failed too: {undo:#}");
                with_more_details(error, &text).into()
            }
        })
    }

    /// Passes the configuration and returns the output of at most `time`.
    fn output(self, time: Duration) -> Result<Vec<u8>, Failure> {
        let call = self.call;
        match self.started {
            Started::Process(running) => exec::finish(running, &call.stdin, time),
            Started::InProcess(plugin, env) => {
                in_process::run(call.bundle, plugin, &env, &call.stdin, time)
            }
        }
    }

    /// Returns the name of the delegate for error texts.
    fn name(&self) -> String {
        format!("{} ({})", self.kind, self.path.display())
    }
}

/// Starts the plugin `delegate` for `verb`.
///
/// # Errors
/// When the plugin is not found or cannot be executed.
fn start<'a>(call: &'a Call, delegate: &str, verb: Command) -> anyhow::Result<Delegate<'a>> {
    let path = find(call, delegate)?;
    let env = Env::of_delegate(call, verb);
    let started = match call.bundle.by_path(&path, delegate) {
        Some(plugin) => Started::InProcess(plugin, env),
        None => Started::Process(exec::start(&path, &env.variables())?),
    };
    Ok(Delegate {
        call,
        kind: delegate.to_owned(),
        path,
        started,
    })
}

fn time(call: &Call, kind: &str) -> Duration {
    time_limit(kind, call.ipam_type().as_deref())
}

/// Returns the time in which a verb of the plugin `kind` must finish: 90 s, `dhcp` 218 s. A
/// plugin that delegates to the IPAM plugin `ipam` waits for that one, and has 20 s more to
/// undo its changes if that is killed.
#[must_use]
pub fn time_limit(kind: &str, ipam: Option<&str>) -> Duration {
    let alone = |kind: &str| match kind {
        "dhcp" => DHCP_TIME,
        _ => test_time().unwrap_or(TIME),
    };
    match ipam {
        Some(ipam) if ipam != kind => alone(ipam) + 2 * UNDO_TIME,
        _ => alone(kind),
    }
}

/// Returns the timeout that a test set, in debug builds only.
fn test_time() -> Option<Duration> {
    if !cfg!(debug_assertions) {
        return None;
    }
    let millis = std::env::var("CNI_TEST_DELEGATE_MILLIS").ok()?;
    millis.parse().ok().map(Duration::from_millis)
}

fn unreadable_result(reason: &ResultError, stdout: &[u8]) -> Error {
    let error = Error::new(Code::INTERNAL, reason.to_string());
    match first_line(stdout) {
        Some(line) => error.with_details(format!("its output begins with {line}")),
        None => error.with_details("it printed no result"),
    }
}

fn named(error: Error, name: &str) -> Error {
    with_more_details(error, &format!("delegate: {name}"))
}

fn with_more_details(error: Error, more: &str) -> Error {
    let details = match error.details.is_empty() {
        true => more.to_owned(),
        false => format!("{}; {more}", error.details),
    };
    error.with_details(details)
}
