//! `cnitool add`, `check`, `del`, `gc` and `status`: upstream's commands, with the same arguments, environment, texts
//! and streams.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap_complete::ArgValueCandidates;
use libcni::{Attachment, Cni, NetworkList, load_list};
use sha2::{Digest, Sha512};

use crate::netns::{self, Need};
use crate::{environment, gc_from_cri};

/// Arguments of upstream's commands.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the network
    #[arg(add = ArgValueCandidates::new(environment::networks))]
    network: Option<String>,
    /// Network namespace: a path, pid:NUMBER, name:NAME, or label:LABEL of a container
    #[arg(value_hint = clap::ValueHint::FilePath, add = ArgValueCandidates::new(netns::candidates))]
    netns: Option<OsString>,
    #[command(flatten)]
    options: netns::Lookup,
    // Upstream ignores more arguments.
    #[arg(hide = true)]
    ignored: Vec<OsString>,
}

/// Arguments of `gc`.
#[derive(Debug, clap::Args)]
pub(crate) struct GcArgs {
    #[command(flatten)]
    from_cri: gc_from_cri::FromCri,
    #[command(flatten)]
    upstream: Args,
}

impl GcArgs {
    /// Returns the words that are not options: names of networks with `--from-cri`.
    fn networks(&self) -> Vec<&OsStr> {
        let first = self.upstream.network.as_deref().map(OsStr::new);
        let others = self.upstream.netns.iter().chain(&self.upstream.ignored);
        first
            .into_iter()
            .chain(others.map(OsString::as_os_str))
            .collect()
    }
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
    Gc(GcArgs),
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
    let (arguments, need) = match verb {
        Verb::Add(arguments) => (arguments, Need::New),
        Verb::Check(arguments) => (arguments, Need::Existing),
        Verb::Del(arguments) => (arguments, Need::Perhaps),
        Verb::Gc(arguments) if arguments.from_cri.is_given() => {
            return gc_from_cri::run(&arguments.from_cri, &arguments.networks());
        }
        Verb::Gc(arguments) => (&arguments.upstream, Need::Nothing),
        Verb::Status(arguments) => (arguments, Need::Nothing),
    };
    let (list, mut attachment) = prepare(arguments, need, ifname)?;
    let cni = Cni::new(environment::plugin_dirs());
    match verb {
        Verb::Add(_) => add(&cni, &list, &attachment)?,
        Verb::Check(_) => cni.check(&list, &attachment)?,
        Verb::Del(_) => {
            forget_other_netns(&cni, &list, &mut attachment);
            cni.del(&list, &attachment)?;
        }
        // As upstream: without valid attachments, so that all in the cache are deleted.
        Verb::Gc(_) => cni.gc(&list, None)?,
        Verb::Status(_) => cni.status(&list)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the network and the attachment. As in upstream, all commands need both.
fn prepare(
    arguments: &Args,
    need: Need,
    ifname: Option<String>,
) -> Result<(NetworkList, Attachment)> {
    let (Some(network), Some(reference)) = (&arguments.network, &arguments.netns) else {
        let given = usize::from(arguments.network.is_some());
        bail!("requires at least 2 arg(s), only received {given}");
    };
    let list = load_list(&environment::config_dir(), network)?;
    let capability_args = environment::capability_args()?;
    let args = environment::cni_args()?;
    let netns = netns::resolve(reference, &arguments.options, need)?;
    let attachment = Attachment {
        container_id: container_id(&netns.key),
        netns: netns.path,
        if_name: environment::if_name(ifname),
        args,
        capability_args,
    };
    Ok((list, attachment))
}

/// Empties the path of the namespace if another one was attached: the container of a label may have been started again,
/// and the interface of that name in it is not ours.
fn forget_other_netns(cni: &Cni, list: &NetworkList, attachment: &mut Attachment) {
    if let Ok(Some(cached)) = cni.cached_attachment(&list.name, attachment)
        && cached.attachment.netns != attachment.netns
    {
        attachment.netns = PathBuf::new();
    }
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
fn container_id(netns: &OsStr) -> String {
    let digest = Sha512::digest(netns.as_encoded_bytes());
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
            assert_eq!(container_id(OsStr::new(path)), id);
        }
    }
}
