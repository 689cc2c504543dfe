//! The `dhcp` IPAM plugin: leases addresses of DHCP servers, by a daemon that keeps them.
//!
//! The plugin forwards each call to the daemon, `dhcp daemon`, over a unix socket in
//! upstream's protocol. The daemon speaks DHCP in the container's network namespace.
//!
//! See `Documentation/plugins/dhcp.md` for the configuration.

mod caller;
mod client;
mod config;
mod daemon;
mod domain;
mod duration;
#[doc(hidden)]
pub mod fuzzing;
mod identity;
mod interface;
mod location;
mod random;
mod record;
mod rpc;
mod socket;
mod status;
mod sys;
mod time;
mod units;
mod v4;
mod v6;

use anyhow::bail;
use caller::call_daemon;
use cni_core::confine::{Capability, Needs};
use cni_core::{AddResult, Call, Code, Error, Plugin};
use cni_state::Owner;
use config::Config;
use plugin_kit::{detailed, state};
use record::Records;
use rpc::Reply;
use std::ffi::OsString;
use std::process::ExitCode;

/// The plugin.
#[derive(Clone, Copy, Debug)]
pub struct Dhcp;

/// Runs a command of the command line, and returns its exit code: `daemon`, `status` or
/// `units`. `None` is a call of the plugin. `arguments` do not contain the program's name.
pub fn command_line(arguments: &[OsString]) -> Option<ExitCode> {
    let (command, rest) = arguments.split_first()?;
    match command.to_str()? {
        "daemon" => Some(daemon::main(rest)),
        "status" => Some(status::main(rest)),
        "units" => Some(units::main(rest)),
        _ => None,
    }
}

impl Plugin for Dhcp {
    fn name(&self) -> &'static str {
        "dhcp"
    }

    fn needs(&self, _: &Call) -> Option<Needs> {
        // The socket may belong to another user.
        let needs = Needs::none().capability(Capability::DacOverride);
        Some(needs.write("/run/cni"))
    }

    fn add(&self, call: &Call) -> anyhow::Result<AddResult> {
        config::ipam(&call.conf)?;
        let socket = config::socket_path(&call.conf)?;
        match call_daemon(&socket, rpc::ALLOCATE, call)? {
            Reply::Result(result) => Ok(*result),
            other => bail!(
                "error calling {}: unexpected reply {other:?}",
                rpc::ALLOCATE
            ),
        }
    }

    /// Has the lease released; if the daemon cannot be reached, when it is back.
    fn del(&self, call: &Call) -> anyhow::Result<()> {
        let socket = socket_for_cleanup(call);
        match call_daemon(&socket, rpc::RELEASE, call) {
            Err(error) if error.is_unreachable() => {
                if !mark_deleted(&state::owner(call))? {
                    return Ok(());
                }
                // The daemon may have started, and read its records, in between.
                match call_daemon(&socket, rpc::RELEASE, call) {
                    Err(error) if !error.is_unreachable() => Err(error.into()),
                    _ => Ok(()),
                }
            }
            released => Ok(released.map(drop)?),
        }
    }

    /// Compares the lease with prevResult.
    fn check(&self, call: &Call) -> anyhow::Result<()> {
        config::ipam(&call.conf)?;
        let socket = config::socket_path(&call.conf)?;
        let reply = match call_daemon(&socket, rpc::CHECK, call) {
            // Upstream's daemon; its plugin calls this method.
            Err(error) if error.is_unknown_method() => call_daemon(&socket, rpc::ALLOCATE, call),
            reply => reply,
        }?;
        let (Reply::Result(lease), Some(prev)) = (reply, call.prev_result()?) else {
            return Ok(());
        };
        for ip in &lease.ips {
            if !prev.ips.iter().any(|prev| prev.address == ip.address) {
                let msg = format!(
                    "dhcp: Failed to match addr {} on interface {}",
                    ip.address, call.if_name
                );
                return Err(detailed(
                    msg,
                    "the lease is for an address that prevResult does not have",
                ));
            }
        }
        Ok(())
    }

    fn gc(&self, call: &Call) -> anyhow::Result<()> {
        let Some(valid) = call.valid_attachments()? else {
            return Ok(());
        };
        match call_daemon(&socket_for_cleanup(call), rpc::COLLECT, call) {
            Err(error) if error.is_unreachable() => {
                let valid = state::owners(&call.name, &valid);
                let mut stale = Records::new("").owners(&call.name);
                stale.retain(|owner| !valid.contains(owner));
                for owner in stale {
                    mark_deleted(&owner)?;
                }
                Ok(())
            }
            // Upstream's daemon, which collects nothing.
            Err(error) if error.is_unknown_method() => Ok(()),
            collected => Ok(collected.map(drop)?),
        }
    }

    /// Ready if the daemon answers, and ADD would not refuse the configuration.
    fn status(&self, call: &Call) -> anyhow::Result<()> {
        let socket = config::socket_path(&call.conf)?;
        Config::load(config::ipam(&call.conf)?, &call.args.to_string_lossy())?;
        caller::probe(&socket).map_err(|error| {
            let details = "start it by \"systemctl start cni-dhcp.socket\" or \"dhcp daemon\", or \
                           set ipam.daemonSocketPath to its socket";
            Error::new(Code::PLUGIN_NOT_AVAILABLE, error.to_string())
                .with_details(details)
                .into()
        })
    }
}

/// The path of the socket for DEL and GC, which an invalid configuration must not prevent.
fn socket_for_cleanup(call: &Call) -> String {
    config::socket_path(&call.conf).unwrap_or_else(|error| {
        log::warn!("{error:#}");
        config::SOCKET_PATH.to_owned()
    })
}

/// Records a deletion for the daemon. Returns whether there is a lease to be released.
fn mark_deleted(owner: &Owner) -> anyhow::Result<bool> {
    Ok(Records::new("").mark_deleted(owner)?)
}
