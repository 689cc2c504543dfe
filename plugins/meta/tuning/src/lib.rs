//! The tuning plugin: sets sysctls of the container and attributes of the interface that a
//! previous plugin of the chain created.

mod allowlist;
mod backup;
mod config;
mod duplicates;
mod link;
mod others;
mod regexp;
mod sysctl;

pub use config::Config;
pub use link::Attributes;
pub use sysctl::Sysctl;

use anyhow::{Context, anyhow};
use backup::{Backup, Store};
use cni_core::confine::{Capability, Needs};
use cni_core::quote::quote;
use cni_core::{AddResult, Call, Plugin, Version};
use others::Others;
use plugin_kit::chain::{self, note};
use plugin_kit::failures::Failures;
use plugin_kit::{Container, Undo, check, detailed, status};
use rtnl::Link;
use sysctl::{Change, Values};

/// The plugin.
#[derive(Debug)]
pub struct Tuning;

impl Plugin for Tuning {
    fn name(&self) -> &'static str {
        "tuning"
    }

    fn needs(&self, call: &Call) -> Option<Needs> {
        let needs = Needs::network().capability(Capability::DacOverride);
        let needs = needs.read(allowlist::FILE);
        // An invalid configuration needs no directory.
        // Directories below /run/cni are removed with their last file, by any process.
        let needs = needs.write("/run/cni");
        Some(match config::data_dir(call) {
            Ok(directory) if !directory.starts_with("/run/cni") => needs.write(directory),
            _ => needs,
        })
    }

    fn add(&self, call: &Call) -> anyhow::Result<AddResult> {
        let config = Config::load(call)?;
        let mut result = check::required_prev_result(call)?;
        allowlist::check(&config.sysctls)?;
        let container = Container::open(call)?;
        // Everything is validated before anything is changed.
        let others = Others::of(call, &container, &config.data_dir)?;
        let (changes, mut dependants) = container.run(|| changes(&config.sysctls, &others))??;
        let link = match config.link.is_empty() {
            true => None,
            false => Some(find(&container, &call.if_name)?),
        };
        if let Some(link) = &link {
            let mut announcing = container.run(|| config.link.announcing(link))?;
            announcing.retain(|(path, _)| changes.iter().all(|change| change.path != *path));
            dependants.append(&mut announcing);
        }

        let store = Store::of(call, config.data_dir);
        let mut undo = Undo::new();
        let backup = Backup {
            network: call.name.clone(),
            ..store.read().unwrap_or_default()
        };
        let present = link.as_ref().map(Attributes::of).unwrap_or_default();
        let (recorded, along) = others.originals(&changes, &dependants);
        let backup = backup.renewed(&present, &config.link, &recorded, along);
        write_backup(&store, &backup, &mut undo)?;
        set_sysctls(&container, &changes, dependants, &mut undo)?;
        if let Some(link) = &link {
            link::tune(&container, link, config.link, &mut undo)?;
        }
        update_result(call, &config.link, &mut result);
        undo.disarm();
        Ok(result)
    }

    fn del(&self, call: &Call) -> anyhow::Result<()> {
        let directory = config::data_dir(call)?;
        let store = Store::of(call, directory.clone());
        let Some(backup) = store.read() else {
            // An unreadable backup is useless.
            return store.remove();
        };
        let restored = Container::open_for_del(call).and_then(|container| match container {
            Some(container) => {
                let others = Others::of(call, &container, &directory)?;
                restore(call, &container, &backup, &others)
            }
            // The tuned objects are gone with the namespace.
            None => Ok(()),
        });
        if let Err(e) = restored {
            // An error would stop the DEL of the previous plugins.
            note(&format!(
                "{e:#}; the values stay in {}",
                store.path().display()
            ));
            return Ok(());
        }
        store.remove()
    }

    fn check(&self, call: &Call) -> anyhow::Result<()> {
        let config = Config::load(call)?;
        check::required_prev_result(call)?;
        let container = Container::open(call)?;
        let link = container.rtnl.link_by_name(&call.if_name).map_err(|e| {
            let msg = format!("Cannot find container link {}", call.if_name);
            detailed(msg, e.to_string())
        })?;
        container.run(|| config.sysctls.iter().try_for_each(Sysctl::check))??;
        config.link.check(&link)
    }

    fn gc(&self, call: &Call) -> anyhow::Result<()> {
        match call.valid_attachments()? {
            Some(valid) => backup::collect(&config::data_dir(call)?, &call.name, &valid),
            None => Ok(()),
        }
    }

    fn status(&self, call: &Call) -> anyhow::Result<()> {
        let config = Config::load(call)?;
        allowlist::check(&config.sysctls).map_err(status::not_available)?;
        if config.sysctls.is_empty() {
            return Ok(());
        }
        // Containers lack sysctls that the host has.
        let exist = || config.sysctls.iter().try_for_each(Sysctl::probe);
        status::trial_container()?.run(exist)?.map_err(|e| {
            let way_out = "the kernel has no such sysctl in containers; remove it from \"sysctl\"";
            status::not_available_unless(e, way_out)
        })
    }
}

fn find(container: &Container, name: &str) -> anyhow::Result<Link> {
    let link = container.rtnl.link_by_name(name);
    link.with_context(|| format!("failed to get {}", quote(name)))
}

/// The sysctls to change in the calling thread's namespace, or to share with `others`, and
/// those that the kernel changes together with them.
fn changes(sysctls: &[Sysctl], others: &Others) -> anyhow::Result<(Vec<Change>, Values)> {
    let changes = sysctls
        .iter()
        .filter_map(|sysctl| sysctl.change(others).transpose());
    let changes = changes.collect::<anyhow::Result<Vec<_>>>()?;
    let dependants = sysctl::dependants(&changes);
    Ok((changes, dependants))
}

/// Writes the backup.
fn write_backup<'s>(store: &'s Store, backup: &Backup, undo: &mut Undo<'s>) -> anyhow::Result<()> {
    if backup.is_empty() {
        return Ok(());
    }
    let before = store.bytes();
    undo.push("restore the backup", move || {
        store.restore(before.as_deref())
    });
    store.write(backup)
}

/// Sets the sysctls.
fn set_sysctls<'c>(
    container: &'c Container,
    changes: &'c [Change],
    dependants: Values,
    undo: &mut Undo<'c>,
) -> anyhow::Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    // If one fails, those before it are set already.
    undo.push("restore the sysctls", move || {
        let own = changes.iter().rev();
        let own = own.filter_map(|change| Some((change.path.as_str(), change.was.as_deref()?)));
        let along = dependants
            .iter()
            .map(|(path, was)| (path.as_str(), was.as_str()));
        restore_sysctls(container, own.chain(along))
    });
    container.run(|| changes.iter().try_for_each(Change::apply))?
}

/// Restores interface and sysctls, as far as they exist and none of the `others` needs them.
fn restore(
    call: &Call,
    container: &Container,
    backup: &Backup,
    others: &Others,
) -> anyhow::Result<()> {
    let link = match container.rtnl.link_by_name(&call.if_name) {
        Ok(link) => backup.link.apply(container, &link),
        Err(e) if e.is_not_found() => Ok(()),
        Err(e) => Err(anyhow!(e).context(format!("failed to get {}", quote(&call.if_name)))),
    };
    // First those that change others.
    let (own, dependants): (Vec<_>, Vec<_>) = backup.sysctls.iter().partition(|s| s.set.is_some());
    let own = own.into_iter().rev().chain(dependants);
    let values = own.filter_map(|s| Some((s.path.as_str(), others.value_without(s)?)));
    let sysctls = restore_sysctls(container, values);
    let mut failures = Failures::default();
    failures.add(link);
    failures.add(sysctls);
    failures.result()
}

/// Restores all sysctls, even if some fail. Each of `values` is asked for in the container's
/// namespace, after those before it were restored.
fn restore_sysctls<'a>(
    container: &Container,
    values: impl Iterator<Item = (&'a str, &'a str)>,
) -> anyhow::Result<()> {
    container.run(|| {
        let mut failures = Failures::default();
        for (path, was) in values {
            failures.add(sysctl::restore(path, was));
        }
        failures.result()
    })?
}

/// Updates the interface in the result.
fn update_result(call: &Call, set: &Attributes, result: &mut AddResult) {
    for number in chain::own_interfaces(call, result) {
        let interface = &mut result.interfaces[number];
        if let Some(mac) = set.mac {
            interface.mac = mac.to_string();
        }
        if let Some(mtu) = set.mtu.filter(|_| call.version >= Version::V1_1_0) {
            interface.mtu = mtu.into();
        }
    }
}
