//! The choice of a backend, and ADD, CHECK and STATUS with each of them.

use crate::attachment::Attachment;
use crate::config::{Backend, Config, Policy};
use crate::record::{BridgePolicy, Claim, Record, note};
use crate::{iptables, nftables};
use anyhow::{Context, anyhow, bail};
use cni_core::Call;
use cni_core::confine::Needs;
use netfilter::backend;
use netfilter::firewalld::Firewalld;
use netfilter::iptables::{Family, Iptables};
use plugin_kit::ipv6;
use std::net::IpAddr;

/// The backend of one attachment.
pub(crate) enum Chosen {
    Iptables,
    Nftables,
    /// firewalld has no ingress policies; one of the others enforces them.
    Firewalld(Firewalld),
}

/// Returns what a call needs. Commands are executed unless the configuration names nftables
/// and nothing is recorded of other backends, as an earlier configuration may have had.
pub(crate) fn needs(call: &Call) -> Needs {
    let needs = Needs::network().write("/run/cni");
    let backend = Config::load_leniently(call).backend;
    match backend == Backend::Nftables && Record::all().is_empty() {
        true => needs,
        false => needs.executing(),
    }
}

impl Chosen {
    /// Returns the backend that ADD uses.
    fn for_add(config: &Config, addresses: &[IpAddr]) -> anyhow::Result<Chosen> {
        match config.backend {
            Backend::Iptables => Ok(Chosen::Iptables),
            Backend::Nftables => Ok(Chosen::Nftables),
            Backend::Firewalld => Ok(Chosen::Firewalld(running_firewalld()?)),
            Backend::Auto => Ok(match firewalld_if_running() {
                Some(firewalld) => Chosen::Firewalld(firewalld),
                None if prefers_iptables(addresses) => Chosen::Iptables,
                None => Chosen::Nftables,
            }),
        }
    }

    /// Returns the backend that ADD has used, as far as it can be told. Upstream does
    /// not record its choice, so for its attachments the choice is made again.
    pub(crate) fn for_check(config: &Config, attachment: &Attachment) -> anyhow::Result<Chosen> {
        if config.backend != Backend::Auto {
            return Chosen::for_add(config, &attachment.addresses);
        }
        let records = attachment.addresses.iter().filter_map(|a| Record::read(*a));
        let mut own = records.filter(|record| record.owner == attachment.owner);
        match own.next() {
            Some(Record { zone: Some(_), .. }) => Ok(Chosen::Firewalld(running_firewalld()?)),
            Some(_) => Ok(Chosen::Iptables),
            None if nftables::has_addresses(attachment) => Ok(Chosen::Nftables),
            None => Chosen::for_add(config, &attachment.addresses),
        }
    }

    /// Compares everything with what ADD makes.
    ///
    /// # Errors
    /// At the first difference.
    pub(crate) fn check(self, config: &Config, attachment: &Attachment) -> anyhow::Result<()> {
        match self {
            Chosen::Iptables => iptables::check(config, attachment, true),
            Chosen::Nftables => nftables::check(config, attachment, true),
            Chosen::Firewalld(mut firewalld) => {
                check_sources(&mut firewalld, &config.zone, &attachment.addresses)?;
                match config.policy {
                    Policy::Open => Ok(()),
                    _ if prefers_iptables(&attachment.addresses) => {
                        iptables::check(config, attachment, false)
                    }
                    _ => nftables::check(config, attachment, false),
                }
            }
        }
    }
}

fn check_sources(
    firewalld: &mut Firewalld,
    zone: &str,
    addresses: &[IpAddr],
) -> anyhow::Result<()> {
    for address in addresses {
        let source = source(*address);
        let what = || format!("failed to find the address {source} in {zone} zone");
        if !firewalld.query_source(zone, &source).with_context(what)? {
            bail!("{}", what());
        }
    }
    Ok(())
}

/// ADD: accepts the traffic of the attachment and enforces its policy.
///
/// # Errors
/// Those of the backend; nothing is changed then.
pub(crate) fn add(config: &Config, attachment: &Attachment) -> anyhow::Result<()> {
    match Chosen::for_add(config, &attachment.addresses)? {
        Chosen::Nftables => nftables::add(config, attachment, true)?,
        Chosen::Firewalld(firewalld) => {
            with_records(attachment, config, Some(&config.zone), || {
                add_to_firewalld(config, attachment, firewalld)
            })?;
        }
        Chosen::Iptables => {
            iptables::require_commands(&attachment.addresses)?;
            let added = with_records(attachment, config, None, || {
                iptables::add(config, attachment, true)?.keep();
                Ok(())
            });
            match added {
                // The command is installed but does not work, such as an old legacy
                // variant on a kernel that has only nf_tables.
                Err(error)
                    if config.backend == Backend::Auto
                        && backend::Backend::choose() == backend::Backend::Nftables =>
                {
                    note(&format!(
                        "iptables does not work, using nftables: {error:#}"
                    ));
                    nftables::add(config, attachment, true)?;
                }
                added => added?,
            }
        }
    }
    Ok(())
}

/// Runs `work` after writing the records of the addresses; restores them if it fails.
fn with_records(
    attachment: &Attachment,
    config: &Config,
    zone: Option<&str>,
    work: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let claims: Vec<Claim> = attachment
        .addresses
        .iter()
        .map(|address| Claim::make(*address))
        .collect::<Result<_, _>>()?;
    let policy = attachment.bridge.as_ref().map(|bridge| BridgePolicy {
        bridge: bridge.clone(),
        policy: config.policy,
    });
    // Before the rules are added, so that they can be found if this process is killed.
    for claim in &claims {
        claim.write(&attachment.owner, zone, policy.as_ref());
    }
    let done = work();
    if done.is_err() {
        for claim in claims {
            claim.restore();
        }
    }
    done
}

fn add_to_firewalld(
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
            _ if prefers_iptables(&attachment.addresses) => {
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
                    "failed to remove {source} from zone {zone}: {error}"
                ));
            }
        }
    }
    done
}

/// Returns the source of an address as firewalld writes it.
pub(crate) fn source(address: IpAddr) -> String {
    let len = if address.is_ipv4() { 32 } else { 128 };
    format!("{address}/{len}")
}

/// Returns firewalld if it runs. An error counts as not running, with a warning.
pub(crate) fn firewalld_if_running() -> Option<Firewalld> {
    Firewalld::find().unwrap_or_else(|error| {
        note(&format!("assuming that firewalld does not run: {error}"));
        None
    })
}

fn running_firewalld() -> anyhow::Result<Firewalld> {
    Firewalld::find()?.context(
        "firewalld does not run: org.fedoraproject.FirewallD1 is not on the system bus; \
         start it, or set another \"backend\"",
    )
}

/// Returns whether iptables is used: unless a command is missing and nftables works.
fn prefers_iptables(addresses: &[IpAddr]) -> bool {
    let mut families = addresses.iter().map(|address| Family::of(*address));
    families.all(|family| Iptables::find(family).is_ok())
        || backend::Backend::Nftables.probe(false).is_err()
}

/// STATUS: tests whether the backend works.
///
/// # Errors
/// If it does not, with the reason.
pub(crate) fn status(config: &Config, call: &Call) -> anyhow::Result<()> {
    let needs_ipv6 = ipv6::is_configured(&call.conf);
    let (iptables, nftables) = (backend::Backend::Iptables, backend::Backend::Nftables);
    match config.backend {
        Backend::Iptables => Ok(iptables.probe(needs_ipv6)?),
        Backend::Nftables => Ok(nftables.probe(needs_ipv6)?),
        Backend::Firewalld => running_firewalld().map(drop),
        Backend::Auto if firewalld_if_running().is_some() => Ok(()),
        Backend::Auto => match (iptables.probe(needs_ipv6), nftables.probe(needs_ipv6)) {
            (Ok(()), _) | (_, Ok(())) => Ok(()),
            (Err(iptables), Err(nftables)) => Err(anyhow!(
                "firewalld does not run, iptables is not usable ({iptables}), \
                 nor is nftables ({nftables})"
            )),
        },
    }
}
