//! Which backend serves an attachment, and ADD, CHECK and STATUS with each.

use crate::attachment::Attachment;
use crate::config::{Backend, Config, Policy};
use crate::record::{Claim, Record, note};
use crate::{iptables, nftables};
use anyhow::{Context, anyhow, bail};
use cni_core::Call;
use netfilter::backend;
use netfilter::firewalld::Firewalld;
use netfilter::iptables::{Family, Iptables};
use plugin_kit::ipv6;
use std::net::IpAddr;

/// The backend that serves an attachment.
pub(crate) enum Server {
    Iptables,
    Nftables,
    /// What firewalld has no word for, the policies, is up to one of the others.
    Firewalld(Firewalld),
}

impl Server {
    /// The one that ADD takes.
    fn choose(config: &Config, addresses: &[IpAddr]) -> anyhow::Result<Server> {
        match config.backend {
            Backend::Iptables => Ok(Server::Iptables),
            Backend::Nftables => Ok(Server::Nftables),
            Backend::Firewalld => Ok(Server::Firewalld(running_firewalld()?)),
            Backend::Auto => Ok(match firewalld_if_any() {
                Some(firewalld) => Server::Firewalld(firewalld),
                None if iptables_or_nftables(addresses) => Server::Iptables,
                None => Server::Nftables,
            }),
        }
    }

    /// The one that ADD has taken, as far as it can be told. Upstream leaves no trace
    /// of its choice; there it is made anew.
    pub(crate) fn of_existing(config: &Config, attachment: &Attachment) -> anyhow::Result<Server> {
        if config.backend != Backend::Auto {
            return Server::choose(config, &attachment.addresses);
        }
        let records = attachment.addresses.iter().filter_map(|a| Record::read(*a));
        let mut own = records.filter(|record| record.owner == attachment.owner);
        match own.next() {
            Some(Record { zone: Some(_), .. }) => Ok(Server::Firewalld(running_firewalld()?)),
            Some(_) => Ok(Server::Iptables),
            None if nftables::is_served(attachment) => Ok(Server::Nftables),
            None => Server::choose(config, &attachment.addresses),
        }
    }

    /// Whether everything is as ADD made it.
    pub(crate) fn check(self, config: &Config, attachment: &Attachment) -> anyhow::Result<()> {
        match self {
            Server::Iptables => iptables::check(config, attachment, true),
            Server::Nftables => nftables::check(config, attachment, true),
            Server::Firewalld(mut firewalld) => {
                for address in &attachment.addresses {
                    let source = source(*address);
                    let zone = &config.zone;
                    let found = firewalld.query_source(zone, &source).with_context(|| {
                        format!("failed to find the address {source} in {zone} zone")
                    })?;
                    if !found {
                        bail!("failed to find the address {source} in {zone} zone");
                    }
                }
                match config.policy {
                    Policy::Open => Ok(()),
                    _ if iptables_or_nftables(&attachment.addresses) => {
                        iptables::check(config, attachment, false)
                    }
                    _ => nftables::check(config, attachment, false),
                }
            }
        }
    }
}

/// ADD: lets the traffic of the attachment through and enforces its policy. On an
/// error everything is as it was before.
///
/// # Errors
/// Those of the backend.
pub(crate) fn serve(config: &Config, attachment: &Attachment) -> anyhow::Result<()> {
    match Server::choose(config, &attachment.addresses)? {
        Server::Nftables => nftables::add(config, attachment, true)?,
        Server::Firewalld(firewalld) => {
            recorded(attachment, config, Some(&config.zone), || {
                with_firewalld(config, attachment, firewalld)
            })?;
        }
        Server::Iptables => {
            iptables::require_commands(&attachment.addresses)?;
            let served = recorded(attachment, config, None, || {
                iptables::add(config, attachment, true)?.keep();
                Ok(())
            });
            match served {
                // Installed, and yet of no use: an old command on a kernel that has
                // nothing but nf_tables.
                Err(error)
                    if config.backend == Backend::Auto
                        && backend::Backend::choose() == backend::Backend::Nftables =>
                {
                    note(&format!("iptables is unusable, nftables serves: {error:#}"));
                    nftables::add(config, attachment, true)?;
                }
                served => served?,
            }
        }
    }
    Ok(())
}

/// Does `work` with the addresses' records written; puts them back if it fails.
fn recorded(
    attachment: &Attachment,
    config: &Config,
    zone: Option<&String>,
    work: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let claims: Vec<Claim> = attachment
        .addresses
        .iter()
        .map(|address| Claim::make(*address))
        .collect::<Result<_, _>>()?;
    let bridge = attachment.bridge.clone();
    let record = Record {
        owner: attachment.owner.clone(),
        zone: zone.cloned(),
        bridge: bridge.map(|bridge| (bridge, config.policy.as_str().to_owned())),
    };
    // Before the rules: whatever becomes of this process, they can be found.
    for claim in &claims {
        claim.write(&record);
    }
    let done = work();
    if done.is_err() {
        for claim in claims {
            claim.restore();
        }
    }
    done
}

fn with_firewalld(
    config: &Config,
    attachment: &Attachment,
    mut firewalld: Firewalld,
) -> anyhow::Result<()> {
    let zone = &config.zone;
    let mut added = Vec::new();
    let mut add_all = || {
        for address in &attachment.addresses {
            let source = source(*address);
            let what = || format!("failed to add the address {source} to {zone} zone");
            let was_there = firewalld.query_source(zone, &source).with_context(what)?;
            if !was_there {
                firewalld.add_source(zone, &source).with_context(what)?;
                added.push(source);
            }
        }
        match config.policy {
            Policy::Open => Ok(()),
            _ if iptables_or_nftables(&attachment.addresses) => {
                iptables::add(config, attachment, false)?.keep();
                Ok(())
            }
            _ => nftables::add(config, attachment, false).map_err(anyhow::Error::from),
        }
    };
    let done = add_all();
    if done.is_err() {
        for source in added {
            if let Err(error) = firewalld.remove_source(zone, &source) {
                note(&format!(
                    "failed to take {source} out of zone {zone}: {error}"
                ));
            }
        }
    }
    done
}

/// A source as firewalld writes it: a network of one address.
pub(crate) fn source(address: IpAddr) -> String {
    let len = if address.is_ipv4() { 32 } else { 128 };
    format!("{address}/{len}")
}

/// firewalld, if it runs. Trouble in finding out counts as no.
pub(crate) fn firewalld_if_any() -> Option<Firewalld> {
    Firewalld::find().unwrap_or_else(|error| {
        note(&format!("taking it that firewalld does not run: {error}"));
        None
    })
}

fn running_firewalld() -> anyhow::Result<Firewalld> {
    Firewalld::find()?.context(
        "firewalld does not run: org.fedoraproject.FirewallD1 is not on the system bus; \
         start it, or choose another \"backend\"",
    )
}

/// Whether it is iptables: unless a command is missing, and the kernel can do
/// without.
fn iptables_or_nftables(addresses: &[IpAddr]) -> bool {
    let mut families = addresses.iter().map(|address| Family::of(*address));
    families.all(|family| Iptables::find(family).is_ok())
        || backend::Backend::Nftables.probe(false).is_err()
}

/// STATUS: whether the backend can be used.
///
/// # Errors
/// Why it cannot.
pub(crate) fn status(config: &Config, call: &Call) -> anyhow::Result<()> {
    let needs_ipv6 = ipv6::is_configured(&call.conf);
    let (iptables, nftables) = (backend::Backend::Iptables, backend::Backend::Nftables);
    match config.backend {
        Backend::Iptables => Ok(iptables.probe(needs_ipv6)?),
        Backend::Nftables => Ok(nftables.probe(needs_ipv6)?),
        Backend::Firewalld => running_firewalld().map(drop),
        Backend::Auto if firewalld_if_any().is_some() => Ok(()),
        Backend::Auto => match (iptables.probe(needs_ipv6), nftables.probe(needs_ipv6)) {
            (Ok(()), _) | (_, Ok(())) => Ok(()),
            (Err(iptables), Err(nftables)) => Err(anyhow!(
                "firewalld does not run, iptables is not usable ({iptables}), \
                 nor is nftables ({nftables})"
            )),
        },
    }
}
