//! `cnitool chain`: adds plugins to a network, and removes them, without rewriting its list.
//!
//! The plugins of the files `<network>/*.conf` beside a list follow its own plugins. Runtimes with version 1.3 of
//! upstream's library, or ours, read them.

mod drop_in;
mod network;

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap_complete::ArgValueCandidates;
use libcni::{Cni, PluginConf};

use crate::environment;
use network::Network;

/// Arguments of `cnitool chain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Add a plugin at the end of a network's chain
    Add(Addition),
    /// Remove a plugin that was added
    Remove(Removal),
}

#[derive(Debug, clap::Args)]
struct Addition {
    /// Name of the network
    #[arg(add = ArgValueCandidates::new(environment::networks))]
    network: String,
    /// File with the configuration of the plugin; - for standard input
    #[arg(value_name = "PLUGIN.json", value_hint = clap::ValueHint::FilePath)]
    plugin: OsString,
    /// Name of the new file, which determines the order: NN-TYPE.conf, behind the others, if it is not given
    #[arg(long, value_name = "FILE")]
    name: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Removal {
    /// Name of the network
    #[arg(add = ArgValueCandidates::new(environment::networks))]
    network: String,
    /// The plugin: the name of its file in the network's folder, its type, or the file with its configuration
    #[arg(value_name = "PLUGIN.json", value_hint = clap::ValueHint::FilePath)]
    plugin: OsString,
    /// Remove it although the network has attachments, whose DEL will not call the plugin any more
    #[arg(long)]
    force: bool,
}

/// Changes the chain, and prints it.
pub(crate) fn run(arguments: &Args) -> Result<ExitCode> {
    match &arguments.command {
        Command::Add(addition) => add(addition)?,
        Command::Remove(removal) => remove(removal)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn add(addition: &Addition) -> Result<()> {
    let bytes = read(&addition.plugin)?;
    let plugin = PluginConf::from_bytes(&bytes).with_context(|| {
        let file = addition.plugin.display();
        format!("{file}: one plugin's configuration is needed, as in \"plugins\" of a list")
    })?;
    let mut network = Network::find(&environment::config_dir(), &addition.network)?;
    let name = match &addition.name {
        Some(name) => drop_in::checked_name(name)?,
        None => drop_in::next_name(&network.drop_ins()?, &plugin.conf.kind)?,
    };
    let kind = plugin.conf.kind.clone();
    drop_in::check(&network, &name, &bytes, &addition.plugin)?;
    network.insert(&name, plugin)?;
    let cni = cni()?;
    cni.validate(&network.list)?;
    let attachments = attachments(&cni, &addition.network)?;
    let path = drop_in::write(&network, &name, &bytes)?;
    report(&format!("added {}", path.display()), &network)?;
    if attachments > 0 {
        // Nothing can be done if standard error is closed.
        let _ = writeln!(
            io::stderr(),
            "note: existing attachments of {} ({attachments}) do not have {kind} until their next ADD",
            addition.network
        );
    }
    Ok(())
}

fn remove(removal: &Removal) -> Result<()> {
    let network = Network::find(&environment::config_dir(), &removal.network)?;
    let path = drop_in::find(&network, &removal.plugin)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let attachments = attachments(&Cni::new(environment::plugin_dirs()), &removal.network)?;
    if attachments > 0 && !removal.force {
        bail!(
            "{name}: network {} has attachments ({attachments}), whose DEL would not call the plugin any more; delete \
             them first, or give --force",
            removal.network
        );
    }
    let rest = network.without(&name)?;
    fs::remove_file(&path).with_context(|| path.display().to_string())?;
    // Only an empty one is removed.
    let _ = fs::remove_dir(&network.folder);
    report(&format!("removed {}", path.display()), &rest)
}

/// Returns the handle with which a plugin is found and asked for its versions.
fn cni() -> Result<Cni> {
    let dirs = environment::plugin_dirs();
    if dirs.is_empty() {
        bail!(
            "CNI_PATH is not set: name the directories of the plugins, usually /opt/cni/bin, to have them checked"
        );
    }
    Ok(Cni::new(dirs))
}

/// Returns the number of attachments of a network in the cache.
fn attachments(cni: &Cni, network: &str) -> Result<usize> {
    let all = cni.cached_attachments("")?;
    Ok(all
        .iter()
        .filter(|cached| cached.network == network)
        .count())
}

fn read(file: &OsString) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let outcome = match file.to_str() {
        Some("-") => io::stdin().read_to_end(&mut bytes).map(drop),
        _ => fs::read(Path::new(file)).map(|content| bytes = content),
    };
    outcome.with_context(|| file.display().to_string())?;
    Ok(bytes)
}

/// Prints what was done, and the chain.
fn report(what: &str, network: &Network) -> Result<()> {
    let kinds: Vec<&str> = network
        .list
        .plugins
        .iter()
        .map(|plugin| plugin.conf.kind.as_str())
        .collect();
    let text = format!(
        "{what}\nchain of {}: {}\n",
        network.list.name,
        kinds.join(", ")
    );
    io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write to standard output")
}
