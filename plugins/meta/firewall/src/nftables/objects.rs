//! The table, its chains, sets and rules.

use netfilter::nft::{Chain, ChainType, CtState, Family, Field, Hook, Rule, Set, Table, Type};
use std::net::IpAddr;

/// The table. DEL does not delete it, because it may hold an administrator's rules.
pub(super) const TABLE: Table<'_> =
    Table::new(Family::Inet, "cni_firewall").with_comment("CNI firewall plugin");

/// The base chain, in place of FORWARD in iptables.
pub(super) const FORWARD: Chain<'_> =
    TABLE.base_chain("forward", ChainType::Filter, Hook::Forward, 0);
/// The policies of bridges.
pub(super) const ISOLATION: Chain<'_> = TABLE.chain("isolation");
/// The administrator's chain, then the containers.
pub(super) const CONTAINERS: Chain<'_> = TABLE.chain("containers");

pub(super) const IPV4: Set<'_> = TABLE.set("container_ipv4", &[Type::Ipv4Addr]);
pub(super) const IPV6: Set<'_> = TABLE.set("container_ipv6", &[Type::Ipv6Addr]);
/// Bridges with a policy: traffic from one to another is dropped.
pub(super) const BRIDGES: Set<'_> = TABLE.set("bridges", &[Type::Interface]);
/// The verdict on traffic within each of them.
pub(super) const WITHIN: Set<'_> =
    TABLE.verdict_map("within_bridges", &[Type::Interface, Type::Interface]);

pub(super) fn set_of(address: IpAddr) -> &'static Set<'static> {
    match address {
        IpAddr::V4(_) => &IPV4,
        IpAddr::V6(_) => &IPV6,
    }
}

/// The rules of the shared chains, in their order.
pub(super) fn forward_rules() -> [Rule<'static>; 2] {
    [
        FORWARD.rule().jump(ISOLATION.name),
        FORWARD.rule().jump(CONTAINERS.name),
    ]
}

pub(super) fn isolation_rules() -> [Rule<'static>; 2] {
    let ends = [Field::Iifname, Field::Oifname];
    [
        ISOLATION.rule().vmap(&ends, &WITHIN),
        ISOLATION
            .rule()
            .in_set(&[Field::Iifname], &BRIDGES)
            .in_set(&[Field::Oifname], &BRIDGES)
            .drop(),
    ]
}

pub(super) fn container_rules() -> [Rule<'static>; 4] {
    let of = |source, destination, set| {
        let answered = CtState::RELATED | CtState::ESTABLISHED;
        let rule = CONTAINERS.rule().in_set(&[destination], set);
        [
            rule.ct_state(answered).accept(),
            CONTAINERS.rule().in_set(&[source], set).accept(),
        ]
    };
    let [to4, from4] = of(Field::Ipv4Saddr, Field::Ipv4Daddr, &IPV4);
    let [to6, from6] = of(Field::Ipv6Saddr, Field::Ipv6Daddr, &IPV6);
    [to4, from4, to6, from6]
}
