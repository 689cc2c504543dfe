//! The commands, and how often they are run.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::change::Change;
use super::plan::{blind, plan};
use super::presence::is_table_in_legacy_use;
use super::rule::Rule;
use super::saved::Saved;
use super::{Family, Table};
use crate::error::{Error, Kind, is_denied};
use crate::process::{self, Output};

/// How long the lock of iptables is waited for, unless said otherwise.
const LOCK_WAIT: Duration = Duration::from_secs(30);

/// What a command may take beyond the waiting for its lock.
const COMMAND_TIME: Duration = Duration::from_secs(30);

/// So often the table is read again after it changed under a change.
const MAX_ATTEMPTS: u32 = 8;

/// Between two looks at our lock.
const PAUSE: Duration = Duration::from_millis(2);

/// Held by us from reading a table to changing it, so that two processes of
/// ours do not both find a rule missing, and both add it. The lock of iptables
/// itself (`/run/xtables.lock`) is taken by each command for itself.
const LOCK: &str = "/run/iptables-transaction.lock";

/// Exit status of iptables for trouble with resources, its lock among them.
const RESOURCE_PROBLEM: i32 = 4;

/// `iptables` or `ip6tables`, as found in `$PATH`.
#[derive(Clone, Debug)]
pub struct Iptables {
    family: Family,
    command: PathBuf,
    save: PathBuf,
    restore: PathBuf,
    lock_wait: Duration,
}

impl Iptables {
    /// Looks the commands up; runs none.
    ///
    /// # Errors
    /// [`Error::is_missing_command`] if one is not installed.
    pub fn find(family: Family) -> Result<Iptables, Error> {
        let name = family.command();
        let command = process::find(name).ok_or_else(|| missing(name))?;
        // Those of the same variant are in the same directory.
        let beside = |suffix: &str| {
            let name = format!("{name}{suffix}");
            let path = command.with_file_name(&name);
            if process::is_executable(&path) {
                return Ok(path);
            }
            process::find(&name).ok_or_else(|| missing(&name))
        };
        let (save, restore) = (beside("-save")?, beside("-restore")?);
        Ok(Iptables {
            family,
            save,
            restore,
            command,
            lock_wait: LOCK_WAIT,
        })
    }

    /// As [`Iptables::find`], with other commands: `command` as it is named,
    /// those for saving and restoring with `-save` and `-restore` behind, in the
    /// same directory. For a variant that is not the default one
    /// (`/usr/sbin/iptables-legacy`).
    ///
    /// # Errors
    /// [`Error::is_missing_command`] if one does not exist.
    pub fn with_command(family: Family, command: &Path) -> Result<Iptables, Error> {
        let beside = |suffix: &str| {
            let mut name = command.as_os_str().to_owned();
            name.push(suffix);
            let path = PathBuf::from(name);
            if process::is_executable(&path) {
                Ok(path)
            } else {
                Err(missing(&path.to_string_lossy()))
            }
        };
        Ok(Iptables {
            family,
            command: beside("")?,
            save: beside("-save")?,
            restore: beside("-restore")?,
            lock_wait: LOCK_WAIT,
        })
    }

    /// With another deadline for the lock of iptables, 30 seconds otherwise. Full
    /// seconds count, 1 at least.
    #[must_use]
    pub fn with_lock_wait(mut self, wait: Duration) -> Iptables {
        self.lock_wait = wait;
        self
    }

    /// Of which family it is.
    #[must_use]
    pub fn family(&self) -> Family {
        self.family
    }

    /// Whether the command works: lists the first rule of a built-in chain, as
    /// the reference implementation does to find out. An exit status of 1 (no
    /// such chain) counts as working.
    ///
    /// # Errors
    /// Why it does not.
    pub fn probe(&self, table: Table, chain: &str) -> Result<(), Error> {
        let arguments = ["-t", table.as_str(), "-S", chain, "1"];
        let output = self.run(&self.command, &arguments, "")?;
        match output.status.code() {
            Some(0 | 1) => Ok(()),
            _ => Err(self.failure(&self.command, &arguments, &output)),
        }
    }

    /// Reads a table.
    ///
    /// # Errors
    /// Those of the command: no permission, no such table in this kernel.
    pub fn read(&self, table: Table) -> Result<Saved, Error> {
        let arguments = ["-t", table.as_str()];
        let output = self.run(&self.save, &arguments, "")?;
        if !output.status.success() {
            return Err(self.failure(&self.save, &arguments, &output));
        }
        Ok(Saved::parse(output.stdout))
    }

    /// Asks iptables itself whether a chain holds a rule. Only for rules with
    /// words of a user: [`Saved::has_rule`] needs no process for each.
    ///
    /// # Errors
    /// Those of the command.
    pub fn holds(&self, table: Table, chain: &str, rule: &Rule) -> Result<bool, Error> {
        let wait = self.wait_argument();
        let words = rule.words();
        let mut arguments = vec!["-t", table.as_str(), "-C", chain];
        arguments.extend(words.iter().map(String::as_str));
        arguments.push(&wait);
        let output = self.run(&self.command, &arguments, "")?;
        match output.status.code() {
            Some(0) => Ok(true),
            // 1: no such rule; the nf_tables variant says 2 for an unknown chain.
            Some(1) => Ok(false),
            _ if says_not_there(&output.stderr) => Ok(false),
            _ => Err(self.failure(&self.command, &arguments, &output)),
        }
    }

    /// Makes the table what a change wishes: all of it, or nothing.
    ///
    /// In the usual case that is one process: if the wishes only concern a chain
    /// of one's own (see [`Change::own_chain`]), what leads to it, and rules that
    /// are shared by all and mostly there, they are written at once, on
    /// condition that it is so. Otherwise the table is read first, and written
    /// only if anything is missing. Where chains are only to be deleted, with the rules
    /// that lead to them, and the rules are nf_tables', it is no process at all.
    ///
    /// # Errors
    /// What cannot be said in iptables, before any command is run; those of the
    /// commands, with what they printed; a timeout if another process holds the
    /// lock of iptables.
    pub fn apply(&self, change: &Change) -> Result<(), Error> {
        if let Some(problem) = change.problem() {
            return Err(Error::invalid(problem, self.family.command()));
        }
        if !is_table_in_legacy_use(self.family, change.table)
            && super::native::apply(self.family, change)?
        {
            return Ok(());
        }
        if let Some(script) = blind(change) {
            match self.restore(&script) {
                Ok(()) => return Ok(()),
                Err(error) if matches!(error.kind(), Kind::Command { .. }) => {
                    log::debug!("the table is not as it mostly is: {error}");
                }
                Err(error) => return Err(error),
            }
        }
        self.transaction(change.table, |_| change.clone())
    }

    /// Reads a table and makes it what the change that `build` returns for it
    /// wishes: all of it, or nothing. If another process changes the table in
    /// between, it is read, and `build` called, again.
    ///
    /// That is one process if nothing is missing, and two otherwise. Where a
    /// change mostly finds something to add to shared chains, it is one less than
    /// [`Iptables::apply`] takes.
    ///
    /// # Errors
    /// As [`Iptables::apply`].
    pub fn transaction(
        &self,
        table: Table,
        mut build: impl FnMut(&Saved) -> Change,
    ) -> Result<(), Error> {
        let _lock = lock(self.lock_wait)?;
        let mut failed: Option<(String, Error)> = None;
        for _ in 0..MAX_ATTEMPTS {
            let saved = self.read(table)?;
            let change = build(&saved);
            if let Some(problem) = change.problem() {
                return Err(Error::invalid(problem, self.family.command()));
            }
            let Some(script) = plan(&change, &saved) else {
                return Ok(());
            };
            // What failed once and would be the same again is no matter of
            // somebody else's changes.
            if let Some((_, error)) = failed.take_if(|(before, _)| *before == script) {
                return Err(error);
            }
            match self.restore(&script) {
                Ok(()) => return Ok(()),
                Err(error) if matches!(error.kind(), Kind::Command { .. }) => {
                    failed = Some((script, error));
                }
                Err(error) => return Err(error),
            }
        }
        match failed {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }

    fn restore(&self, script: &str) -> Result<(), Error> {
        #[cfg(feature = "fault-injection")]
        if let Some(error) = rtnl::netlink::injected_fault("iptables-restore") {
            return Err(error.into());
        }
        let wait = self.wait_argument();
        let arguments = ["--noflush", &wait];
        let output = self.run(&self.restore, &arguments, script)?;
        if output.status.success() {
            return Ok(());
        }
        let mut output = output;
        if let Some(line) = failed_line(&output.stderr, script) {
            output.stderr = format!("{} ({line})", output.stderr.trim_end());
        }
        Err(self.failure(&self.restore, &arguments, &output))
    }

    fn wait_argument(&self) -> String {
        format!("--wait={}", self.lock_wait.as_secs().max(1))
    }

    fn run(&self, command: &Path, arguments: &[&str], input: &str) -> Result<Output, Error> {
        let what = command.to_string_lossy();
        let mut process = Command::new(command);
        process.args(arguments);
        process::run(process, input, self.lock_wait + COMMAND_TIME, &what)
    }

    fn failure(&self, command: &Path, arguments: &[&str], output: &Output) -> Error {
        let stderr = output.stderr.as_str();
        let what = command.to_string_lossy();
        if output.status.code() == Some(RESOURCE_PROBLEM) && stderr.contains("xtables lock") {
            return Error::new(
                Kind::Locked {
                    waited: self.lock_wait,
                    lock: "the xtables lock".to_owned(),
                },
                what,
            );
        }
        let hint = if stderr.contains("unrecognized option") || stderr.contains("invalid option") {
            "; iptables 1.6.2 or later is needed"
        } else if is_denied(stderr) {
            "; CAP_NET_ADMIN is needed"
        } else if stderr.contains("able does not exist") {
            "; this kernel lacks the table or its modules are not loaded"
        } else {
            ""
        };
        Error::new(
            Kind::Command {
                arguments: format!("{what} {}", arguments.join(" ")),
                status: output.status_text(),
                stderr: stderr.to_owned(),
                hint,
            },
            self.family.command(),
        )
    }
}

fn missing(command: &str) -> Error {
    Error::new(
        Kind::MissingCommand {
            command: command.to_owned(),
        },
        command,
    )
}

/// How the versions and variants of iptables say that there is no such rule or
/// chain.
fn says_not_there(stderr: &str) -> bool {
    [
        "does a matching rule exist in that chain?",
        "No chain/target/match by that name",
        "No such file or directory",
        "does not exist",
    ]
    .iter()
    .any(|words| stderr.contains(words))
}

/// The line that `line 3 failed` speaks of.
fn failed_line<'a>(stderr: &str, script: &'a str) -> Option<&'a str> {
    let (_, rest) = stderr.split_once("line")?;
    let digits: String = rest
        .trim_start_matches([' ', ':'])
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    let number: usize = digits.parse().ok()?;
    script.lines().nth(number.checked_sub(1)?)
}

/// Takes the lock of [`LOCK`]; `None` where there can be none, as in a file
/// system that is read-only.
fn lock(wait: Duration) -> Result<Option<File>, Error> {
    let opened = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(LOCK);
    let file = match opened {
        Ok(file) => file,
        Err(error) => {
            log::warn!("cannot open {LOCK}, going on without: {error}");
            return Ok(None);
        }
    };
    let deadline = Instant::now() + wait;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(std::fs::TryLockError::Error(error)) => {
                return Err(Error::io("lock", error, LOCK));
            }
            Err(std::fs::TryLockError::WouldBlock) if Instant::now() < deadline => sleep(PAUSE),
            Err(std::fs::TryLockError::WouldBlock) => {
                return Err(Error::new(
                    Kind::Locked {
                        waited: wait,
                        lock: LOCK.to_owned(),
                    },
                    "change iptables",
                ));
            }
        }
    }
}
