//! `cnitool add`, `check`, `del`, `gc` and `status`: upstream's commands, with the same arguments, environment, texts
//! and streams.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap_complete::ArgValueCandidates;
use libcni::{Attachment, Cni, NetworkList, load_list};
use sha2::{Digest, Sha512};

use crate::{environment, netns};

/// Arguments of upstream's commands.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the network
    #[arg(add = ArgValueCandidates::new(environment::networks))]
    network: Option<String>,
    /// Path of the network namespace
    #[arg(value_hint = clap::ValueHint::FilePath, add = ArgValueCandidates::new(netns::candidates))]
    netns: Option<OsString>,
    // Upstream ignores more arguments.
    #[arg(hide = true)]
    ignored: Vec<OsString>,
}

/// An operation on a network list.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Attach a network namespace to a network
    #[command(override_usage = "cnitool add [OPTIONS] <NETWORK> <NETNS>")]
    Add(Args),
    /// Check that an attachment is as it was made
    #[command(override_usage = "cnitool check [OPTIONS] <NETWORK> <NETNS>")]
    Check(Args),
    /// Detach a network namespace from a network
    #[command(override_usage = "cnitool del [OPTIONS] <NETWORK> <NETNS>")]
    Del(Args),
    /// Delete all attachments of a network, and what its plugins left behind
    #[command(override_usage = "cnitool gc [OPTIONS] <NETWORK> <NETNS>")]
    Gc(Args),
    /// Check that the plugins of a network are ready
    #[command(override_usage = "cnitool status [OPTIONS] <NETWORK> <NETNS>")]
    Status(Args),
}

impl Verb {
    /// Returns the name of the command.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Verb::Add(_) => "add",
            Verb::Check(_) => "check",
            Verb::Del(_) => "del",
            Verb::Gc(_) => "gc",
            Verb::Status(_) => "status",
        }
    }
}

/// Runs the operation on the attachment of the arguments and the environment.
pub(crate) fn run(verb: &Verb, ifname: Option<String>) -> Result<ExitCode> {
    let (Verb::Add(arguments)
    | Verb::Check(arguments)
    | Verb::Del(arguments)
    | Verb::Gc(arguments)
    | Verb::Status(arguments)) = verb;
    let (list, attachment) = prepare(arguments, ifname)?;
    let cni = Cni::new(environment::plugin_dirs());
    match verb {
        Verb::Add(_) => add(&cni, &list, &attachment)?,
        Verb::Check(_) => cni.check(&list, &attachment)?,
        Verb::Del(_) => cni.del(&list, &attachment)?,
        // As upstream: without valid attachments, so that all in the cache are deleted.
        Verb::Gc(_) => cni.gc(&list, None)?,
        Verb::Status(_) => cni.status(&list)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the network and the attachment. As in upstream, all commands need both.
fn prepare(arguments: &Args, ifname: Option<String>) -> Result<(NetworkList, Attachment)> {
    let (Some(network), Some(reference)) = (&arguments.network, &arguments.netns) else {
        let given = usize::from(arguments.network.is_some());
        bail!("requires at least 2 arg(s), only received {given}");
    };
    let list = load_list(&environment::config_dir(), network)?;
    let capability_args = environment::capability_args()?;
    let args = environment::cni_args()?;
    let netns = netns::resolve(reference)?;
    let attachment = Attachment {
        container_id: container_id(&netns),
        netns,
        if_name: environment::if_name(ifname),
        args,
        capability_args,
    };
    Ok((list, attachment))
}

fn add(cni: &Cni, list: &NetworkList, attachment: &Attachment) -> Result<()> {
    let Some(result) = cni.add(list, attachment)? else {
        return Ok(());
    };
    let text = result.to_json()?;
    let mut stdout = io::stdout();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .context("the container is attached, but its result cannot be printed")
}

/// Returns the container ID that upstream derives from the path of a namespace.
fn container_id(netns: &Path) -> String {
    let digest = Sha512::digest(netns.as_os_str().as_encoded_bytes());
    let digits: String = digest[..10]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("cnitool-{digits}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_ids_are_those_of_upstream() {
        for (path, id) in [
            ("/var/run/netns/testing", "cnitool-77383ca0a0715733ca6f"),
            ("/var/run/netns/cnitest", "cnitool-20c433bb2b1d6ede56d6"),
        ] {
            assert_eq!(container_id(Path::new(path)), id);
        }
    }
}
