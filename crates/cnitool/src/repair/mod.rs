//! `cnitool repair`: puts back what others have deleted of living attachments on the host, without touching the
//! containers.

mod plugin;
mod report;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap_complete::ArgValueCandidates;
use libcni::{CachedAttachment, Cni, NetworkList, load_list};
use netfilter::firewalld::Firewalld;

use crate::{cached, environment, show};
use plugin::{Plugin, Way};
use report::{Attachment, Report, State};

/// Arguments of `cnitool repair`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names of networks; all if none is given
    #[arg(add = ArgValueCandidates::new(environment::networks))]
    network: Vec<String>,
    /// Say what is missing, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Do so now, and after each reload of firewalld
    #[arg(long, conflicts_with = "dry_run")]
    watch_firewalld: bool,
    /// Directory of a runtime's cache; several times for several runtimes
    #[arg(long, value_name = "DIR", default_value = "/var/lib/cni", value_hint = clap::ValueHint::DirPath)]
    cache_dir: Vec<PathBuf>,
}

/// Repairs the attachments in the caches, once or after each reload of firewalld.
pub(crate) fn run(arguments: &Args) -> Result<ExitCode> {
    if !arguments.watch_firewalld {
        return pass(arguments);
    }
    let mut firewalld = Firewalld::find()?.context("firewalld is not running")?;
    firewalld.watch_reloads()?;
    loop {
        // What could not be repaired is in the report.
        pass(arguments)?;
        firewalld.wait_for_reload()?;
    }
}

/// Repairs the attachments in the caches, and prints the report.
fn pass(arguments: &Args) -> Result<ExitCode> {
    let mut report = Report::default();
    let mut containers = show::Containers::default();
    for dir in &arguments.cache_dir {
        let cni = Cni::new(environment::plugin_dirs()).cache_dir(dir);
        for mut cached in cni.cached_attachments("")? {
            cached.attachment.netns = cached::netns(&cached);
            if arguments.network.is_empty() || arguments.network.contains(&cached.network) {
                let attachment = examine(&cni, &cached, &mut containers, arguments.dry_run);
                report.attachments.push(attachment);
            }
        }
    }
    let text = match arguments.json {
        true => serde_json::to_string_pretty(&report)? + "\n",
        false => report.text(),
    };
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write to standard output")?;
    Ok(match report.is_whole() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Repairs an attachment if its interface exists. What is left of others is collected by GC.
fn examine(
    cni: &Cni,
    cached: &CachedAttachment,
    containers: &mut show::Containers,
    dry_run: bool,
) -> Attachment {
    let made = &cached.attachment;
    let netns = made.netns.to_string_lossy();
    if let Err(state) = containers.find(&netns, &made.if_name) {
        return Attachment::new(cached, State::Skipped, Some(state.text().to_owned()));
    }
    repair(cni, cached, dry_run).unwrap_or_else(|error| {
        let reason = format!("{error:#}");
        Attachment::new(cached, State::Failed, Some(reason))
    })
}

/// Repairs what the plugins of an attachment find missing, in the order of the chain.
///
/// # Errors
///
/// When its configuration or result cannot be used.
fn repair(cni: &Cni, cached: &CachedAttachment, dry_run: bool) -> Result<Attachment> {
    let list = list(cached)?;
    if cached.result.is_none() {
        bail!("the cache has no result of the attachment");
    }
    // The list of attachments may be older than the repair of others takes.
    let Some(result) = cni.cached_result(&list, &cached.attachment)? else {
        return Ok(detached(cached));
    };
    let result = result.result.to_value(result.version)?;
    let mut report = Attachment::new(cached, State::Whole, None);
    for conf in &list.plugins {
        // `disableCheck` is for plugins whose CHECK cannot be relied on.
        if list.disable_check && Way::of(&conf.conf.kind).is_none() {
            continue;
        }
        let plugin = Plugin {
            list: &list,
            conf,
            attachment: &cached.attachment,
            result: &result,
        };
        let Some(finding) = plugin.repair(dry_run) else {
            continue;
        };
        // What DEL has not found is collected by GC for the others, whose DEL could meet a new attachment.
        let can_withdraw = Way::of(&finding.kind) == Some(Way::Again);
        if can_withdraw
            && !dry_run
            && cni
                .cached_attachment(&list.name, &cached.attachment)?
                .is_none()
        {
            plugin.withdraw()?;
            return Ok(detached(cached));
        }
        report.add(finding);
    }
    Ok(report)
}

fn detached(cached: &CachedAttachment) -> Attachment {
    let reason = "was detached meanwhile".to_owned();
    Attachment::new(cached, State::Skipped, Some(reason))
}

/// Returns the network of an attachment: as it is configured now, as runtimes do for CHECK, else as the cache has it.
fn list(cached: &CachedAttachment) -> Result<NetworkList> {
    match load_list(&environment::config_dir(), &cached.network) {
        Ok(list) => Ok(list),
        Err(_) => cached::list(cached)
            .with_context(|| format!("network {} is not configured", cached.network)),
    }
}
