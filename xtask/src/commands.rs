//! Calls of other programs.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};

/// The command line as a user would type it.
pub(crate) fn shown(command: &Command) -> String {
    let is_cargo = std::env::var_os("CARGO").is_some_and(|cargo| cargo == command.get_program());
    let program = if is_cargo {
        OsStr::new("cargo")
    } else {
        command.get_program()
    };
    let words = std::iter::once(program).chain(command.get_args());
    let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
    words.join(" ")
}

/// Runs a program, which must succeed, with the standard output and error of this process.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot run {}", shown(command)))?;
    if !status.success() {
        bail!("{}: {status}", shown(command));
    }
    Ok(())
}

/// Runs a program, which must succeed. Returns its standard output, trimmed.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", shown(command)))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{}: {}\n{}", shown(command), output.status, stderr.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The output that [`watch`] reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Stdout,
    /// Standard output and error, in the order of the writes.
    Both,
}

/// Runs a program and passes each line of its output to `line`.
pub(crate) fn watch(
    command: &mut Command,
    output: Output,
    mut line: impl FnMut(&str),
) -> Result<ExitStatus> {
    let context = || "cannot run a program with a pipe";
    let (reader, writer) = std::io::pipe().with_context(context)?;
    if output == Output::Both {
        command.stderr(writer.try_clone().with_context(context)?);
    }
    let child = command.stdout(writer).spawn();
    // The command holds the write ends; the pipe ends when they are closed.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = child.with_context(|| format!("cannot run {}", shown(command)))?;
    for bytes in BufReader::new(reader).split(b'\n') {
        line(&String::from_utf8_lossy(&bytes?));
    }
    Ok(child.wait()?)
}

/// Finds a program in `PATH` or in the `sbin` directories.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|candidate| candidate.is_file())
}

/// Returns a command of the cargo that runs this program, in the root of the project.
pub(crate) fn cargo(
    root: &Path,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).args(arguments);
    // "cargo run" sets these for xtask. They must not reach build scripts and tests of other packages.
    for (key, _) in std::env::vars_os() {
        let key = key.to_string_lossy().into_owned();
        if key.starts_with("CARGO_PKG_") || key.starts_with("CARGO_MANIFEST_") {
            command.env_remove(key);
        }
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_outputs_are_read_in_order() {
        let mut lines = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two >&2; echo three; exit 3"]);
        let status = watch(&mut command, Output::Both, |line| {
            lines.push(line.to_owned())
        });
        assert_eq!(status.expect("sh runs").code(), Some(3));
        assert_eq!(lines, ["one", "two", "three"]);
    }

    #[test]
    fn failures_name_the_command() {
        let error = run(Command::new("false").arg("x")).expect_err("false fails");
        assert!(error.to_string().contains("false x"), "{error}");
        let error = read(&mut Command::new("/no/such")).expect_err("there is no such program");
        assert!(error.to_string().contains("/no/such"), "{error}");
        assert!(which("sh").is_some());
    }
}
