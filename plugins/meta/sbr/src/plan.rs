//! The plan of an ADD: which rules and routes change, in which order.

use crate::address::Address;
use crate::config::Config;
use crate::record::Record;
use crate::step::Step;
use crate::tables::Tables;
use cni_core::Cidr;
use rtnl::{
    Exclusivity, Family, Link, RT_TABLE_MAIN, RTPROT_BOOT, RawRoute, Route, RouteSpec, Scope,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The changes of an ADD.
pub(crate) struct Plan {
    /// Adds rules, and routes to the tables of the addresses.
    pub(crate) fill: Vec<Step>,
    /// Deletes routes from the main table, once no gateway depends on them.
    pub(crate) clear: Vec<Step>,
    /// The record for DEL.
    pub(crate) record: Record,
}

impl Plan {
    /// Plans the ADD of `link`. `known` is the record of an earlier ADD.
    ///
    /// # Errors
    /// When no routing table is free.
    pub(crate) fn new(
        config: &Config,
        tables: &Tables,
        addresses: &[Address],
        link: &Link,
        known: Record,
    ) -> anyhow::Result<Plan> {
        let mut plan = Plan {
            fill: Vec::new(),
            clear: Vec::new(),
            record: known,
        };
        plan.record.index = link.index;
        if let Some(table) = config.table {
            plan.record.add_configured(table);
            for address in addresses {
                let rule = address.rule(table);
                if !tables.has_rule(&rule) {
                    plan.fill.push(Step::Rule(rule));
                }
                plan.record.add_rule(address.ip(), table);
            }
            return Ok(plan);
        }
        let mut routes = tables.movable();
        // Source hints of an earlier ADD are not routes of the network.
        let old = plan.record.hints.iter();
        let old: Vec<RouteSpec> = old.map(|cidr| hint(*cidr, link.index)).collect();
        routes.retain(|copy| !old.iter().any(|hint| is_hint(copy.route(), hint)));
        for (address, table) in addresses.iter().zip(tables.choose(addresses)?) {
            let place = (link.index, table);
            plan.fill
                .extend(fill(tables, address, addresses, &routes, place));
            plan.record.add_rule(address.ip(), table);
        }
        let sources = config.add_source_hints.then(|| hint_sources(addresses));
        let hints = sources.as_ref().map(|sources| {
            let hints = sources.iter().map(|cidr| hint(*cidr, link.index));
            hints.collect()
        });
        plan.clear = clear(tables, &routes, hints);
        for cidr in sources.into_iter().flatten() {
            if !plan.record.hints.contains(&cidr) {
                plan.record.hints.push(cidr);
            }
        }
        let routes = routes.into_iter();
        let routes = routes.map(|copy| (copy.clone(), tables.is_behind(&copy)));
        plan.record.add_routes(routes.collect());
        Ok(plan)
    }
}

/// The default route of an address in its table.
pub(crate) fn default_route(address: &Address, index: u32, table: u32) -> Option<RouteSpec> {
    let gateway = address.gateway?;
    let any = match gateway {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let mut route = RouteSpec::new(any, 0);
    route.gateway = Some(gateway);
    route.oif = Some(index);
    route.table = table;
    Some(route)
}

/// The source hint for `cidr`: a route in the main table to its network with the address
/// as preferred source.
pub(crate) fn hint(cidr: Cidr, index: u32) -> RouteSpec {
    let mut route = RouteSpec::new(cidr.network(), cidr.prefix());
    route.oif = Some(index);
    route.scope = Some(Scope::LINK);
    route.src = Some(cidr.addr());
    route.protocol = Some(RTPROT_BOOT);
    // The kernel's default. For IPv6 it differs from that of the kernel's own routes.
    route.priority = Some(Family::of(cidr.addr()).default_metric());
    route
}

/// The addresses to make source hints for: the first one of each network.
pub(crate) fn hint_sources(addresses: &[Address]) -> Vec<Cidr> {
    let mut sources: Vec<Cidr> = Vec::new();
    for cidr in addresses.iter().map(|address| address.cidr) {
        // A network of a single address needs no route.
        let is_single = cidr.broadcast() == cidr.network();
        if !is_single && !sources.iter().any(|other| other.masked() == cidr.masked()) {
            sources.push(cidr);
        }
    }
    sources
}

/// The steps that add the rule of `address` and fill its table with `routes`.
fn fill(
    tables: &Tables,
    address: &Address,
    all: &[Address],
    routes: &[RawRoute],
    (index, table): (u32, u32),
) -> Vec<Step> {
    let mut steps = Vec::new();
    let rule = address.rule(table);
    if !tables.has_rule(&rule) {
        steps.push(Step::Rule(rule));
    }
    let present: Vec<&RawRoute> = tables.own_routes(table).collect();
    let is_of_family = |copy: &&&RawRoute| copy.route().family == address.family();
    let has_default = present
        .iter()
        .filter(is_of_family)
        .any(|c| c.route().is_default());
    if !has_default && let Some(route) = default_route(address, index, table) {
        steps.push(Step::Default(route));
    }
    let mut copies: Vec<RawRoute> = Vec::new();
    for copy in address.routes(all, routes) {
        let copy = copy.in_table(table);
        // Several routes with one key stay several.
        let (exclusivity, replaced) = match copies.iter().any(|c| c.same_entry(&copy)) {
            true => (Exclusivity::Behind, None),
            false => {
                let replaced = present.iter().find(|c| c.same_entry(&copy));
                (Exclusivity::Replace, replaced.map(|c| (*c).clone()))
            }
        };
        steps.push(Step::Copy(copy.clone(), exclusivity, replaced));
        copies.push(copy);
    }
    steps
}

/// The steps that delete `routes` from the main table. With `hints`, they first add the
/// hints, and keep the IPv4 routes of link scope.
fn clear(tables: &Tables, routes: &[RawRoute], hints: Option<Vec<RouteSpec>>) -> Vec<Step> {
    let mut steps = Vec::new();
    for hint in hints.iter().flatten() {
        let mut main = tables.own_routes(RT_TABLE_MAIN);
        if main.any(|copy| is_hint(copy.route(), hint)) {
            continue;
        }
        let mut replaced = routes.iter().filter(|copy| {
            let route = copy.route();
            (route.dst, route.prefix, Some(route.priority))
                == (hint.dst, hint.prefix, hint.priority)
        });
        steps.push(Step::Hint(hint.clone(), replaced.next().cloned()));
    }
    // Routes with gateways first, because they depend on the others.
    for copy in routes.iter().rev() {
        let route = copy.route();
        let stays = hints.is_some() && route.dst.is_ipv4() && route.scope == Scope::LINK;
        if !stays {
            steps.push(Step::Remove(copy.clone(), tables.is_behind(copy)));
        }
    }
    steps
}

/// Whether `route` is the source hint `hint`.
fn is_hint(route: &Route, hint: &RouteSpec) -> bool {
    (route.dst, route.prefix, route.src) == (hint.dst, hint.prefix, hint.src)
        && Some(route.protocol) == hint.protocol
}
