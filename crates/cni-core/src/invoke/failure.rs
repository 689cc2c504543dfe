//! Making sense of a plugin that failed.

use crate::quote::quote;
use crate::{Code, Error, json};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// How a process ended, in the words runtimes know.
pub(super) fn exit_text(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) => {
            let core = if status.core_dumped() {
                " (core dumped)"
            } else {
                ""
            };
            format!("signal: {}{core}", signal_name(signal))
        }
        None => format!("exit status {}", status.code().unwrap_or_default()),
    }
}

fn signal_name(signal: i32) -> String {
    use nix::sys::signal::Signal;
    let name = match Signal::try_from(signal) {
        Ok(Signal::SIGHUP) => "hangup",
        Ok(Signal::SIGINT) => "interrupt",
        Ok(Signal::SIGQUIT) => "quit",
        Ok(Signal::SIGILL) => "illegal instruction",
        Ok(Signal::SIGTRAP) => "trace/breakpoint trap",
        Ok(Signal::SIGABRT) => "aborted",
        Ok(Signal::SIGBUS) => "bus error",
        Ok(Signal::SIGFPE) => "floating point exception",
        Ok(Signal::SIGKILL) => "killed",
        Ok(Signal::SIGUSR1) => "user defined signal 1",
        Ok(Signal::SIGSEGV) => "segmentation fault",
        Ok(Signal::SIGUSR2) => "user defined signal 2",
        Ok(Signal::SIGPIPE) => "broken pipe",
        Ok(Signal::SIGALRM) => "alarm clock",
        Ok(Signal::SIGTERM) => "terminated",
        _ => return format!("signal {signal}"),
    };
    name.into()
}

/// The error of a plugin that did not exit with 0: what it printed if that is an
/// error object, else everything there is to know about its end.
pub(super) fn decode(stdout: &[u8], stderr: &[u8], exec_error: &str) -> Error {
    let synthesised = |msg: String| Error::new(Code::UNKNOWN, msg);
    if stdout.is_empty() {
        return synthesised(match stderr.is_empty() {
            true => format!("netplugin failed with no error message: {exec_error}"),
            false => format!("netplugin failed: {}: {exec_error}", quote(stderr)),
        });
    }
    match decode_object(stdout) {
        // "{}" says nothing: better than an empty message.
        Ok(error) if error.code == Code::UNKNOWN && error.msg.is_empty() => synthesised(format!(
            "netplugin failed with no error message: {exec_error}"
        )),
        Ok(error) => error,
        Err(detail) => synthesised(format!(
            "netplugin failed but error parsing its diagnostic message {}: {detail}",
            quote(stdout)
        )),
    }
}

fn decode_object(stdout: &[u8]) -> Result<Error, json::Error> {
    #[derive(serde::Deserialize)]
    struct Object {
        #[serde(default)]
        code: u32,
        #[serde(default)]
        msg: String,
        #[serde(default)]
        details: String,
    }
    let mut document = json::parse(stdout)?;
    if document.is_null() {
        // "null" is an object without keys, as upstream has it.
        document = serde_json::Map::new().into();
    }
    let Object { code, msg, details } = json::decode(&document)?;
    Ok(Error {
        code: Code(code),
        msg,
        details,
    })
}
