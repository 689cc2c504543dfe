//! Executes one plugin.

use super::failure::{self, first_line};
use crate::{Code, Error, errno};
use child_process::{End, OUTPUT_LIMIT, Output, Running, Stream};
use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Attempts to execute a file that is busy (`ETXTBSY`: the plugin is being installed), one
/// second apart.
const BUSY_ATTEMPTS: u32 = 6;

/// The failure of a plugin that was executed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    /// It was killed before it reported a failure, so what it has done is unknown.
    pub(super) was_killed: bool,
}

/// Runs one verb of the plugin at `path` for a runtime, and returns its output after at
/// most `time`. Its standard error is copied to this process's.
///
/// `env` changes this process's environment, which the plugin inherits; `None` removes a
/// variable. Unlike a delegate, the plugin goes on if this process is killed, as a runtime's
/// plugins always did.
///
/// # Errors
/// The plugin's error object; an error in upstream's words if it cannot be executed, ends
/// without one, writes more than 8 MiB to one of its outputs, or does not finish in time. In
/// the last two cases it is killed with its process group.
pub fn run(
    path: &Path,
    env: &[(&str, Option<&OsStr>)],
    stdin: &[u8],
    time: Duration,
) -> Result<Vec<u8>, Error> {
    let running = spawn(path, env, Running::spawn_independent)?;
    finish(running, stdin, time).map_err(|failure| failure.error)
}

/// Starts a delegate, which then waits for its configuration.
///
/// `env` is added to this process's environment.
///
/// # Errors
/// When it cannot be executed, in upstream's words.
pub(super) fn start(path: &Path, env: &[(&str, &OsStr)]) -> Result<Running, Error> {
    let env: Vec<_> = env
        .iter()
        .map(|(name, value)| (*name, Some(*value)))
        .collect();
    spawn(path, &env, Running::spawn)
}

fn spawn(
    path: &Path,
    env: &[(&str, Option<&OsStr>)],
    spawn: impl Fn(Command) -> io::Result<Running>,
) -> Result<Running, Error> {
    let mut attempt = 1;
    loop {
        let mut command = Command::new(path);
        for (name, value) in env {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        match spawn(command) {
            Ok(running) => return Ok(running),
            Err(e) if e.kind() == io::ErrorKind::ExecutableFileBusy && attempt < BUSY_ATTEMPTS => {
                std::thread::sleep(Duration::from_secs(1));
                attempt += 1;
            }
            Err(e) => {
                return Err(start_error(path, &e));
            }
        }
    }
}

/// Returns the error of a plugin that cannot be executed, in upstream's words.
#[must_use]
pub fn start_error(path: &Path, error: &io::Error) -> Error {
    let exec_error = format!("fork/exec {}: {}", path.display(), errno::of(error));
    failure::decode(b"", b"", &exec_error)
}

/// Passes the configuration to a plugin, waits at most `time` until it ends, and returns
/// its output. Its standard error is copied to this process's.
///
/// # Errors
/// When the exit code is not 0, decoded as by upstream, or when it is killed because it
/// exceeded a limit.
pub(super) fn finish(running: Running, stdin: &[u8], time: Duration) -> Result<Vec<u8>, Failure> {
    let output = running.finish(stdin, time).map_err(|e| Failure {
        error: failed(format!("talking to it: {}", errno::of(&e))),
        was_killed: true,
    })?;
    let status = match output.end {
        End::Exited(status) => status,
        End::TimedOut => {
            let reason = format!("killed because it had not finished after {time:?}");
            return Err(killed(reason, &output));
        }
        End::TooMuchOutput(stream) => {
            let stream = match stream {
                Stream::Stdout => "standard output",
                Stream::Stderr => "standard error",
            };
            let limit = OUTPUT_LIMIT >> 20;
            let reason = format!("killed because it wrote more than {limit} MiB to {stream}");
            return Err(killed(reason, &output));
        }
    };
    // Nothing better can be done when standard error is closed.
    let _ = io::stderr().write_all(&output.stderr);
    if status.success() {
        return Ok(output.stdout);
    }
    let exec_error = failure::exit_text(status);
    Err(Failure {
        error: failure::decode(&output.stdout, &output.stderr, &exec_error),
        was_killed: status.signal().is_some(),
    })
}

fn killed(reason: String, output: &Output) -> Failure {
    let error = failed(reason);
    let said = first_line(&output.stdout).or_else(|| first_line(&output.stderr));
    Failure {
        error: match said {
            Some(line) => error.with_details(format!("its output begins with {line}")),
            None => error.with_details("it wrote nothing"),
        },
        was_killed: true,
    }
}

fn failed(reason: String) -> Error {
    Error::new(Code::UNKNOWN, format!("netplugin failed: {reason}"))
}
