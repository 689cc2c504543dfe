//! Running other programs.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use crate::Outcome;

/// The command line as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = command.get_program();
    // Cargo's own path says nothing to anybody.
    let program = if std::env::var_os("CARGO").is_some_and(|cargo| cargo == program) {
        OsStr::new("cargo")
    } else {
        program
    };
    let words = std::iter::once(program).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

fn explain(command: &Command, err: &std::io::Error) -> String {
    format!("cannot run {}: {err}", shown(command))
}

/// Runs a program whose output the user sees; it must succeed.
pub(crate) fn run(command: &mut Command) -> Outcome {
    match command.status().map_err(|err| explain(command, &err))? {
        status if status.success() => Ok(()),
        status => Err(format!("{}: {status}", shown(command))),
    }
}

/// Runs a program that must succeed; its standard output, trimmed.
pub(crate) fn read(command: &mut Command) -> Outcome<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|err| explain(command, &err))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(format!("{}: {}\n{why}", shown(command), output.status))
}

/// Runs a program and hands each line that it writes, to either output, to `line` besides showing it.
pub(crate) fn watch(command: &mut Command, mut line: impl FnMut(&str)) -> Outcome<ExitStatus> {
    // One pipe for both, so that the order stays.
    let (reader, writer) = std::io::pipe().map_err(|err| explain(command, &err))?;
    let copy = writer.try_clone().map_err(|err| explain(command, &err))?;
    let mut child = command
        .stdout(writer)
        .stderr(copy)
        .spawn()
        .map_err(|err| explain(command, &err))?;
    // The command holds the write ends; with them open the pipe would never end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut out = std::io::stdout();
    for bytes in BufReader::new(reader).split(b'\n') {
        let bytes = bytes.map_err(|err| explain(command, &err))?;
        // Whoever closed our standard output still wants the tests' result.
        let _ = out.write_all(&bytes).and_then(|()| out.write_all(b"\n"));
        line(&plain(&String::from_utf8_lossy(&bytes)));
    }
    child.wait().map_err(|err| explain(command, &err))
}

/// Text without the escape sequences that colour it.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            // "ESC [ parameters letter" is all that cargo and nextest write.
            chars.by_ref().find(|c| c.is_ascii_alphabetic());
        } else {
            out.push(c);
        }
    }
    out
}

/// Where a program is, looked for in PATH and where administrators' tools are.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|candidate| candidate.is_file())
}

/// The cargo that runs us, in the project's root.
pub(crate) fn cargo(
    root: &Path,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).args(arguments);
    // Set for our own package by "cargo run"; build scripts and tests of others must not see them.
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
    fn colours_are_removed() {
        assert_eq!(plain("\u{1b}[1m\u{1b}[32;1mPASS\u{1b}[0m x"), "PASS x");
    }

    #[test]
    fn watching_sees_both_outputs_in_order() {
        let mut lines = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two >&2; echo three; exit 3"]);
        let status = watch(&mut command, |line| lines.push(line.to_owned())).expect("sh runs");
        assert_eq!(
            (lines.join(" "), status.code()),
            ("one two three".into(), Some(3))
        );
    }

    #[test]
    fn failures_name_the_command() {
        assert!(run(Command::new("false").arg("x")).is_err_and(|e| e.contains("false x")));
        assert!(read(&mut Command::new("/no/such")).is_err_and(|e| e.contains("/no/such")));
        assert!(which("sh").is_some());
    }
}
