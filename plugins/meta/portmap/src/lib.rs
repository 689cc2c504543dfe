//! The portmap plugin: maps ports of the host to ports of a container. It is chained
//! behind the plugin that gives the container its addresses.

mod attachment;
mod conditions;
mod config;
mod conntrack;
mod iptables;
mod mapping;
mod nftables;
mod record;
mod route_localnet;
mod teardown;

pub use conditions::{Comparison, Conditions};
pub use config::{Config, Form};
pub use mapping::{Mapping, Protocol};

use anyhow::{Context, anyhow};
use attachment::targets;
use cni_core::confine::Needs;
use cni_core::{AddResult, Call, Cidr, Command, Error, Plugin};
use cni_state::Owner;
use netfilter::backend::Backend;
use netfilter::iptables::{Family, Iptables};
use netfilter::nft::NftCommand;
use plugin_kit::status::{not_available_unless, way_out_of_filter};
use plugin_kit::{Undo, ipv6, state};
use record::{Recorded, RuleLocation, record_of};
use teardown::Teardown;

/// The plugin.
#[derive(Debug)]
pub struct Portmap;

impl Plugin for Portmap {
    fn name(&self) -> &'static str {
        "portmap"
    }

    fn needs(&self, call: &Call) -> Option<Needs> {
        let needs = Needs::network().write("/run/cni");
        Some(match executes_nothing(call) {
            true => needs,
            false => needs.executing(),
        })
    }

    fn add(&self, call: &Call) -> anyhow::Result<AddResult> {
        let config = Config::load(call).map_err(in_config)?;
        let result = prev_result(call)
            .map_err(in_config)?
            .context("must be called as chained plugin")?;
        let targets = targets(&result, &call.if_name);
        if config.mappings.is_empty() || targets.is_empty() {
            return Ok(result);
        }
        let owner = state::owner(call);
        let mut undo = Undo::new();
        let old = begin_record(&owner, &targets, &mut undo);
        if config.snat {
            for target in &targets {
                route_localnet::allow(*target, &mut undo)?;
            }
        }
        let location = add_rules(&owner, &config, &targets, old.as_ref())?;
        let recorded = Recorded {
            targets: targets.clone(),
            location,
        };
        record::write(&record_of(&owner), &recorded);
        if let Some(old) = old.filter(|old| !old.is_like(&recorded.location)) {
            // Rules of an ADD with another backend.
            Teardown::of(&owner, &config, &targets).run(&old)?;
        }
        conntrack::flush(&config.mappings, has(&targets, true), has(&targets, false));
        undo.disarm();
        Ok(result)
    }

    fn del(&self, call: &Call) -> anyhow::Result<()> {
        let owner = state::owner(call);
        let record = record_of(&owner);
        let mappings = mapping::mappings_to_delete(&call.conf);
        let recorded = record.read::<Recorded>();
        if mappings.is_none() && recorded.is_none() {
            return Ok(());
        }
        let mappings = mappings.unwrap_or_default();
        let (recorded_targets, location) = match recorded {
            Some(recorded) => (recorded.targets, recorded.location),
            None => (Vec::new(), RuleLocation::Unknown),
        };
        // prevResult may be missing or invalid.
        let result = call.prev_result().ok().flatten();
        let targets = result.map_or(recorded_targets, |result| targets(&result, &call.if_name));
        let teardown = Teardown {
            owner: &owner,
            mappings: &mappings,
            targets: &targets,
            conditions: config::conditions_to_delete(&call.conf),
        };
        teardown.run(&location)?;
        conntrack::flush(&mappings, true, true);
        record::remove(&record);
        Ok(())
    }

    fn check(&self, call: &Call) -> anyhow::Result<()> {
        let config = Config::load(call)?;
        let result = prev_result(call)?.context("Required prevResult missing")?;
        let targets = targets(&result, &call.if_name);
        if config.mappings.is_empty() || targets.is_empty() {
            return Ok(());
        }
        let owner = state::owner(call);
        let recorded = record_of(&owner).read::<Recorded>();
        let backend =
            config
                .backend
                .unwrap_or_else(|| match recorded.map(|recorded| recorded.location) {
                    Some(RuleLocation::Iptables { .. }) => Backend::Iptables,
                    Some(RuleLocation::Rules(_) | RuleLocation::Map) => Backend::Nftables,
                    Some(RuleLocation::Unknown) | None => Backend::choose(),
                });
        match (backend, config.form) {
            (Backend::Iptables, _) => iptables::check(&owner, &config, &targets)?,
            (_, Form::Rules) => nftables::rules::check(&owner, &config, &targets)?,
            (_, Form::Map) => nftables::map::check(&owner, &config, &targets)?,
        }
        match config.snat {
            true => targets.into_iter().try_for_each(route_localnet::check),
            false => Ok(()),
        }
    }

    fn gc(&self, call: &Call) -> anyhow::Result<()> {
        match call.valid_attachments()? {
            Some(valid) => teardown::collect(call, &valid),
            None => Ok(()),
        }
    }

    fn status(&self, call: &Call) -> anyhow::Result<()> {
        let config = Config::load(call)?;
        let backend = config.backend.unwrap_or_else(Backend::choose);
        let needs_ipv6 = ipv6::is_configured(&call.conf) || !config.conditions_v6.is_empty();
        backend.probe(needs_ipv6).map_err(|error| {
            let why = anyhow!("{} cannot be used: {error}", backend.as_str());
            not_available_unless(why, way_out_of_filter(backend))
        })?;
        if backend == Backend::Nftables && config.needs_nft_command()? {
            NftCommand::find().map_err(|error| {
                let why = anyhow!("the conditions cannot be used: {error}");
                not_available_unless(why, "install the command nft (package nftables)")
            })?;
        }
        Ok(())
    }
}

/// Returns whether the verb executes no command: those of iptables, or `nft` for conditions
/// in its language.
fn executes_nothing(call: &Call) -> bool {
    let recorded = record_of(&state::owner(call)).read::<Recorded>();
    let location = recorded.map(|recorded| recorded.location);
    let is_in_nftables = matches!(location, Some(RuleLocation::Rules(_) | RuleLocation::Map));
    let is_for_nftables = || {
        let config = Config::load(call);
        config.is_ok_and(|config| {
            config.backend == Some(Backend::Nftables)
                && config.needs_nft_command().is_ok_and(|needs| !needs)
        })
    };
    match call.command {
        // Looks in both backends.
        Command::Gc => false,
        Command::Del => is_in_nftables,
        _ => (is_in_nftables || location.is_none()) && is_for_nftables(),
    }
}

/// Returns the result of the plugins before.
fn prev_result(call: &Call) -> anyhow::Result<Option<AddResult>> {
    // With the doubled words of upstream: Call::prev_result has them once.
    call.prev_result().context("could not parse prevResult")
}

/// Prefixes the message as upstream does; the code and the details stay.
fn in_config(error: anyhow::Error) -> anyhow::Error {
    let mut error = Error::from_chain(&error);
    error.msg = format!("failed to parse config: {}", error.msg);
    error.into()
}

fn has(targets: &[Cidr], ipv4: bool) -> bool {
    targets.iter().any(|target| target.is_ipv4() == ipv4)
}

/// Records the attachment before it has rules, unless it is recorded already. Returns
/// where an earlier ADD left rules.
fn begin_record(owner: &Owner, targets: &[Cidr], undo: &mut Undo<'_>) -> Option<RuleLocation> {
    let record = record_of(owner);
    if let Some(old) = record.read::<Recorded>() {
        return Some(old.location);
    }
    let recorded = Recorded {
        targets: targets.to_vec(),
        location: RuleLocation::Unknown,
    };
    record::write(&record, &recorded);
    undo.push("remove the record", move || Ok(record.remove()?));
    None
}

/// Adds the rules by the configured backend, or else by the one that works.
fn add_rules(
    owner: &Owner,
    config: &Config,
    targets: &[Cidr],
    old: Option<&RuleLocation>,
) -> anyhow::Result<RuleLocation> {
    let by_nftables = || add_to_nftables(owner, config, targets, old);
    match config.backend {
        Some(Backend::Nftables) => by_nftables(),
        Some(Backend::Iptables) => add_to_iptables(owner, config, targets),
        // Whether iptables works is seen by using it: to ask first would take as long.
        None => {
            if Iptables::find(Family::V4).is_err() && Backend::choose() == Backend::Nftables {
                return by_nftables();
            }
            add_to_iptables(owner, config, targets).or_else(|error| match Backend::choose() {
                Backend::Iptables => Err(error),
                Backend::Nftables => by_nftables(),
            })
        }
    }
}

fn add_to_nftables(
    owner: &Owner,
    config: &Config,
    targets: &[Cidr],
    old: Option<&RuleLocation>,
) -> anyhow::Result<RuleLocation> {
    match config.form {
        Form::Map => {
            nftables::map::add(owner, config, targets, old.is_some())?;
            Ok(RuleLocation::Map)
        }
        Form::Rules => {
            let rules = nftables::rules::add(owner, config, targets, old)?;
            Ok(RuleLocation::Rules(rules))
        }
    }
}

/// A transaction for each family; a failing one undoes those before.
fn add_to_iptables(
    owner: &Owner,
    config: &Config,
    targets: &[Cidr],
) -> anyhow::Result<RuleLocation> {
    let mut undo = Undo::new();
    let is_shared = record_of(owner).has_sibling();
    for target in targets {
        iptables::add(owner, config, *target, is_shared)?;
        let ipv4 = target.is_ipv4();
        let family = if ipv4 { Family::V4 } else { Family::V6 };
        undo.push("remove the rules", move || {
            let conditions = config.conditions(ipv4);
            let shared_by = is_shared.then_some(targets);
            iptables::delete(owner, &config.mappings, conditions, family, shared_by)
        });
    }
    undo.disarm();
    Ok(RuleLocation::Iptables {
        ipv4: has(targets, true),
        ipv6: has(targets, false),
    })
}
