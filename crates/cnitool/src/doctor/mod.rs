//! `cnitool doctor`: looks for what keeps networks on this host from working, and says what to do. It changes nothing.

mod filters;
mod finding;
mod kernel;
mod managers;
mod plugins;
mod state;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use libcni::{CachedAttachment, Cni, NetworkList, conf_files};
use serde_json::{Value, json};

use crate::validate::Severity;
use crate::{environment, validate};
use finding::Report;

/// Arguments of `cnitool doctor`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print the report as one JSON document
    #[arg(long)]
    json: bool,
    /// Fail if there are warnings
    #[arg(long)]
    strict: bool,
    /// Directories of the plugins, with ":" between them; CNI_PATH, or the usual ones, if it is not given
    #[arg(long, value_name = "DIRS")]
    cni_path: Option<OsString>,
    /// Directory of a runtime's cache; several times for several runtimes
    #[arg(long, value_name = "DIR", default_value = "/var/lib/cni", value_hint = clap::ValueHint::DirPath)]
    cache_dir: Vec<PathBuf>,
}

/// What the examinations share.
struct Host {
    /// The networks whose files can be read.
    lists: Vec<NetworkList>,
    plugin_dirs: Vec<PathBuf>,
    cache_dirs: Vec<PathBuf>,
    cached: Vec<CachedAttachment>,
}

/// A plugin of a network.
struct Element<'a> {
    network: &'a str,
    config: Value,
}

/// Examines the host, and prints the report.
pub(crate) fn run(arguments: &Args) -> Result<ExitCode> {
    let mut report = Report::default();
    let host = Host::read(arguments, &mut report);
    networks(arguments, &host, &mut report);
    plugins::examine(&host, &mut report);
    kernel::examine(&host, &mut report);
    filters::examine(&host, &mut report);
    managers::examine(&host, &mut report);
    state::examine(&host, &mut report);
    let text = match arguments.json {
        true => serde_json::to_string_pretty(&report)? + "\n",
        false => report.text(),
    };
    io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write to standard output")?;
    let failed = report.count(Severity::Error) > 0
        || arguments.strict && report.count(Severity::Warning) > 0;
    Ok(match failed {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

impl Host {
    fn read(arguments: &Args, report: &mut Report) -> Host {
        let plugin_dirs = validate::plugin_dirs(arguments.cni_path.as_deref());
        let mut cached = Vec::new();
        for dir in &arguments.cache_dir {
            match Cni::new(&plugin_dirs).cache_dir(dir).cached_attachments("") {
                Ok(attachments) => cached.extend(attachments),
                Err(error) => report.error(
                    "state",
                    format!("the cache of attachments cannot be read: {error}"),
                    "runtimes find the results of attachments there, for CHECK, DEL and GC",
                    format!("make {} a directory that root can read", dir.display()),
                ),
            }
        }
        Host {
            // What cannot be read is counted by `networks`.
            lists: environment::lists(&environment::config_dir())
                .unwrap_or_default()
                .into_iter()
                .filter_map(|(_, list)| list.ok())
                .collect(),
            plugin_dirs,
            cache_dirs: arguments.cache_dir.clone(),
            cached,
        }
    }

    /// The plugins of all networks.
    fn elements(&self) -> impl Iterator<Item = Element<'_>> {
        self.lists.iter().flat_map(|list| {
            list.plugins.iter().map(|plugin| Element {
                network: &list.name,
                // It has been decoded as an object before.
                config: serde_json::from_slice(&plugin.bytes).unwrap_or_else(|_| json!({})),
            })
        })
    }

    /// The names of the networks without a plugin of this type.
    fn networks_without(&self, kind: &str) -> Vec<&str> {
        let lists = self.lists.iter();
        lists
            .filter(|list| !list.plugins.iter().any(|plugin| plugin.conf.kind == kind))
            .map(|list| list.name.as_str())
            .collect()
    }
}

/// Counts what `cnitool validate` finds.
fn networks(arguments: &Args, host: &Host, report: &mut Report) {
    let dir = environment::config_dir();
    report.fact(
        "networks",
        match host.lists.is_empty() {
            true => format!("none in {}", dir.display()),
            false => {
                let names: Vec<&str> = host.lists.iter().map(|list| list.name.as_str()).collect();
                format!("{} in {}", names.join(", "), dir.display())
            }
        },
    );
    let advice = "run \"cnitool validate\", which says what and where";
    if conf_files(&dir, &[".conflist", ".conf", ".json"]).is_ok_and(|files| files.is_empty()) {
        report.warning(
            "networks",
            format!("there is no network in {}", dir.display()),
            "containers get no network from runtimes that read this directory",
            "put a network list there; the pages of the plugins have some to copy",
        );
        return;
    }
    match validate::count(&dir, arguments.cni_path.as_deref()) {
        Ok((0, 0)) => {}
        Ok((0, warnings)) => report.warning(
            "networks",
            format!(
                "{warnings} warnings about the configurations in {}",
                dir.display()
            ),
            "the networks work, though probably not as intended",
            advice,
        ),
        Ok((errors, _)) => report.error(
            "networks",
            format!("{errors} errors in the configurations in {}", dir.display()),
            "plugins refuse these networks, or they cannot work",
            advice,
        ),
        Err(error) => report.error(
            "networks",
            format!("{} cannot be read: {error:#}", dir.display()),
            "runtimes look for networks there",
            "create it, or set NETCONFPATH",
        ),
    }
}
