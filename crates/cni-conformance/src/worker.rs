//! The process that checks one rule.
//!
//! Each rule has a process of its own: a rule fails by a panic, and release binaries do not unwind. Its host, which is
//! made of namespaces, ends with the process.

use std::fs;
use std::io::{self, Read, Write};
use std::panic::{self, PanicHookInfo};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, exit};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::rig::Rig;
use crate::rules;
use crate::subject::Subject;

/// What a worker has to do, on its standard input.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Job {
    /// The ID of the rule.
    pub(crate) rule: String,
    pub(crate) subject: Subject,
    /// The directory of the plugins.
    pub(crate) dir: PathBuf,
    /// The time for the rule, in seconds.
    pub(crate) seconds: u64,
}

/// What became of a rule, on a worker's standard output.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "outcome", content = "text", rename_all = "kebab-case")]
pub(crate) enum Outcome {
    Passed,
    /// What was seen instead.
    Failed(String),
    /// The reason.
    NotApplicable(String),
    /// It could not be checked, for a reason that has nothing to do with the plugin.
    NotRun(String),
}

/// Whether something is being prepared. Then failures are not the plugin's.
static IS_PREPARING: AtomicBool = AtomicBool::new(true);

/// The name of the mount namespace outside of the host.
static OUTSIDE: OnceLock<PathBuf> = OnceLock::new();

/// Checks the rule of the [`Job`] on standard input, and prints the [`Outcome`].
pub(crate) fn run() -> Result<ExitCode> {
    let _ = OUTSIDE.set(mount_namespace(Path::new("/proc/self"))?);
    end_with_runner()?;
    let mut text = Vec::new();
    io::stdin().read_to_end(&mut text)?;
    let job: Job = serde_json::from_slice(&text).context("not a job")?;
    let rule = rules::find(&job.rule).with_context(|| format!("no rule {}", job.rule))?;
    panic::set_hook(Box::new(on_panic));
    thread::spawn(move || watch(job.seconds));
    let rig = prepare(|| Rig::new(job.subject, job.dir));
    (rule.check)(&rig);
    end(&Outcome::Passed)
}

/// Ends what runs on the host and this process when it is told to end, or when the runner has ended.
fn end_with_runner() -> Result<()> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM] {
        signals.add(signal);
    }
    // For all threads, which inherit it; the programs that they execute do not.
    signals.thread_block()?;
    // The runner has requested SIGKILL, which would leave daemons behind.
    set_pdeathsig(Signal::SIGTERM)?;
    thread::spawn(move || {
        if signals.wait().is_ok() {
            clear();
            exit(1);
        }
    });
    Ok(())
}

/// Runs `f`, whose failure means that the rule cannot be checked.
pub(crate) fn prepare<T>(f: impl FnOnce() -> T) -> T {
    IS_PREPARING.store(true, Ordering::Relaxed);
    let value = f();
    IS_PREPARING.store(false, Ordering::Relaxed);
    value
}

/// Ends the rule: it does not apply to the plugin.
pub(crate) fn not_applicable(reason: impl Into<String>) -> ! {
    end(&Outcome::NotApplicable(reason.into()))
}

fn on_panic(info: &PanicHookInfo<'_>) {
    let payload = info.payload();
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    let text = text.unwrap_or("a panic without text");
    let place = info.location().map(|place| format!("\n({place})"));
    end(&broken(format!("{text}{}", place.unwrap_or_default())))
}

/// Ends the rule when its time is up.
fn watch(seconds: u64) {
    thread::sleep(Duration::from_secs(seconds));
    end(&broken(format!(
        "the rule was not decided within {seconds} s: the plugin, or something that waits for it, hangs"
    )));
}

/// The outcome when something went wrong: while something is prepared, not the plugin.
fn broken(text: String) -> Outcome {
    match IS_PREPARING.load(Ordering::Relaxed) {
        true => Outcome::NotRun(text),
        false => Outcome::Failed(text),
    }
}

/// Prints the outcome, ends what runs on the host, and ends the process.
fn end(outcome: &Outcome) -> ! {
    // Another thread may come here as well; its outcome is lost.
    static IS_ENDING: AtomicBool = AtomicBool::new(false);
    if IS_ENDING.swap(true, Ordering::SeqCst) {
        loop {
            thread::park();
        }
    }
    // The runner reports a missing outcome.
    if let Ok(text) = serde_json::to_string(outcome) {
        let _ = writeln!(io::stdout(), "{text}");
    }
    clear();
    exit(0)
}

/// Kills what else runs on the host: daemons, and plugins that a rule has left running.
fn clear() {
    // That of the main thread, which makes the host.
    let Ok(host) = mount_namespace(Path::new("/proc/self")) else {
        return;
    };
    if OUTSIDE.get().is_none_or(|outside| *outside == host) {
        return;
    }
    let this = std::process::id().cast_signed();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid: Option<i32> = name.to_str().and_then(|name| name.parse().ok());
        if let Some(pid) = pid
            && pid != this
            && mount_namespace(&entry.path()).is_ok_and(|name| name == host)
        {
            // It may have ended meanwhile.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

fn mount_namespace(process: &Path) -> io::Result<PathBuf> {
    fs::read_link(process.join("ns/mnt"))
}
