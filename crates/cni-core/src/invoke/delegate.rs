//! Delegating a verb to another plugin (specification, section "Delegation").
//!
//! The delegate gets the caller's whole environment and its standard input byte
//! for byte; only `CNI_COMMAND` is the verb's.

use super::exec::{Invocation, Started};
use super::find::{find_in_path, split_path};
use crate::{AddResult, Call, Command, Error};
use std::ffi::OsStr;
use std::time::Duration;

/// No delegate may hang its caller for ever. The longest legitimate one is a
/// DHCP client at the end of its retransmissions, about three and a half minutes.
const DEADLINE: Duration = Duration::from_secs(300);

/// ADD by the plugin `delegate`.
///
/// # Errors
/// When it is not found, fails (its own error object, code kept), or prints
/// something that is no result.
pub fn delegate_add(call: &Call, delegate: &str) -> anyhow::Result<AddResult> {
    start(call, delegate, Command::Add)?.add()
}

/// DEL by the plugin `delegate`.
///
/// # Errors
/// When it is not found or fails.
pub fn delegate_del(call: &Call, delegate: &str) -> anyhow::Result<()> {
    delegate_verb(call, delegate, Command::Del).map(drop)
}

/// CHECK by the plugin `delegate`.
///
/// # Errors
/// When it is not found or fails.
pub fn delegate_check(call: &Call, delegate: &str) -> anyhow::Result<()> {
    delegate_verb(call, delegate, Command::Check).map(drop)
}

/// GC by the plugin `delegate`.
///
/// # Errors
/// When it is not found or fails.
pub fn delegate_gc(call: &Call, delegate: &str) -> anyhow::Result<()> {
    delegate_verb(call, delegate, Command::Gc).map(drop)
}

/// STATUS of the plugin `delegate`.
///
/// # Errors
/// When it is not found or fails.
pub fn delegate_status(call: &Call, delegate: &str) -> anyhow::Result<()> {
    delegate_verb(call, delegate, Command::Status).map(drop)
}

fn delegate_verb(call: &Call, delegate: &str, verb: Command) -> anyhow::Result<Vec<u8>> {
    Ok(start(call, delegate, verb)?.finish()?)
}

/// A delegate that has been started for one verb and waits for its configuration,
/// without which it cannot do anything. Dropped, it is killed.
#[derive(Debug)]
pub struct Delegate<'a> {
    call: &'a Call,
    started: Started,
}

impl Delegate<'_> {
    /// Has it carry out its verb, and returns what it printed.
    ///
    /// # Errors
    /// When it fails.
    pub fn finish(self) -> Result<Vec<u8>, Error> {
        self.started.finish(&self.call.stdin)
    }

    /// The same for ADD, with its result.
    ///
    /// # Errors
    /// When it fails, or prints something that is no result.
    pub fn add(self) -> anyhow::Result<AddResult> {
        let version = self.call.version;
        let stdout = self.finish()?;
        Ok(AddResult::from_plugin_output(version.as_str(), &stdout)?)
    }
}

/// Starts the plugin `delegate` for `verb`, ahead of the moment it is needed.
///
/// # Errors
/// When it is not found or cannot be executed.
pub fn start<'a>(call: &'a Call, delegate: &str, verb: Command) -> anyhow::Result<Delegate<'a>> {
    let path = find_in_path(delegate, &split_path(&call.path))?;
    let netns_override = if call.netns_override { "1" } else { "" };
    // A call need not come from the process's environment, so all of it is set.
    let env: [(&str, &OsStr); 7] = [
        ("CNI_COMMAND", verb.name().as_ref()),
        ("CNI_CONTAINERID", call.container_id.as_ref()),
        ("CNI_NETNS", call.netns.as_ref()),
        ("CNI_IFNAME", call.if_name.as_ref()),
        ("CNI_ARGS", &call.args),
        ("CNI_PATH", &call.path),
        ("CNI_NETNS_OVERRIDE", netns_override.as_ref()),
    ];
    let invocation = Invocation {
        path: &path,
        env: &env,
        stdin: &call.stdin,
        trace: None,
        deadline: Some(DEADLINE),
    };
    let started = invocation.start()?;
    Ok(Delegate { call, started })
}
