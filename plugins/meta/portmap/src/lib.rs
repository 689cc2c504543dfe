//! The portmap plugin: makes ports of the host lead to ports of a container. Runs
//! behind the plugin that has given the container its addresses.

mod attachment;
mod conditions;
mod config;
mod iptables;
mod localhost;
mod nftables;
mod record;
mod removal;
mod stale;

pub use conditions::{Comparison, Conditions};
pub use config::{Config, Form, Mapping, Protocol};

use anyhow::Context;
use attachment::{Attachment, targets};
use cni_core::{AddResult, Call, Cidr, Error, Plugin};
use netfilter::backend::Backend;
use netfilter::iptables::{Family, Iptables};
use netfilter::nft::NftCommand;
use plugin_kit::single_interface::not_available;
use plugin_kit::{Undo, ipv6};
use record::{Record, Whereabouts};

/// The plugin.
#[derive(Debug)]
pub struct Portmap;

impl Plugin for Portmap {
    fn name(&self) -> &'static str {
        "portmap"
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
        let attachment = Attachment::of(call);
        let record = Record::of(&attachment);
        let mut undo = Undo::new();
        let old = match record.begin() {
            true => {
                undo.push("forget the attachment", || {
                    record.remove();
                    Ok(())
                });
                None
            }
            false => record.read(),
        };
        for target in &targets {
            if config.snat {
                localhost::allow(*target, &mut undo)?;
            }
        }
        let whereabouts = add_rules(&attachment, &config, &targets, old.as_ref())?;
        record.write(&whereabouts);
        if let Some(old) = old.filter(|old| !old.is_like(&whereabouts)) {
            // What an ADD with another backend left behind.
            removal::Removal::of(&attachment, &config, &targets).run(Some(old))?;
        }
        let has = |ipv4| targets.iter().any(|target| target.is_ipv4() == ipv4);
        stale::flush(&config.mappings, has(true), has(false));
        undo.disarm();
        Ok(result)
    }

    fn del(&self, call: &Call) -> anyhow::Result<()> {
        let attachment = Attachment::of(call);
        let record = Record::of(&attachment);
        let mappings = config::mappings_to_delete(&call.conf);
        let remembered = record.read();
        if mappings.is_none() && remembered.is_none() {
            return Ok(());
        }
        let mappings = mappings.unwrap_or_default();
        // It may be missing, and wrong.
        let result = call.prev_result().ok().flatten();
        let targets = result.map(|result| targets(&result, &call.if_name));
        let removal = removal::Removal {
            attachment,
            mappings: &mappings,
            targets: &targets.unwrap_or_default(),
            conditions: config::conditions_to_delete(&call.conf),
            is_iptables_optional: config::backend_to_delete(&call.conf) == Some(Backend::Nftables),
        };
        removal.run(remembered)?;
        stale::flush(&mappings, true, true);
        record.remove();
        Ok(())
    }

    fn check(&self, call: &Call) -> anyhow::Result<()> {
        let config = Config::load(call)?;
        let result = prev_result(call)?.context("Required prevResult missing")?;
        let targets = targets(&result, &call.if_name);
        if config.mappings.is_empty() || targets.is_empty() {
            return Ok(());
        }
        let attachment = Attachment::of(call);
        let backend = match (Record::of(&attachment).read(), config.backend) {
            (_, Some(backend)) => backend,
            (Some(Whereabouts::Iptables { .. }), _) => Backend::Iptables,
            (Some(Whereabouts::Rules(_) | Whereabouts::Map), _) => Backend::Nftables,
            _ => Backend::choose(),
        };
        match (backend, config.form) {
            (Backend::Iptables, _) => iptables::check(&attachment, &config, &targets)?,
            (_, Form::Rules) => nftables::rules::check(&attachment, &config, &targets)?,
            (_, Form::Map) => nftables::map::check(&attachment, &config, &targets)?,
        }
        match config.snat {
            true => targets.into_iter().try_for_each(localhost::check),
            false => Ok(()),
        }
    }

    fn gc(&self, call: &Call) -> anyhow::Result<()> {
        match call.valid_attachments()? {
            Some(valid) => removal::collect(&call.name, &valid),
            None => Ok(()),
        }
    }

    fn status(&self, call: &Call) -> anyhow::Result<()> {
        let config = Config::load(call)?;
        let backend = config.backend.unwrap_or_else(Backend::choose);
        let needs_ipv6 = ipv6::is_configured(&call.conf) || !config.conditions_v6.is_empty();
        backend.probe(needs_ipv6).map_err(|error| {
            not_available(format!("{} cannot be used: {error}", backend.as_str()))
        })?;
        match backend == Backend::Nftables && config.needs_nft_command()? {
            true => NftCommand::find()
                .map(drop)
                .map_err(|error| not_available(format!("the conditions cannot be used: {error}"))),
            false => Ok(()),
        }
    }
}

/// The result of the plugins in front.
fn prev_result(call: &Call) -> anyhow::Result<Option<AddResult>> {
    call.prev_result().context("could not parse prevResult")
}

/// Prefixes the message as upstream does; the code and the details stay.
fn in_config(error: anyhow::Error) -> anyhow::Error {
    let mut error = Error::from_chain(&error);
    error.msg = format!("failed to parse config: {}", error.msg);
    error.into()
}

/// Adds the rules by the backend that is configured, or else by the one that works.
fn add_rules(
    attachment: &Attachment<'_>,
    config: &Config,
    targets: &[Cidr],
    old: Option<&Whereabouts>,
) -> anyhow::Result<Whereabouts> {
    let by_nftables = || add_to_nftables(attachment, config, targets, old);
    match config.backend {
        Some(Backend::Nftables) => by_nftables(),
        Some(Backend::Iptables) => add_to_iptables(attachment, config, targets),
        // Whether iptables works is seen by using it: to ask first would take as long.
        None => {
            if Iptables::find(Family::V4).is_err() && Backend::choose() == Backend::Nftables {
                return by_nftables();
            }
            add_to_iptables(attachment, config, targets).or_else(|error| match Backend::choose() {
                Backend::Iptables => Err(error),
                Backend::Nftables => by_nftables(),
            })
        }
    }
}

fn add_to_nftables(
    attachment: &Attachment<'_>,
    config: &Config,
    targets: &[Cidr],
    old: Option<&Whereabouts>,
) -> anyhow::Result<Whereabouts> {
    if config.form == Form::Map {
        nftables::map::add(attachment, config, targets, old.is_some())?;
        return Ok(Whereabouts::Map);
    }
    let places = old.map(|old| match old {
        Whereabouts::Rules(places) => places.as_slice(),
        _ => &[],
    });
    nftables::rules::add(attachment, config, targets, places).map(Whereabouts::Rules)
}

/// A transaction for each family; a failing one undoes those before.
fn add_to_iptables(
    attachment: &Attachment<'_>,
    config: &Config,
    targets: &[Cidr],
) -> anyhow::Result<Whereabouts> {
    let mut undo = Undo::new();
    let shared = Record::of(attachment).has_sibling();
    for target in targets {
        iptables::add(attachment, config, *target, shared)?;
        let ipv4 = target.is_ipv4();
        let family = if ipv4 { Family::V4 } else { Family::V6 };
        undo.push("remove the rules", move || {
            let conditions = config.conditions(ipv4);
            let shared_by = shared.then_some(targets);
            iptables::delete(attachment, &config.mappings, conditions, family, shared_by)
        });
    }
    undo.disarm();
    let has = |ipv4| targets.iter().any(|target| target.is_ipv4() == ipv4);
    Ok(Whereabouts::Iptables {
        ipv4: has(true),
        ipv6: has(false),
    })
}
