//! `cnitool gc --from-cri`: collects the attachments of pods that their runtime does not know any more.
//!
//! The order matters. The cache is listed before the runtimes are asked, so that a sandbox which is made meanwhile is never
//! taken for one that they have forgotten; and once more afterwards, since GC concerns all that is in the cache then.

mod host;
mod plan;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use cni_core::ns::PersistentNetns;
use cni_core::types;
use libcni::{CachedAttachment, Cni, NetworkList, load_list};
use runtime_api::{Cri, Error as RuntimeError};

use crate::{cached, environment};
use host::{THOROUGHLY, Users};
use plan::{Condition, Facts, Sandbox, Verdict, argument, key};

/// The cache of runtimes.
const CACHE: &str = "/var/lib/cni";
/// The cache of Multus, which attaches the same sandboxes to further networks.
const MULTUS: &str = "/var/lib/cni/multus";
/// Time limit of a request to a runtime.
const LIMIT: Duration = Duration::from_secs(30);
/// gRPC's status for what does not exist.
const NOT_FOUND: u32 = 5;

/// FromCri of `cnitool gc` that concern runtimes.
#[derive(Debug, clap::Args)]
pub(crate) struct FromCri {
    /// Ask the runtime at this socket which pods exist, and print what is left of others; of the networks that are named,
    /// or of all. Several times if there are several runtimes
    #[arg(long, value_name = "SOCKET", value_hint = clap::ValueHint::FilePath)]
    from_cri: Vec<PathBuf>,
    /// Collect it
    #[arg(long, visible_alias = "yes", requires = "from_cri")]
    execute: bool,
    /// Have the plugins look for what is in no cache, too. Not while pods are started: an attachment that is made at that
    /// moment may be taken for a remnant
    #[arg(long, requires = "execute")]
    plugins: bool,
    /// Keep attachments that are younger than this: a runtime may list a sandbox only when it runs
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 300,
        requires = "from_cri"
    )]
    min_age: u64,
}

impl FromCri {
    /// Whether runtimes are to be asked.
    pub(crate) fn is_given(&self) -> bool {
        !self.from_cri.is_empty()
    }
}

/// Prints what is left of pods that no runtime lists, and collects it if that is wanted.
pub(crate) fn run(options: &FromCri, names: &[&OsStr]) -> Result<ExitCode> {
    let mut report = Report::default();
    let networks = networks(names, &mut report)?;
    let cni = Cni::new(environment::plugin_dirs()).keep_going(true);
    let mut facts = facts(&cni, options, &mut report)?;
    let is_disabled = |list: &&NetworkList| list.disable_gc;
    let disabled = networks.values().filter(is_disabled);
    facts.disabled = disabled.map(|list| list.name.clone()).collect();
    let mut stale = Vec::new();
    for (cached, verdict) in verdicts(&facts) {
        let is_meant = names.is_empty() || networks.contains_key(&cached.network);
        match verdict {
            Verdict::Stale if is_meant => {
                report.line(&format!("collect {}", describe(cached)));
                stale.push(cached.clone());
            }
            Verdict::Kept(reason) if is_meant => {
                report.line(&format!("keep {}: {reason}", describe(cached)));
            }
            _ => {}
        }
    }
    if !options.execute {
        report.line("nothing has been changed: --execute collects");
        return Ok(report.end());
    }
    let mut collected = 0;
    for cached in &mut stale {
        cached.attachment.netns = cached::netns(cached);
        let deleted = delete(&cni, networks.get(&cached.network), cached)
            .and_then(|()| remove_netns(cached, &facts));
        collected += usize::from(deleted.is_ok());
        report.note(deleted, &describe(cached));
    }
    for list in networks.values().filter(|_| options.plugins) {
        let done = collect(&cni, list, &mut facts, &mut report);
        report.note(done, &list.name);
    }
    report.line(&format!("collected attachments: {collected}"));
    Ok(report.end())
}

/// Returns what becomes of each attachment in the cache.
fn verdicts(facts: &Facts) -> Vec<(&CachedAttachment, Verdict)> {
    let users = Users::read();
    let verdict = |cached| {
        let condition = Condition {
            age: age(cached),
            user: users.of(&cached::netns(cached)),
        };
        (cached, facts.verdict(cached, &condition))
    };
    facts.after.iter().map(verdict).collect()
}

/// What is printed: lines, and errors that do not end the command.
#[derive(Default)]
struct Report {
    has_failed: bool,
}

impl Report {
    fn line(&mut self, text: &str) {
        let mut stdout = io::stdout();
        self.has_failed |= writeln!(stdout, "{text}").is_err();
    }

    fn note(&mut self, result: Result<()>, what: &str) {
        if let Err(error) = result {
            self.has_failed = true;
            // Nothing can be done if standard error is closed.
            let _ = writeln!(io::stderr(), "Error: {what}: {error:#}");
        }
    }

    fn end(self) -> ExitCode {
        match self.has_failed {
            true => ExitCode::FAILURE,
            false => ExitCode::SUCCESS,
        }
    }
}

/// Loads the networks that are named, or all whose configuration can be read.
fn networks(names: &[&OsStr], report: &mut Report) -> Result<BTreeMap<String, NetworkList>> {
    let dir = environment::config_dir();
    let mut networks = BTreeMap::new();
    for name in names {
        let name = name.to_str().context("names of networks are UTF-8")?;
        networks.insert(name.to_owned(), load_list(&dir, name)?);
    }
    if names.is_empty() {
        for (file, list) in environment::lists(&dir)? {
            match list {
                // As runtimes, the first file of a name.
                Ok(list) => drop(networks.entry(list.name.clone()).or_insert(list)),
                Err(error) => report.note(Err(error.into()), &file.display().to_string()),
            }
        }
    }
    Ok(networks)
}

/// Lists the cache, asks the runtimes, and lists the cache again.
fn facts(cni: &Cni, options: &FromCri, report: &mut Report) -> Result<Facts> {
    let before = cni.cached_attachments("")?;
    let mut sandboxes = Vec::new();
    for socket in &options.from_cri {
        sandboxes.extend(ask(socket, report)?);
    }
    let others = cni.clone().cache_dir(MULTUS).cached_attachments("")?;
    let mut facts = Facts {
        before,
        after: Vec::new(),
        others,
        sandboxes,
        additions: host::additions(THOROUGHLY),
        disabled: Vec::new(),
        min_age: Duration::from_secs(options.min_age),
    };
    facts.after = cni.cached_attachments("")?;
    // The runtime does not say the namespace of a sandbox that has stopped; the cache does.
    for sandbox in &mut facts.sandboxes {
        let cached = facts
            .after
            .iter()
            .filter(|cached| cached.attachment.container_id == sandbox.id);
        let netns = cached
            .map(|cached| &cached.attachment.netns)
            .chain(&sandbox.netns);
        sandbox.links = netns.flat_map(|netns| host::links(netns)).collect();
    }
    Ok(facts)
}

/// Asks a runtime for its sandboxes, in whatever state.
fn ask(socket: &Path, report: &mut Report) -> Result<Vec<Sandbox>> {
    let cri = Cri::new(socket, LIMIT)?;
    let version = cri.version()?;
    let mut sandboxes = Vec::new();
    for sandbox in cri.sandboxes()? {
        let netns = match cri.status(&sandbox.id) {
            Ok(status) => status.netns,
            // It has been removed since, which is no reason to collect it now.
            Err(RuntimeError::Refused {
                status: NOT_FOUND, ..
            }) => None,
            Err(error) => return Err(error.into()),
        };
        sandboxes.push(Sandbox {
            id: sandbox.id,
            netns,
            links: Vec::new(),
        });
    }
    report.line(&format!(
        "{} {} lists sandboxes: {}",
        version.name,
        version.version,
        sandboxes.len()
    ));
    Ok(sandboxes)
}

/// Deletes an attachment: of a network that is not configured any more by the configuration in the cache.
fn delete(cni: &Cni, list: Option<&NetworkList>, cached: &CachedAttachment) -> Result<()> {
    if let Some(list) = list {
        return Ok(cni.del(list, &cached.attachment)?);
    }
    let list = cached::list(cached)?;
    Ok(cni.del(&list, &cached.attachment)?)
}

/// Has the plugins of a network collect what they know of attachments that are not valid, and the cache does not have.
///
/// An attachment that is made from here on would be unknown to them. Therefore nothing that takes time happens between the
/// look for additions and GC, and another look afterwards tells whether there was one.
fn collect(cni: &Cni, list: &NetworkList, facts: &mut Facts, report: &mut Report) -> Result<()> {
    let valid = refresh(cni, facts, THOROUGHLY)?;
    cni.gc(list, Some(&valid))?;
    for late in refresh(cni, facts, 1)?
        .iter()
        .filter(|late| !valid.contains(late))
    {
        report.line(&format!(
            "warning: {} of container {} was attached while the plugins of {} collected: check it",
            late.if_name, late.container_id, list.name
        ));
    }
    Ok(())
}

/// Looks for attachments that have been made meanwhile, and returns all that are valid.
fn refresh(cni: &Cni, facts: &mut Facts, looks: u32) -> Result<Vec<types::Attachment>> {
    facts.additions.extend(host::additions(looks));
    facts.after = cni.cached_attachments("")?;
    let kept = verdicts(facts)
        .into_iter()
        .filter(|(_, verdict)| *verdict != Verdict::Stale);
    let kept: Vec<&CachedAttachment> = kept.map(|(cached, _)| cached).collect();
    Ok(facts.valid(&kept))
}

/// Removes the namespace that a runtime made for a pod, unless another attachment is in it.
fn remove_netns(cached: &CachedAttachment, facts: &Facts) -> Result<()> {
    let netns = &cached.attachment.netns;
    let id = &cached.attachment.container_id;
    let is_in = |dir: &str| netns.parent() == Some(Path::new(dir));
    let name = netns.file_name().unwrap_or_default().as_encoded_bytes();
    let is_of_another = |other: &CachedAttachment| {
        cached::netns(other) == *netns && other.attachment.container_id != *id
    };
    let is_of_pod = (is_in("/var/run/netns") || is_in("/run/netns")) && name.starts_with(b"cni-");
    if is_of_pod && !facts.after.iter().any(is_of_another) {
        PersistentNetns::load(netns).remove()?;
    }
    Ok(())
}

/// Returns how long ago the attachment was written to the cache; nothing if that is not known.
fn age(cached: &CachedAttachment) -> Duration {
    let (network, id, if_name) = key(cached);
    let file = Path::new(CACHE).join(format!("results/{network}-{id}-{if_name}"));
    let written = fs::metadata(file).and_then(|file| file.modified());
    let age = written
        .ok()
        .and_then(|written| SystemTime::now().duration_since(written).ok());
    age.unwrap_or_default()
}

/// Returns what an attachment is called in the report.
fn describe(cached: &CachedAttachment) -> String {
    let (network, id, if_name) = key(cached);
    let pod = argument(cached, "K8S_POD_NAMESPACE").zip(argument(cached, "K8S_POD_NAME"));
    let pod = pod.map_or(String::new(), |(namespace, name)| {
        format!(" of pod {namespace}/{name}")
    });
    format!("{network} {id} {if_name}{pod}")
}
