//! What has to be done to the container's rules and routes, and doing it.

use crate::address::Address;
use crate::tables::Tables;
use anyhow::anyhow;
use cni_core::Cidr;
use plugin_kit::detailed;
use rtnl::{
    Exclusivity, Handle, RT_TABLE_MAIN, RTPROT_BOOT, RawRoute, Request, Route, RouteSpec, RuleSpec,
    Scope,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One change, and how it is undone.
pub(crate) enum Step {
    /// Adds a rule that is not there.
    Rule(RuleSpec),
    /// Adds a route that is not there.
    Default(RouteSpec),
    /// Adds a route, in place of the one given.
    Copy(RawRoute, Exclusivity, Option<RawRoute>),
    /// Adds a source hint, in place of the route given.
    Hint(RouteSpec, Option<RawRoute>),
    /// Takes a route away; whether others stood before it.
    Remove(RawRoute, bool),
}

impl Step {
    fn request(&self) -> Request<'static> {
        match self {
            Step::Rule(rule) => Request::add_rule(rule),
            Step::Default(route) => Request::add_route(route, Exclusivity::Exclusive),
            Step::Copy(copy, exclusivity, _) => Request::add_raw_route(copy, *exclusivity),
            Step::Hint(route, _) => Request::add_route(route, Exclusivity::Replace),
            Step::Remove(copy, _) => Request::del_raw_route(copy),
        }
    }

    /// What undoes it.
    fn undo(&self) -> Vec<Request<'static>> {
        let back = |replaced: &Option<RawRoute>| {
            replaced
                .as_ref()
                .map(|copy| Request::add_raw_route(copy, Exclusivity::Shared))
        };
        match self {
            Step::Rule(rule) => vec![Request::del_rule(rule)],
            Step::Default(route) => vec![Request::del_route(route)],
            Step::Copy(copy, _, replaced) => {
                let gone = Request::del_raw_route(copy);
                [gone].into_iter().chain(back(replaced)).collect()
            }
            Step::Hint(route, replaced) => {
                let gone = Request::del_route(route);
                [gone].into_iter().chain(back(replaced)).collect()
            }
            Step::Remove(copy, behind) => vec![restored(copy, *behind)],
        }
    }

    fn failure(&self) -> String {
        match self {
            Step::Rule(_) => "Failed to add rule".into(),
            Step::Default(route) => {
                let gateway = route.gateway.map(|gateway| gateway.to_string());
                format!(
                    "Failed to add default route to {}",
                    gateway.unwrap_or_default()
                )
            }
            Step::Copy(..) => "Failed to readd route".into(),
            Step::Hint(route, _) => format!(
                "Failed to add source hint for {}/{}",
                route.dst, route.prefix
            ),
            Step::Remove(..) => "Failed to delete route".into(),
        }
    }
}

/// Puts a route back into its table.
pub(crate) fn restored(copy: &RawRoute, behind: bool) -> Request<'static> {
    let place = match behind {
        true => Exclusivity::Behind,
        false => Exclusivity::Shared,
    };
    Request::add_raw_route(copy, place)
}

/// Does `steps`, one after the other in one go.
///
/// # Errors
/// The first of what the kernel refuses; the others are done all the same.
pub(crate) fn run(handle: &Handle, steps: &[Step]) -> anyhow::Result<()> {
    if steps.is_empty() {
        return Ok(());
    }
    let requests = steps.iter().map(Step::request).collect();
    let mut outcome = Ok(());
    for (step, reply) in steps.iter().zip(handle.batch(requests)) {
        if let (true, Err(e)) = (outcome.is_ok(), reply) {
            outcome = Err(detailed(format!("{}: {e}", step.failure()), e.what()));
        }
    }
    outcome
}

/// Undoes `steps`, some of which may not have been done.
///
/// # Errors
/// The first of what the kernel refuses; the others are undone all the same.
pub(crate) fn undo(handle: &Handle, steps: &[Step]) -> anyhow::Result<()> {
    let mut requests: Vec<_> = steps.iter().rev().flat_map(Step::undo).collect();
    if requests.is_empty() {
        return Ok(());
    }
    // What a step has not done cannot be undone.
    let replies = handle.batch(std::mem::take(&mut requests));
    for reply in replies {
        if let Err(e) = reply
            && !e.is_not_found()
            && !e.is_exists()
        {
            return Err(anyhow!("failed to undo: {e}"));
        }
    }
    Ok(())
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

/// The route that keeps the network of `cidr` in the main table, with the address as the
/// source of packets that have none.
pub(crate) fn hint(cidr: Cidr, index: u32) -> RouteSpec {
    let mut route = RouteSpec::new(cidr.network(), cidr.prefix());
    route.oif = Some(index);
    route.scope = Some(Scope::LINK);
    route.src = Some(cidr.addr());
    route.protocol = Some(RTPROT_BOOT);
    // The kernel's own choice, which for IPv6 is none of those of its own routes.
    route.priority = Some(if cidr.is_ipv4() { 0 } else { 1024 });
    route
}

/// The addresses that are the source in their network: of several in one, the first.
pub(crate) fn hinted(addresses: &[Address]) -> Vec<Cidr> {
    let mut hinted: Vec<Cidr> = Vec::new();
    for cidr in addresses.iter().map(|address| address.cidr) {
        // A network of one address is the address.
        let alone = cidr.broadcast() == cidr.network();
        if !alone && !hinted.iter().any(|other| other.masked() == cidr.masked()) {
            hinted.push(cidr);
        }
    }
    hinted
}

/// What leads `address` to its table and fills the table with `routes`.
pub(crate) fn fill(
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
    let of_family = |copy: &&&RawRoute| copy.route().family == address.family();
    let has_default = present
        .iter()
        .filter(of_family)
        .any(|c| c.route().is_default());
    if !has_default && let Some(route) = default_route(address, index, table) {
        steps.push(Step::Default(route));
    }
    let mut copies: Vec<RawRoute> = Vec::new();
    for copy in address.routes(all, routes) {
        let copy = copy.in_table(table);
        // Several of one destination are several there, too.
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

/// What clears the main table of `routes`. With `hints`, only of those that lead further
/// than the link; and the networks of the link first get their source.
pub(crate) fn clear(
    tables: &Tables,
    routes: &[RawRoute],
    hints: Option<Vec<RouteSpec>>,
) -> Vec<Step> {
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
    // Gateways last in, first out: they are reached by the others.
    for copy in routes.iter().rev() {
        let route = copy.route();
        let stays = hints.is_some() && route.dst.is_ipv4() && route.scope == Scope::LINK;
        if !stays {
            steps.push(Step::Remove(copy.clone(), tables.is_behind(copy)));
        }
    }
    steps
}

/// Whether `route` is the very `hint`.
pub(crate) fn is_hint(route: &Route, hint: &RouteSpec) -> bool {
    (route.dst, route.prefix, route.src) == (hint.dst, hint.prefix, hint.src)
        && Some(route.protocol) == hint.protocol
}
