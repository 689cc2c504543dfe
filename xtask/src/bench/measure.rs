//! Measurement of one process: time, memory, and number of programs.

use std::fs::{self, File};
use std::iter::Sum;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::commands;

/// A repeatable call of a program. Standard input and output are files.
pub(crate) struct Call {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) env: Vec<(&'static str, String)>,
    pub(crate) stdin: PathBuf,
    pub(crate) stdout: PathBuf,
}

impl Call {
    /// A program with arguments and no input.
    pub(crate) fn plain(program: &Path, arguments: Vec<String>, scratch: &Path) -> Call {
        Call {
            program: program.to_path_buf(),
            arguments,
            env: Vec::new(),
            stdin: PathBuf::from("/dev/null"),
            stdout: scratch.join("stdout"),
        }
    }

    /// Runs `program` instead of the call's own. Returns the milliseconds from start to exit.
    fn run(&self, program: &Path, arguments: &[String]) -> Result<f64> {
        let stdin = File::open(&self.stdin).with_context(|| self.stdin.display().to_string())?;
        let stdout =
            File::create(&self.stdout).with_context(|| self.stdout.display().to_string())?;
        // std starts this with posix_spawn, because no option requires fork.
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .envs(self.env.iter().map(|(key, value)| (key, value)))
            .stdin(stdin)
            .stdout(stdout)
            .stderr(Stdio::null());
        let started = Instant::now();
        let status = command.status();
        let elapsed = started.elapsed();
        let status = status.with_context(|| format!("{} {:?}", program.display(), self.env))?;
        if !status.success() {
            let output = self.output();
            bail!(
                "{:?} {} {arguments:?}: {status}: {}",
                self.env,
                program.display(),
                output.trim()
            );
        }
        Ok(elapsed.as_secs_f64() * 1000.0)
    }

    /// Runs the call. Returns the milliseconds from start to exit.
    pub(crate) fn time(&self) -> Result<f64> {
        self.run(&self.program, &self.arguments)
    }

    /// The output of the last run.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(&self.stdout).unwrap_or_default()
    }

    /// Runs the call under another program that writes its findings to a file. Returns the content of the file.
    fn run_under(&self, program: &Path, arguments: &[&str], suffix: &str) -> Result<String> {
        let file = self.stdout.with_extension(suffix);
        let mut all: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        all.extend([
            file.display().to_string(),
            self.program.display().to_string(),
        ]);
        all.extend_from_slice(&self.arguments);
        self.run(program, &all)?;
        fs::read_to_string(&file).with_context(|| file.display().to_string())
    }

    /// The largest resident set of any process of the call, in KiB, measured by `floor`.
    pub(crate) fn peak_memory(&self, floor: &Path) -> Result<u64> {
        let text = self.run_under(floor, &["rss"], "rss")?;
        text.trim().parse().context("the memory that floor prints")
    }

    /// Counts what the call and all its children do, also those that outlive it.
    pub(crate) fn counts(&self) -> Result<Counts> {
        let strace = commands::which("strace").context("strace is missing")?;
        let arguments = ["-f", "-c", "-U", "name,calls,errors", "-qq", "-o"];
        let summary = self.run_under(&strace, &arguments, "strace")?;
        Counts::parse(&summary).with_context(|| format!("the summary of strace:\n{summary}"))
    }
}

/// What a call does, apart from taking time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) system_calls: usize,
    /// Programs executed, including the call's own.
    pub(crate) processes: usize,
}

impl Counts {
    /// Parses `strace -c -U name,calls,errors`: a line per system call with its name, how often it was made, and how
    /// often it failed (nothing if never).
    fn parse(summary: &str) -> Option<Counts> {
        let mut counts = Counts::default();
        for line in summary.lines() {
            let mut words = line.split_whitespace();
            let (Some(name), Some(Ok(calls))) =
                (words.next(), words.next().map(str::parse::<usize>))
            else {
                continue;
            };
            let errors = words.next().map_or(Some(0), |errors| errors.parse().ok())?;
            match name {
                "total" => counts.system_calls = calls,
                "execve" | "execveat" => counts.processes += calls.checked_sub(errors)?,
                _ => {}
            }
        }
        (counts.system_calls > 0 && counts.processes > 0).then_some(counts)
    }
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Counts>>(counts: I) -> Counts {
        counts.fold(Counts::default(), |sum, counts| Counts {
            system_calls: sum.system_calls + counts.system_calls,
            processes: sum.processes + counts.processes,
        })
    }
}

/// The median.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// The value that `percent` of the values do not exceed (nearest rank).
pub(crate) fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
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
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!(percentile(&values, 50.0), 100.0);
        assert_eq!(percentile(&values, 99.0), 198.0);
        assert_eq!(percentile(&values, 100.0), 200.0);
        assert_eq!(percentile(&[7.0], 99.0), 7.0);
        assert_eq!(percentile(&[7.0], 0.0), 7.0);
        assert!(percentile(&[], 50.0).is_nan());
    }

    #[test]
    fn only_successful_executions_count() {
        let summary = "syscall               calls    errors\n\
                       ---------------- --------- ---------\n\
                       read                     5         \n\
                       execve                   4         1\n\
                       execveat                 1          \n\
                       ---------------- --------- ---------\n\
                       total                   10         1\n";
        let wanted = Counts {
            system_calls: 10,
            processes: 4,
        };
        assert_eq!(Counts::parse(summary), Some(wanted));
        assert_eq!(Counts::parse(""), None);
        assert_eq!([wanted, wanted].into_iter().sum::<Counts>().processes, 8);
    }
}
