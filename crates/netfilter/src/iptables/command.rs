//! The commands of iptables.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use cni_state::Lock;

use super::change::Change;
use super::plan::{blind, plan};
use super::rule::Rule;
use super::saved::Saved;
use super::{Family, Table, Variant, may_use_netlink, usual};
use crate::error::{Error, Kind, is_denied};
use crate::process::{self, Output};

/// How long the commands wait for the lock of iptables (`/run/xtables.lock`).
const LOCK_WAIT: Duration = Duration::from_secs(30);

/// How long a command may run, apart from waiting for the lock.
const COMMAND_TIME: Duration = Duration::from_secs(30);

/// Attempts of a transaction while other processes change the table.
const MAX_ATTEMPTS: u32 = 8;

/// Our lock, held from reading a table to changing it, so that two plugins do not both
/// add a missing rule. Each command takes the lock of iptables by itself.
const LOCK: &str = "iptables";

/// Exit status of iptables if a resource is not available, for example its lock.
const RESOURCE_PROBLEM: i32 = 4;

/// `iptables` or `ip6tables`, with their commands for saving and restoring.
#[derive(Clone, Debug)]
pub struct Iptables {
    family: Family,
    command: PathBuf,
    save: PathBuf,
    restore: PathBuf,
    lock_wait: Duration,
}

/// Finding the commands.
impl Iptables {
    /// Returns the commands that are first in `$PATH`. Runs none.
    ///
    /// # Errors
    /// [`Error::is_missing_command`] if one is not installed.
    pub fn find(family: Family) -> Result<Iptables, Error> {
        let name = family.command();
        let command = process::find(name).ok_or_else(|| missing(name))?;
        // All commands in one directory are of the same variant.
        let companion = |suffix: &str| {
            let name = format!("{name}{suffix}");
            let path = command.with_file_name(&name);
            if process::is_executable(&path) {
                return Ok(path);
            }
            process::find(&name).ok_or_else(|| missing(&name))
        };
        Ok(Iptables {
            family,
            save: companion("-save")?,
            restore: companion("-restore")?,
            command,
            lock_wait: LOCK_WAIT,
        })
    }

    /// Returns the commands `command`, `command-save` and `command-restore`, for a variant
    /// that is not the default (`/usr/sbin/iptables-legacy`).
    ///
    /// # Errors
    /// [`Error::is_missing_command`] if one does not exist.
    pub fn with_command(family: Family, command: &Path) -> Result<Iptables, Error> {
        let with_suffix = |suffix: &str| {
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
            command: with_suffix("")?,
            save: with_suffix("-save")?,
            restore: with_suffix("-restore")?,
            lock_wait: LOCK_WAIT,
        })
    }

    /// Returns the commands of a variant: the default ones, or those with the variant's
    /// name (`iptables-legacy`, `iptables-nft`).
    pub(super) fn find_variant(family: Family, variant: Variant) -> Result<Iptables, Error> {
        let name = format!("{}-{}", family.command(), variant.suffix());
        let mut sibling = None;
        if let Ok(default) = Iptables::find(family) {
            if default.variant() == Some(variant) {
                return Ok(default);
            }
            let program = default.command.canonicalize();
            sibling = program.ok().map(|program| program.with_file_name(&name));
        }
        let command = process::find(&name)
            .or(sibling)
            .ok_or_else(|| missing(&name))?;
        Iptables::with_command(family, &command)
    }

    /// Returns the variant by the name of the program behind all links, or else by its
    /// version; `None` if the command does not work.
    fn variant(&self) -> Option<Variant> {
        if let Some(variant) = self.named_variant() {
            return Some(variant);
        }
        let output = self.run(&self.command, &["--version"], "").ok()?;
        let is_nft = output.stdout.contains("nf_tables");
        let variant = if is_nft {
            Variant::NfTables
        } else {
            Variant::Legacy
        };
        output.status.success().then_some(variant)
    }

    /// Returns the variant by the name of the program behind all links, `None` if it does not
    /// tell.
    fn named_variant(&self) -> Option<Variant> {
        let program = self.command.canonicalize().ok()?;
        match program.file_name()?.to_str()? {
            name if name.contains("nft") => Some(Variant::NfTables),
            // Before 1.8 there was no other.
            name if name.contains("legacy") || name == "xtables-multi" => Some(Variant::Legacy),
            _ => None,
        }
    }

    /// Sets how long to wait for the lock of iptables, in whole seconds.
    #[cfg(test)]
    pub(super) fn with_lock_wait(mut self, wait: Duration) -> Iptables {
        self.lock_wait = wait;
        self
    }
}

/// Reading.
impl Iptables {
    /// Checks whether the command works, by listing the first rule of a built-in chain as
    /// upstream does. Exit status 1 (no such rule) counts as working.
    ///
    /// # Errors
    /// Why it does not work.
    pub fn probe(&self, table: Table, chain: &str) -> Result<(), Error> {
        let arguments = ["-t", table.as_str(), "-S", chain, "1"];
        let output = self.run(&self.command, &arguments, "")?;
        match output.status.code() {
            Some(0 | 1) => Ok(()),
            _ => Err(self.failure(&self.command, &arguments, &output, "")),
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
            return Err(self.failure(&self.save, &arguments, &output, ""));
        }
        Ok(Saved::parse(output.stdout))
    }

    /// Returns whether a chain has a rule, by `iptables -C`. Only needed for rules with
    /// [`Rule::user_args`]: [`Saved::has_rule`] takes no process.
    ///
    /// # Errors
    /// Those of the command.
    pub fn check_rule(&self, table: Table, chain: &str, rule: &Rule) -> Result<bool, Error> {
        let wait = self.wait_argument();
        let words = rule.words();
        let mut arguments = vec!["-t", table.as_str(), "-C", chain];
        arguments.extend(words.iter().map(String::as_str));
        arguments.push(&wait);
        let output = self.run(&self.command, &arguments, "")?;
        match output.status.code() {
            Some(0) => Ok(true),
            // No such rule. For an unknown chain the nf_tables variant exits with 2.
            Some(1) => Ok(false),
            _ if is_not_found(&output.stderr) => Ok(false),
            _ => Err(self.failure(&self.command, &arguments, &output, "")),
        }
    }
}

/// Changing.
impl Iptables {
    /// Applies a change: all of it, or nothing.
    ///
    /// In the usual case that is no process (see [`Iptables::add_directly`]) or one: if the
    /// change only concerns an own chain (see [`Change::own_chain`]), the rules that jump to
    /// it, and shared rules that mostly exist, it is written at once, on condition that this
    /// is so. Otherwise the table is read first, and written only if something is to be
    /// changed.
    ///
    /// # Errors
    /// An invalid change, before any command is run; the errors of the commands; a timeout
    /// if another process holds the lock of iptables.
    pub fn apply(&self, change: &Change) -> Result<(), Error> {
        change.validate(self.family)?;
        if self.add_directly(change)? {
            return Ok(());
        }
        if let Some(script) = blind(change) {
            match self.restore(&script) {
                Err(error) if matches!(error.kind(), Kind::Command { .. }) => {
                    log::debug!("the table is not in the usual state: {error}");
                }
                outcome => return outcome,
            }
        }
        self.transaction(change.table, |_| change.clone())
    }

    /// Applies a change to the nf_tables variant over netlink, if the table is in the usual
    /// state: the shared chains exist with their rules, the change's own chains do not, and
    /// no rule of a shared chain has the address of a rule that is to be added to it. Runs
    /// no process. Returns `false` if nothing was changed, because the table is in another
    /// state, or a rule has parts that are not written here.
    ///
    /// # Errors
    /// An invalid change; errors for which the commands are no remedy.
    pub fn add_directly(&self, change: &Change) -> Result<bool, Error> {
        change.validate(self.family)?;
        match self.named_variant() {
            Some(Variant::NfTables) if may_use_netlink() => usual::add(self.family, change),
            _ => Ok(false),
        }
    }

    /// Reads a table and applies the change that `build` returns for it: all of it, or
    /// nothing. If another process changes the table meanwhile, this is repeated.
    ///
    /// That is one process if nothing is to be changed, and two otherwise. For changes
    /// that mostly add to shared chains, it is one less than [`Iptables::apply`] takes.
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
            change.validate(self.family)?;
            let Some(script) = plan(&change, &saved) else {
                return Ok(());
            };
            // An input that failed and is still the same has not failed because of
            // another process.
            if let Some((_, error)) = failed.take_if(|(before, _)| *before == script) {
                return Err(error);
            }
            match self.restore(&script) {
                Err(error) if matches!(error.kind(), Kind::Command { .. }) => {
                    failed = Some((script, error));
                }
                outcome => return outcome,
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
        match output.status.success() {
            true => Ok(()),
            false => Err(self.failure(&self.restore, &arguments, &output, script)),
        }
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

    /// Returns the error of a command that failed with the input `script`.
    fn failure(&self, command: &Path, arguments: &[&str], output: &Output, script: &str) -> Error {
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
        log::debug!("{}", stderr.trim_end());
        let mut complaint = first_complaint(stderr);
        if let Some(line) = failed_line(stderr, script) {
            complaint = format!("{complaint} ({line})");
        }
        Error::new(
            Kind::Command {
                arguments: format!("{what} {}", arguments.join(" ")),
                status: output.status_text(),
                stderr: complaint,
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

/// Returns whether iptables says that there is no such rule or chain, in the words of any
/// version and variant.
fn is_not_found(stderr: &str) -> bool {
    [
        "does a matching rule exist in that chain?",
        "No chain/target/match by that name",
        "No such file or directory",
        "does not exist",
    ]
    .iter()
    .any(|words| stderr.contains(words))
}

/// Returns the line of `script` that an error like `line 3 failed` names.
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

/// Returns the first error of iptables-restore: later ones are mostly consequences. The
/// nf_tables variant prints its version on a line of its own before.
pub(super) fn first_complaint(stderr: &str) -> String {
    let lines = || {
        stderr
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
    };
    let is_warning = |line: &&str| line.starts_with('#') || line.starts_with("Warning");
    let mut errors = lines().filter(|line| !is_warning(line));
    let Some(first) = errors.next().or_else(|| lines().next()) else {
        return String::new();
    };
    match errors.next() {
        Some(second) if first.ends_with(':') => format!("{first} {second}"),
        _ => first.to_owned(),
    }
}

/// Takes [`LOCK`]; `None` where there can be none, as on a file system that is
/// read-only.
fn lock(wait: Duration) -> Result<Option<Lock>, Error> {
    match Lock::take(LOCK, wait) {
        Ok(lock) => Ok(Some(lock)),
        Err(error) if error.is_locked() => {
            let lock = error.path().display().to_string();
            Err(Error::new(
                Kind::Locked { waited: wait, lock },
                "change iptables",
            ))
        }
        Err(error) => {
            log::warn!("going on without a lock of iptables: {error}");
            Ok(None)
        }
    }
}
