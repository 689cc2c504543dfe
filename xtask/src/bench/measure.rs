//! One process, measured.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::Outcome;

/// A call of a program, repeatable: standard input and output are files.
pub(crate) struct Call {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) env: Vec<(&'static str, String)>,
    pub(crate) stdin: PathBuf,
    pub(crate) stdout: PathBuf,
}

impl Call {
    /// A program with arguments and no input.
    pub(crate) fn plain(program: &Path, arguments: &[String], scratch: &Path) -> Call {
        Call {
            program: program.to_path_buf(),
            arguments: arguments.to_vec(),
            env: Vec::new(),
            stdin: PathBuf::from("/dev/null"),
            stdout: scratch.join("stdout"),
        }
    }

    /// std starts this by posix_spawn: nothing in it asks for more.
    fn command(&self, program: &Path, arguments: &[String]) -> Outcome<Command> {
        let open = |path: &Path, file: std::io::Result<File>| {
            file.map_err(|err| format!("{}: {err}", path.display()))
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .envs(self.env.iter().map(|(key, value)| (key, value)))
            .stdin(open(&self.stdin, File::open(&self.stdin))?)
            .stdout(open(&self.stdout, File::create(&self.stdout))?)
            .stderr(Stdio::null());
        Ok(command)
    }

    /// From start to exit, in milliseconds.
    pub(crate) fn time(&self) -> Outcome<f64> {
        let mut command = self.command(&self.program, &self.arguments)?;
        let started = Instant::now();
        let status = command.status();
        let elapsed = started.elapsed();
        match status {
            Ok(status) if status.success() => Ok(elapsed.as_secs_f64() * 1000.0),
            Ok(status) => Err(format!(
                "{}: {status}: {}",
                self.shown(),
                self.output().trim()
            )),
            Err(err) => Err(format!("{}: {err}", self.shown())),
        }
    }

    /// What the last run wrote.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(&self.stdout).unwrap_or_default()
    }

    fn shown(&self) -> String {
        let env: Vec<String> = self
            .env
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        format!(
            "{} {} {}",
            env.join(" "),
            self.program.display(),
            self.arguments.join(" ")
        )
    }

    /// The largest resident set of any process of the call, in KiB. `floor` starts it: see there.
    pub(crate) fn peak_memory(&self, floor: &Path) -> Outcome<u64> {
        let note = self.stdout.with_extension("rss");
        let arguments = [
            "rss".into(),
            note.display().to_string(),
            self.program.display().to_string(),
        ];
        let status = self
            .command(floor, &arguments)?
            .status()
            .map_err(|err| format!("{}: {err}", floor.display()))?;
        if !status.success() {
            return Err(format!(
                "{}: {status}: {}",
                self.shown(),
                self.output().trim()
            ));
        }
        let text = fs::read_to_string(&note).map_err(|err| format!("{}: {err}", note.display()))?;
        text.trim()
            .parse()
            .map_err(|err| format!("{}: {err}", note.display()))
    }

    /// How many programs the call executes, itself included.
    pub(crate) fn processes(&self) -> Outcome<usize> {
        let note = self.stdout.with_extension("strace");
        let mut arguments: Vec<String> = ["-f", "-qq", "-e", "trace=execve,execveat", "-o"]
            .map(String::from)
            .to_vec();
        arguments.extend([
            note.display().to_string(),
            self.program.display().to_string(),
        ]);
        let strace = crate::commands::which("strace").ok_or("strace is missing")?;
        let status = self
            .command(&strace, &arguments)?
            .status()
            .map_err(|err| format!("{}: {err}", strace.display()))?;
        if !status.success() {
            return Err(format!(
                "{}: {status}: {}",
                self.shown(),
                self.output().trim()
            ));
        }
        let trace =
            fs::read_to_string(&note).map_err(|err| format!("{}: {err}", note.display()))?;
        Ok(executed(&trace))
    }
}

/// The successful executions in a trace, also those whose line was cut in two by another process.
fn executed(trace: &str) -> usize {
    trace
        .lines()
        .filter(|line| line.contains("exec") && line.trim_end().ends_with("= 0"))
        .count()
}

/// The middle value.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn only_successful_executions_count() {
        let trace = "10 execve(\"/bin/bridge\", [\"bridge\"], 0x1 /* 5 vars */) = 0\n\
                     11 execve(\"/a/iptables\", [\"iptables\"], 0x1 /* 5 vars */) = -1 ENOENT (No such file)\n\
                     11 execve(\"/b/iptables\", [\"iptables\"], 0x1 <unfinished ...>\n\
                     11 <... execve resumed>) = 0\n";
        assert_eq!(executed(trace), 2);
    }
}
