//! CHECK: compares rules and routes with those of ADD.

use crate::address::Address;
use crate::config::Config;
use crate::plan;
use crate::record::Record;
use crate::tables::Tables;
use anyhow::{Context, bail};
use plugin_kit::Container;
use rtnl::{Link, RT_TABLE_MAIN, RawRoute};

/// Checks rules, routes and source hints.
///
/// # Errors
/// Names the first one that is missing.
pub(crate) fn run(
    container: &Container,
    config: &Config,
    link: &Link,
    all: &[Address],
    record: Option<&Record>,
) -> anyhow::Result<()> {
    let tables = Tables::read(&container.rtnl, link.index)?;
    for address in all {
        let table = table_of(&tables, config, address, record)?;
        if config.table.is_none() {
            routes(&tables, link, all, address, table, record)?;
        }
    }
    if config.table.is_none() && config.add_source_hints {
        hints(&tables, link, all)?;
    }
    Ok(())
}

/// The table of `address`, for which a rule must exist.
fn table_of(
    tables: &Tables,
    config: &Config,
    address: &Address,
    record: Option<&Record>,
) -> anyhow::Result<u32> {
    let ip = address.ip();
    let recorded = record.map(|record| record.rules.as_slice());
    let mut recorded = recorded.unwrap_or_default().iter().rev();
    let recorded = recorded.find(|(from, _)| *from == ip);
    match config.table.or(recorded.map(|(_, table)| *table)) {
        Some(table) if tables.has_rule(&address.rule(table)) => Ok(table),
        Some(table) => bail!("Failed to find rule from {ip} lookup {table}"),
        None => tables
            .rules_from(ip)
            .next()
            .with_context(|| format!("Failed to find rule from {ip}")),
    }
}

/// Checks the routes in the table of `address`.
fn routes(
    tables: &Tables,
    link: &Link,
    all: &[Address],
    address: &Address,
    table: u32,
    record: Option<&Record>,
) -> anyhow::Result<()> {
    let present: Vec<&RawRoute> = tables.own_routes(table).collect();
    let missing = |what: String| format!("Failed to find {what} in table {table}");
    let mut has_default = false;
    if let Some(record) = record {
        let originals: Vec<RawRoute> = record.routes.iter().map(|(c, _)| c.clone()).collect();
        for copy in address.routes(all, &originals) {
            let wanted = copy.in_table(table);
            has_default |= wanted.route().is_default();
            let found = present
                .iter()
                .any(|other| other.same_entry(&wanted) && other.gateways().eq(wanted.gateways()));
            if !found {
                let gateways: Vec<String> =
                    wanted.gateways().map(|g| format!(" via {g}")).collect();
                let route = wanted.route();
                let route = format!("route {}/{}{}", route.dst, route.prefix, gateways.concat());
                bail!(missing(route));
            }
        }
    } else if address.cidr.broadcast() != address.cidr.network() {
        let network = (address.cidr.network(), address.cidr.prefix());
        if !present
            .iter()
            .any(|c| (c.route().dst, c.route().prefix) == network)
        {
            bail!(missing(format!("route {}", address.cidr.masked())));
        }
    }
    // A default route of the main table may have replaced that of the address.
    if let Some(wanted) = plan::default_route(address, link.index, table)
        && let Some(gateway) = wanted.gateway
    {
        let defaults = present.iter().filter(|c| c.route().is_default());
        let mut defaults = defaults.filter(|c| c.route().family == address.family());
        let found = match has_default {
            true => defaults.next().is_some(),
            false => defaults.any(|copy| copy.gateways().any(|g| g == gateway)),
        };
        if !found {
            bail!(missing(format!("default route via {gateway}")));
        }
    }
    Ok(())
}

/// Checks the source hints in the main table.
fn hints(tables: &Tables, link: &Link, all: &[Address]) -> anyhow::Result<()> {
    for cidr in plan::hint_sources(all) {
        let hint = plan::hint(cidr, link.index);
        let found = tables.own_routes(RT_TABLE_MAIN).any(|copy| {
            let route = copy.route();
            (route.dst, route.prefix, route.src) == (hint.dst, hint.prefix, hint.src)
        });
        if !found {
            bail!(
                "Failed to find route {} with source {} in the main table",
                cidr.masked(),
                cidr.addr()
            );
        }
    }
    Ok(())
}
