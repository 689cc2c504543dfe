//! Checks all rules of all plugins, several at a time.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use child_process::{End, Running};

use crate::rule::{Rule, Severity};
use crate::subject::Subject;
use crate::worker::{Job, Outcome};

/// The option by which this program starts itself as a worker.
pub(crate) const WORKER: &str = "--worker";

/// How long a worker may take to end after its time is up.
const GRACE: Duration = Duration::from_secs(20);

/// A rule, and what became of it.
pub(crate) struct Verdict {
    pub(crate) rule: &'static Rule,
    pub(crate) outcome: Outcome,
    pub(crate) time: Duration,
}

/// A plugin with the verdicts on it.
pub(crate) struct Report {
    pub(crate) subject: Subject,
    pub(crate) verdicts: Vec<Verdict>,
}

/// How to check.
pub(crate) struct Settings<'a> {
    /// The directory of the plugins.
    pub(crate) dir: &'a Path,
    /// The least severity of a failure at which to stop.
    pub(crate) stop_at: Option<Severity>,
    /// Rules at a time.
    pub(crate) jobs: usize,
    /// Seconds for a rule.
    pub(crate) seconds: u64,
}

/// Checks `rules` for each of `subjects`.
pub(crate) fn check_all(
    subjects: Vec<Subject>,
    rules: &[&'static Rule],
    settings: &Settings<'_>,
) -> Vec<Report> {
    let tasks: Vec<(usize, &'static Rule)> = (0..subjects.len())
        .flat_map(|subject| rules.iter().map(move |rule| (subject, *rule)))
        .collect();
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Verdict)>> = Mutex::new(Vec::with_capacity(tasks.len()));
    let work = || {
        while let Some((subject, rule)) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
            let started = Instant::now();
            let verdict = Verdict {
                rule,
                outcome: check(&subjects[*subject], rule, settings),
                time: started.elapsed(),
            };
            let is_last = settings.stop_at.is_some_and(|least| rule.severity <= least)
                && matches!(verdict.outcome, Outcome::Failed(_));
            if is_last {
                next.store(tasks.len(), Ordering::Relaxed);
            }
            if let Ok(mut done) = done.lock() {
                done.push((*subject, verdict));
                progress(done.len(), tasks.len());
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..settings.jobs.max(1) {
            scope.spawn(work);
        }
    });
    let mut reports: Vec<Report> = subjects
        .into_iter()
        .map(|subject| Report {
            subject,
            verdicts: Vec::new(),
        })
        .collect();
    for (subject, verdict) in done.into_inner().unwrap_or_default() {
        reports[subject].verdicts.push(verdict);
    }
    let place = |rule: &Rule| rules.iter().position(|other| other.id == rule.id);
    for report in &mut reports {
        report.verdicts.sort_by_key(|verdict| place(verdict.rule));
    }
    reports
}

/// Shows on a terminal how far the work is.
fn progress(done: usize, all: usize) {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        let end = if done == all { "\r\x1b[K" } else { "" };
        // Nothing can be done if the terminal is gone.
        let _ = write!(stderr, "\r{done} of {all}{end}");
    }
}

fn check(subject: &Subject, rule: &Rule, settings: &Settings<'_>) -> Outcome {
    if let Some(reason) = rule.obstacle(subject) {
        return Outcome::NotApplicable(reason);
    }
    let job = Job {
        rule: rule.id.to_owned(),
        subject: subject.clone(),
        dir: settings.dir.to_path_buf(),
        seconds: settings.seconds,
    };
    work(&job).unwrap_or_else(|err| Outcome::NotRun(format!("no worker: {err}")))
}

/// Has a worker do the job.
fn work(job: &Job) -> anyhow::Result<Outcome> {
    let mut command = Command::new("/proc/self/exe");
    command.arg(WORKER);
    let time = Duration::from_secs(job.seconds) + GRACE;
    let input = serde_json::to_vec(job)?;
    let output = Running::spawn(command)?.finish(&input, time)?;
    let line = output.stdout.split(|byte| *byte == b'\n').next();
    if let Ok(outcome) = serde_json::from_slice(line.unwrap_or_default()) {
        return Ok(outcome);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let end = match output.end {
        End::Exited(status) => status.to_string(),
        End::TimedOut => format!("killed after {time:?}"),
        End::TooMuchOutput(_) => "killed for too much output".into(),
    };
    Ok(Outcome::NotRun(format!(
        "the worker ended without an outcome: {end}\n{stderr}"
    )))
}
