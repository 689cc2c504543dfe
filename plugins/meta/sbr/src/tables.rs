//! The container's rules and routes, and the choice of tables.

use crate::address::Address;
use anyhow::Context;
use rtnl::{
    Family, Handle, RT_TABLE_DEFAULT, RT_TABLE_LOCAL, RT_TABLE_MAIN, RawRoute, RouteFilter, Rule,
    RuleFilter, RuleSpec,
};
use std::net::IpAddr;

/// The first table number to use, as upstream.
const FIRST: u32 = 100;

/// All rules and routes of the container.
pub(crate) struct Tables {
    pub(crate) rules: Vec<Rule>,
    pub(crate) routes: Vec<RawRoute>,
    /// Index of the container's interface.
    index: u32,
}

impl Tables {
    /// Reads rules and routes; `index` is the container's interface.
    ///
    /// # Errors
    /// When a dump fails.
    pub(crate) fn read(handle: &Handle, index: u32) -> anyhow::Result<Tables> {
        let rules = handle.rules(&RuleFilter::default());
        let routes = handle
            .raw_routes(&RouteFilter::default())
            .context("Failed to list all routes")?;
        // Two IPv6 routes that differ only in their next hop are one multipath route to
        // the kernel. The next hops on the interface are handled apart from the others.
        let routes = routes.into_iter().flat_map(|r| r.split_by_link(index));
        Ok(Tables {
            rules: rules.context("Failed to list all rules")?,
            routes: routes.collect(),
            index,
        })
    }

    /// A table for each of `addresses`: the one that a rule for the address looks up
    /// already, if it has routes of the interface only, else a free one.
    ///
    /// # Errors
    /// When no table is free.
    pub(crate) fn choose(&self, addresses: &[Address]) -> anyhow::Result<Vec<u32>> {
        let mut next = FIRST;
        let mut chosen = Vec::with_capacity(addresses.len());
        for address in addresses {
            let table = match self.own_table(address) {
                Some(table) => table,
                None => {
                    let free = (next..=u32::MAX).find(|table| !self.is_used(*table));
                    let free = free.context("no free routing table")?;
                    next = free.saturating_add(1);
                    free
                }
            };
            chosen.push(table);
        }
        Ok(chosen)
    }

    /// The table that a rule for `address` looks up, if it has routes of the interface only.
    pub(crate) fn own_table(&self, address: &Address) -> Option<u32> {
        let mut tables = self.rules_from(address.ip());
        tables.find(|table| self.is_own(*table))
    }

    /// The tables that rules for the source `address` look up. Rules with other
    /// selectors are not the plugin's and ignored.
    pub(crate) fn rules_from(&self, address: IpAddr) -> impl Iterator<Item = u32> {
        let specs = self.rules.iter().filter_map(Rule::spec);
        let source = RuleSpec::from_address(address, 0).src;
        specs
            .filter(move |spec| spec.src == source && spec.dst.is_none())
            .map(|spec| spec.table)
            .filter(|table| is_usable(*table))
    }

    /// Whether this rule exists without further selectors.
    pub(crate) fn has_rule(&self, rule: &RuleSpec) -> bool {
        let specs = self.rules.iter().filter_map(Rule::spec);
        let mut same = specs
            .filter(|spec| (spec.src, spec.dst, spec.table) == (rule.src, rule.dst, rule.table));
        same.next().is_some()
    }

    /// The routes of `table` whose next hops are all on the interface.
    pub(crate) fn own_routes(&self, table: u32) -> impl Iterator<Item = &RawRoute> {
        let routes = self.routes.iter();
        routes.filter(move |copy| copy.route().table == table && self.is_over_interface(copy))
    }

    /// Whether all next hops of a route are on the interface.
    pub(crate) fn is_over_interface(&self, copy: &RawRoute) -> bool {
        let route = copy.route();
        let hops = &route.hops;
        match hops.is_empty() {
            true => route.oif == Some(self.index),
            false => hops.iter().all(|hop| hop.oif == self.index),
        }
    }

    /// The routes to move out of the main table: all routes of the interface, those
    /// without a gateway first, because gateways are reached through them. Link-local
    /// and multicast routes stay, since neighbour discovery depends on them.
    pub(crate) fn movable(&self) -> Vec<RawRoute> {
        let mut routes: Vec<RawRoute> = self
            .own_routes(RT_TABLE_MAIN)
            .filter(|copy| match copy.route().dst {
                IpAddr::V4(dst) => !dst.is_multicast(),
                IpAddr::V6(dst) => !dst.is_multicast() && !dst.is_unicast_link_local(),
            })
            .cloned()
            .collect();
        routes.sort_by_key(|copy| copy.gateways().next().is_some());
        routes
    }

    /// The routes that an ADD without a record moved from the main table to those of `rules`,
    /// in the order in which they can be restored. Empty if the main table still has routes
    /// of the interface. `had_default` names the families of which it had a default route.
    pub(crate) fn moved(&self, rules: &[(IpAddr, u32)], had_default: &[Family]) -> Vec<RawRoute> {
        let mut moved: Vec<RawRoute> = Vec::new();
        if !self.movable().is_empty() {
            return moved;
        }
        for (_, table) in rules.iter().filter(|rule| !self.is_shared(rule)) {
            for copy in self.own_routes(*table) {
                let had_default = had_default.contains(&copy.route().family);
                let original = copy.in_table(RT_TABLE_MAIN);
                let was_added = copy.route().is_default() && !had_default || self.is_added(copy);
                if !was_added && !moved.contains(&original) {
                    moved.push(original);
                }
            }
        }
        moved.sort_by_key(|copy| copy.gateways().next().is_some());
        moved
    }

    /// Whether a default route is that of an address, beside the one that the main table had:
    /// ADD gives it no metric.
    fn is_added(&self, copy: &RawRoute) -> bool {
        let is_default_of_family = |other: &RawRoute| {
            other.route().is_default() && other.route().family == copy.route().family
        };
        let mut others = self.own_routes(copy.route().table);
        copy.route().priority == copy.route().family.default_metric()
            && is_default_of_family(copy)
            && others.any(|other| other != copy && is_default_of_family(other))
    }

    /// Whether other rules than that of an address look up its table.
    pub(crate) fn is_shared(&self, (from, table): &(IpAddr, u32)) -> bool {
        let own = RuleSpec::from_address(*from, *table).src;
        let mut others = self.rules.iter();
        others.any(|rule| rule.table == Some(*table) && rule.src != own)
    }

    /// Whether a route with the key of `copy` on another interface comes before it.
    pub(crate) fn is_behind(&self, copy: &RawRoute) -> bool {
        let before = self.routes.iter().take_while(|other| *other != copy);
        let mut others = before.filter(|other| !self.is_over_interface(other));
        others.any(|other| other.same_entry(copy))
    }

    /// Whether a rule or route refers to `table`, or it is not usable.
    fn is_used(&self, table: u32) -> bool {
        !is_usable(table)
            || self.rules.iter().any(|rule| rule.table == Some(table))
            || self.routes.iter().any(|copy| copy.route().table == table)
    }

    /// Whether `table` has routes, and only of the interface.
    fn is_own(&self, table: u32) -> bool {
        let routes = self.routes.iter().filter(|c| c.route().table == table);
        let mut routes = routes.peekable();
        routes.peek().is_some() && routes.all(|copy| self.is_over_interface(copy))
    }
}

/// Whether the number is in the plugin's range and not one of the kernel's tables.
fn is_usable(table: u32) -> bool {
    table >= FIRST && !matches!(table, RT_TABLE_DEFAULT | RT_TABLE_MAIN | RT_TABLE_LOCAL)
}
