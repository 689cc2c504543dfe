//! DEL: deletes the rules and restores the routes of the main table.

use crate::address::Address;
use crate::config::Config;
use crate::plan::hint;
use crate::record::Record;
use crate::step::restored;
use crate::tables::Tables;
use anyhow::{Context, anyhow};
use cni_core::Call;
use plugin_kit::chain::note;
use plugin_kit::failures::Failures;
use plugin_kit::{Container, detailed};
use rtnl::{Link, Request, RuleSpec};
use std::net::IpAddr;

/// Undoes the ADD of `call`. Without a record, the ADD was upstream's, or GC took the record.
///
/// # Errors
/// When a rule cannot be deleted. All other changes are made nevertheless.
pub(crate) fn run(
    call: &Call,
    container: &Container,
    record: Option<&Record>,
) -> anyhow::Result<()> {
    let link = match container.rtnl.link_by_name(&call.if_name) {
        Ok(link) => Some(link),
        Err(e) if e.is_not_found() => None,
        Err(e) => return Err(anyhow!(e).context(format!("Failed to get link {}", call.if_name))),
    };
    let index = link.as_ref().map_or(0, |link| link.index);
    let tables = Tables::read(&container.rtnl, index)?;
    let found;
    let record = match record {
        Some(record) => record,
        None => {
            found = reconstructed(call, container, link.as_ref(), &tables)?;
            &found
        }
    };
    let rules = record.rules.iter();
    let mut rules: Vec<RuleSpec> = rules
        .map(|(from, table)| RuleSpec::from_address(*from, *table))
        .collect();
    let is_filled = |table: u32| {
        !record.configured.contains(&table) && tables.own_routes(table).next().is_some()
    };
    let in_force = rules
        .iter()
        .any(|rule| tables.has_rule(rule) || is_filled(rule.table));
    if let Some(link) = &link
        && record.index == link.index
        && in_force
    {
        restore_routes(container, record, &tables, link);
    }
    rules.retain(|rule| tables.has_rule(rule));
    delete(container, &rules)
}

/// The record of an ADD that has none: the existing rules for the addresses that the interface
/// or the result has, and the routes that only their tables have.
fn reconstructed(
    call: &Call,
    container: &Container,
    link: Option<&Link>,
    tables: &Tables,
) -> anyhow::Result<Record> {
    // An unreadable result is ignored.
    let result = call.prev_result().ok().flatten().unwrap_or_default();
    let all = Address::all(call, &result, &[]);
    let mut addresses: Vec<IpAddr> = all.iter().map(Address::ip).collect();
    if let Some(link) = link {
        let present = container.rtnl.addresses(link.index, None);
        let present = present.context("Failed to list all addrs")?;
        addresses.extend(present.iter().map(|address| address.addr));
    }
    addresses.sort();
    addresses.dedup();
    let table = Config::load(call).ok().and_then(|config| config.table);
    let rules = addresses.into_iter().flat_map(|address| {
        let found: Vec<u32> = match table {
            Some(table) => vec![table],
            None => tables.rules_from(address).collect(),
        };
        found.into_iter().map(move |table| (address, table))
    });
    let rules: Vec<(IpAddr, u32)> = rules.collect();
    // A configured table is filled by others.
    match (link, table) {
        (Some(link), None) => Ok(Record::of_tables(tables, link.index, rules, &result)),
        _ => Ok(Record {
            rules,
            ..Record::default()
        }),
    }
}

/// Restores the routes of the main table and empties the tables that ADD has filled. Routes
/// that the interface cannot have because it is down or lost its addresses are only
/// logged.
fn restore_routes(container: &Container, record: &Record, tables: &Tables, link: &Link) {
    let mut requests = Vec::new();
    for cidr in &record.hints {
        requests.push(Request::del_route(&hint(*cidr, link.index)));
    }
    for (copy, behind) in &record.routes {
        requests.push(restored(copy, *behind));
    }
    for rule in &record.rules {
        if !record.configured.contains(&rule.1) && !tables.is_shared(rule) {
            requests.extend(tables.own_routes(rule.1).map(Request::del_raw_route));
        }
    }
    if requests.is_empty() {
        return;
    }
    for reply in container.rtnl.batch(requests) {
        if let Err(e) = reply
            && !e.is_not_found()
            && !e.is_exists()
        {
            note(&format!("failed to {}: {e}", e.what()));
        }
    }
}

fn delete(container: &Container, rules: &[RuleSpec]) -> anyhow::Result<()> {
    if rules.is_empty() {
        return Ok(());
    }
    let requests = rules.iter().map(Request::del_rule).collect();
    let mut failures = Failures::default();
    for reply in container.rtnl.batch(requests) {
        if let Err(e) = reply
            && !e.is_not_found()
        {
            let error = detailed(format!("Failed to delete rule {e}"), e.what());
            failures.push(error);
        }
    }
    failures.result()
}
