//! Decodes the error of a failed plugin.

use crate::quote::quote;
use crate::{Code, Error, json};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// Most bytes of a plugin's output in an error text.
const SHOWN: usize = 1024;

/// Returns a description of how a process ended, in upstream's words.
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

/// Returns the error of a plugin whose exit code was not 0: the error object that it
/// printed, or an error in upstream's words made of its output and `exec_error`.
pub(super) fn decode(stdout: &[u8], stderr: &[u8], exec_error: &str) -> Error {
    let synthesised = |msg: String| Error::new(Code::UNKNOWN, msg);
    if stdout.is_empty() {
        return synthesised(match stderr.is_empty() {
            true => format!("netplugin failed with no error message: {exec_error}"),
            false => format!("netplugin failed: {}: {exec_error}", shown(stderr)),
        });
    }
    match decode_object(stdout) {
        // "{}" would be an error with an empty message.
        Ok(error) if error.code == Code::UNKNOWN && error.msg.is_empty() => synthesised(format!(
            "netplugin failed with no error message: {exec_error}"
        )),
        Ok(error) => error,
        Err(detail) => synthesised(format!(
            "netplugin failed but error parsing its diagnostic message {}: {detail}",
            shown(stdout)
        )),
    }
}

/// Returns the beginning of an output, quoted, with the total length if it is cut.
fn shown(output: &[u8]) -> String {
    match output.get(..SHOWN) {
        Some(start) if output.len() > SHOWN => {
            format!("{}... ({} bytes)", quote(start), output.len())
        }
        _ => quote(output),
    }
}

/// Returns the first non-blank line of an output, quoted.
pub(super) fn first_line(output: &[u8]) -> Option<String> {
    let mut lines = output.split(|byte| *byte == b'\n');
    let line = lines.find(|line| !line.trim_ascii().is_empty())?;
    Some(shown(line))
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
        // As in upstream, "null" is an object without keys.
        document = serde_json::Map::new().into();
    }
    let Object { code, msg, details } = json::decode(&document)?;
    Ok(Error {
        code: Code(code),
        msg,
        details,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_the_names_that_go_prints() {
        let names = [
            "hangup",
            "interrupt",
            "quit",
            "illegal instruction",
            "trace/breakpoint trap",
            "aborted",
            "bus error",
            "floating point exception",
            "killed",
            "user defined signal 1",
            "segmentation fault",
            "user defined signal 2",
            "broken pipe",
            "alarm clock",
            "terminated",
            "signal 16",
            "signal 17",
        ];
        for (signal, name) in (1..).zip(names) {
            assert_eq!(signal_name(signal), name);
        }
        assert_eq!(signal_name(64), "signal 64");
    }
}
