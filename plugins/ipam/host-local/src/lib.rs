//! The `host-local` IPAM plugin: allocates addresses from configured ranges and records
//! them in files on the node.
//!
//! See `Documentation/plugins/host-local.md` for the configuration and the files.

mod allocator;
mod choice;
mod config;
mod freed;
mod index;
mod last_reserved;
mod lock;
mod origin;
mod range;
mod reservation;
mod resolv_conf;
mod state_dir;
mod sticky;
mod store;
mod sys;
mod text_file;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context as _, bail};
use cni_core::confine::Needs;
use cni_core::{AddResult, Call, Code, Dns, Error, Plugin};
use cni_state::released;

use config::Config;
use origin::{Here, Origin};
use reservation::Relation;
use store::{Content, Owner, Store};

/// The plugin.
#[derive(Clone, Copy, Debug)]
pub struct HostLocal;

impl Plugin for HostLocal {
    fn name(&self) -> &'static str {
        "host-local"
    }

    fn needs(&self, call: &Call) -> Option<Needs> {
        Some(config::needs(call))
    }

    /// Reserves one address of each range set, all under one lock. A failed ADD leaves
    /// nothing behind.
    fn add(&self, call: &Call) -> anyhow::Result<AddResult> {
        let config = Config::read(call)?;
        let dns = match &config.resolv_conf {
            Some(path) => resolv_conf::read(path)?,
            None => Dns::default(),
        };
        let (owner, here) = (owner(call), Here::read());
        let origin = here.and_then(|here| Origin::of(&call.netns, here));
        let mut store = Store::open(&config.directory)?;
        store.set_origin(origin);
        store.set_cool_down(config.cool_down.is_some());
        store.allow_reclaim(here.filter(|_| config.reclaim));
        store.reclaim_once_per_boot()?;
        let ips = allocator::allocate_all(&mut store, &owner, &config)?;
        store.mark_boot();
        Ok(AddResult {
            ips,
            routes: config.routes,
            dns,
            ..AddResult::default()
        })
    }

    /// Frees the attachment's addresses. The configured ranges do not matter.
    fn del(&self, call: &Call) -> anyhow::Result<()> {
        match open_to_release(call)? {
            Some(mut store) => store.free_all(&owner(call)),
            None => Ok(()),
        }
    }

    /// Checks that every address of `prevResult` in a range of this network is reserved
    /// for the attachment; without such an address, that the attachment has any.
    fn check(&self, call: &Call) -> anyhow::Result<()> {
        let config = Config::read(call)?;
        let owner = owner(call);
        let not_found = || {
            format!(
                "host-local: Failed to find address added by container {}",
                owner.id()
            )
        };
        let ips = call.prev_result()?.unwrap_or_default().ips;
        let ips = ips.iter().map(|ip| ip.address.addr());
        let ours = ips.filter(|ip| config.sets.iter().any(|set| set.contains(*ip)));
        let mut store = Store::open_to_read(&config.directory)?.with_context(not_found)?;
        let mut checked = false;
        for ip in ours {
            let content = store.content(ip);
            if owner.relation(&content) == Relation::Other {
                let details = format!("{ip} is {content}");
                let error = Error::new(Code::INTERNAL, not_found()).with_details(details);
                return Err(error.into());
            }
            checked = true;
        }
        if !checked && store.held_by(&owner)?.all().next().is_none() {
            bail!(not_found());
        }
        Ok(())
    }

    /// Frees the addresses that are not reserved for a valid attachment.
    fn gc(&self, call: &Call) -> anyhow::Result<()> {
        let Some(valid) = call.valid_attachments()? else {
            return Ok(());
        };
        let valid = valid
            .iter()
            .map(|one| (one.container_id.as_str(), one.if_name.as_str()));
        let valid: BTreeSet<(&str, &str)> = valid.collect();
        released::age(&call.name)?;
        match open_to_release(call)? {
            Some(mut store) => store.retain(
                |content| is_valid(content, &valid),
                |ip, content, path| note_released(&call.name, ip, content, path),
            ),
            None => Ok(()),
        }
    }

    /// Checks, without changing anything, whether an ADD could succeed.
    fn status(&self, call: &Call) -> anyhow::Result<()> {
        let config = Config::read_for_status(call)?;
        let unavailable = |details: String| {
            Error::new(
                Code::PLUGIN_NOT_AVAILABLE,
                "host-local cannot reserve addresses",
            )
            .with_details(details)
        };
        // Without configured ranges, the runtime passes them with each ADD.
        let sets = config.sets.len().max(1);
        let way_out = "make room or repair that, or set ipam.dataDir to another directory";
        state_dir::usable(&config.directory, sets)
            .map_err(|obstacle| unavailable(format!("{obstacle}; {way_out}")))?;
        let Some(mut store) = Store::open_to_read(&config.directory)? else {
            return Ok(());
        };
        store.allow_reclaim(Here::read().filter(|_| config.reclaim));
        match allocator::first_exhausted(&mut store, &config)? {
            Some(text) => Err(unavailable(text).into()),
            None => Ok(()),
        }
    }
}

fn owner(call: &Call) -> Owner {
    Owner::new(&call.container_id, &call.if_name)
}

/// Opens the state for DEL or GC.
fn open_to_release(call: &Call) -> anyhow::Result<Option<Store>> {
    let (directory, cools_down) = config::of_release(call)?;
    let mut store = Store::open_to_release(&directory)?;
    if let Some(store) = &mut store {
        store.set_cool_down(cools_down);
    }
    Ok(store)
}

/// Leaves a note for GC of the other plugins if another implementation has made the
/// reservation, since this boot: what is in the kernel did not survive that.
fn note_released(network: &str, ip: IpAddr, content: &Content, path: &Path) -> anyhow::Result<()> {
    let Some(id) = content.id().filter(|_| origin::is_foreign(path)) else {
        return Ok(());
    };
    // Very old releases recorded no interface.
    let if_name = content.if_name().unwrap_or("eth0");
    let owner = cni_state::Owner::new(network, id, if_name);
    released::note(&owner, ip, path).with_context(|| format!("cannot note that {ip} is released"))
}

/// Returns whether a reservation belongs to a valid attachment. One without an interface
/// name belongs to any interface of its container. An unreadable one counts as valid.
fn is_valid(content: &Content, valid: &BTreeSet<(&str, &str)>) -> bool {
    match content {
        Content::Held {
            id,
            if_name: Some(name),
        } => valid.contains(&(id, name)),
        Content::Held { id, if_name: None } => valid
            .range((id.as_str(), "")..)
            .next()
            .is_some_and(|(first, _)| first == id),
        Content::Unknown => true,
        Content::Empty => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservations_of_valid_attachments_are_valid() {
        let valid = BTreeSet::from([("b", "eth0"), ("b", "eth1"), ("d", "net1")]);
        let held = |id: &str, if_name: Option<&str>| Content::Held {
            id: id.into(),
            if_name: if_name.map(Into::into),
        };
        for (content, expected) in [
            (held("b", Some("eth0")), true),
            (held("b", Some("eth2")), false),
            (held("b", None), true),
            (held("a", None), false),
            (held("c", None), false),
            (held("d", None), true),
            (held("d", Some("eth0")), false),
            (held("e", None), false),
            (Content::Unknown, true),
            (Content::Empty, false),
        ] {
            assert_eq!(is_valid(&content, &valid), expected, "{content}");
        }
    }
}
