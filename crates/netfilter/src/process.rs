//! Runs the commands of iptables and nftables.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use child_process::{End, OUTPUT_LIMIT, Running};

use crate::error::{Error, Kind};

/// What a command left behind.
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    /// Returns the status as Go prints it: `exit status 1`, `signal: 9`.
    pub(crate) fn status_text(&self) -> String {
        match self.status.code() {
            Some(code) => format!("exit status {code}"),
            None => self.status.to_string(),
        }
    }
}

/// Returns the first executable file of this name in `$PATH`. Relative directories are
/// skipped.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(name))
        .find(|file| is_executable(file))
}

pub(crate) fn is_executable(file: &Path) -> bool {
    file.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Runs a command with `input` on its standard input and returns what it printed. Kills
/// it after `time`. `what` names it in errors.
///
/// The command runs in the C locale, because some errors are recognised by their text.
pub(crate) fn run(
    mut command: Command,
    input: &str,
    time: Duration,
    what: &str,
) -> Result<Output, Error> {
    command.env("LC_ALL", "C");
    let running = Running::spawn(command).map_err(|error| Error::io("exec", error, what))?;
    let output = running
        .finish(input.as_bytes(), time)
        .map_err(|error| Error::io("talk to the command", error, what))?;
    let status = match output.end {
        End::Exited(status) => status,
        End::TimedOut => return Err(Error::new(Kind::Timeout { waited: time }, what)),
        End::TooMuchOutput(_) => {
            let kind = Kind::TooMuchOutput {
                limit: OUTPUT_LIMIT,
            };
            return Err(Error::new(kind, what));
        }
    };
    Ok(Output {
        status,
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    })
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_hangs_or_floods_is_an_error() {
        let shell = |script: &str, time| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            run(command, "", time, "test")
        };
        let error = shell("sleep 60", Duration::from_millis(100)).err().unwrap();
        assert!(error.is_timeout(), "{error}");
        let error = shell("yes", Duration::from_secs(20)).err().unwrap();
        assert_eq!(error.to_string(), "test: more than 8 MiB of output");
        let output = shell("exit 3", Duration::from_secs(20)).unwrap();
        assert_eq!(output.status_text(), "exit status 3");
    }

    #[test]
    fn only_executable_files_are_found() {
        assert!(find("sh").is_some());
        assert_eq!(find("no-such-command"), None);
        assert!(!is_executable(Path::new("/etc/passwd")));
        assert!(!is_executable(Path::new("/etc")));
    }
}
