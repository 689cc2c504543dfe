//! Expressions, compared with those of `nft` for the same rule: the bytes in the
//! kernel and the output of `nft` are the same.
#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, SocketAddr};

use netfilter::nft::{
    Batch, Chain, ChainType, CtState, CtStatus, Family, Field, Hook, NatFlags, Nft, Prefix,
    Protocol, Rule, Set, Table, Type,
};
use testkit::namespace::{in_namespace, nft, run};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn net(text: &str) -> Prefix {
    let (address, len) = text.split_once('/').unwrap();
    Prefix::new(ip(address), len.parse().unwrap())
}

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A rule in the syntax of `nft`, and the same rule of this crate.
type Case<'a> = (&'a str, Rule<'a>);

/// Adds the rules of `nft` to a chain of the same kind as `chain`, and compares.
#[track_caller]
fn compare(chain: Chain<'_>, prepare: &str, cases: Vec<Case<'_>>) {
    let family = chain.table.family.as_str();
    let table = chain.table.name;
    let client = Nft::open().unwrap();
    let theirs = Chain {
        name: "theirs",
        ..chain
    };
    let mut batch = Batch::new();
    batch.add_table(&chain.table);
    batch.add_chain(&chain.table.chain("other"));
    batch.add_chain(&chain).add_chain(&theirs);
    client.commit(&batch).unwrap();
    nft(prepare);
    for (words, rule) in cases {
        let mut batch = Batch::new();
        batch.flush_chain(&chain).flush_chain(&theirs);
        client.commit(&batch).unwrap();
        nft(&format!("add rule {family} {table} theirs {words}"));
        let mut batch = Batch::new();
        let added = client.commit(batch.echo().add_rule(&rule)).unwrap();
        let (ours, others) = (
            client.rules(&chain).unwrap(),
            client.rules(&theirs).unwrap(),
        );
        assert_eq!((ours.len(), others.len()), (1, 1));
        assert_eq!(added, ours, "{words}");
        assert_eq!(
            ours[0].expressions(),
            others[0].expressions(),
            "{words}\n{}",
            run(&format!("nft --debug=netlink list table {family} {table}"))
        );
        assert_eq!(ours[0].comment, others[0].comment, "{words}");
        assert!(
            ours[0].same_as(&rule) && others[0].same_as(&rule),
            "{words}"
        );
        let print = |name: &str| {
            run(&format!("nft list chain {family} {table} {name}")).replace(name, "chain")
        };
        assert_eq!(print("ours"), print("theirs"), "{words}");
    }
}

#[test]
fn filter_rules_of_both_families() {
    const TABLE: Table<'_> = Table::new(Family::Inet, "t");
    const OURS: Chain<'_> = TABLE.chain("ours");
    let rule = || OURS.rule();
    in_namespace(|| {
        compare(
            OURS,
            "",
            vec![
                (
                    "ip saddr 10.0.0.2 accept",
                    rule().saddr(ip("10.0.0.2")).accept(),
                ),
                (
                    "ip saddr != 10.0.0.2 drop",
                    rule().not_saddr(ip("10.0.0.2")).drop(),
                ),
                (
                    "ip daddr 224.0.0.0/4 return",
                    rule().daddr(net("224.0.0.0/4")).return_(),
                ),
                (
                    "ip daddr 10.0.0.0/23 return",
                    rule().daddr(net("10.0.0.0/23")).return_(),
                ),
                (
                    "ip daddr != 10.0.0.0/24 drop",
                    rule().not_daddr(net("10.0.0.0/24")).drop(),
                ),
                (
                    "ip6 daddr ff00::/8 return",
                    rule().daddr(net("ff00::/8")).return_(),
                ),
                (
                    "ip6 saddr fd00::/57 drop",
                    rule().saddr(net("fd00::/57")).drop(),
                ),
                (
                    "ip6 saddr != fd00::1 drop",
                    rule().not_saddr(ip("fd00::1")).drop(),
                ),
                (
                    "ip saddr 10.0.0.2 ip daddr != 10.0.0.0/24 accept",
                    rule()
                        .saddr(ip("10.0.0.2"))
                        .not_daddr(net("10.0.0.0/24"))
                        .accept(),
                ),
                ("goto other", rule().goto("other")),
                ("jump other", rule().jump("other")),
                ("iifname \"br0\" accept", rule().iifname("br0").accept()),
                (
                    "iifname \"br0\" oifname != \"br0\" jump other",
                    rule().iifname("br0").not_oifname("br0").jump("other"),
                ),
                (
                    "iifname != \"br0\" oifname \"br0\" drop",
                    rule().not_iifname("br0").oifname("br0").drop(),
                ),
                (
                    "tcp dport 80 accept",
                    rule().dport(Protocol::Tcp, 80).accept(),
                ),
                (
                    "udp dport 80-90 accept",
                    rule().dports(Protocol::Udp, 80..=90).accept(),
                ),
                ("udp sport 67 drop", rule().sport(Protocol::Udp, 67).drop()),
                (
                    "meta l4proto sctp accept",
                    rule().protocol(Protocol::Sctp).accept(),
                ),
                (
                    "icmpv6 type nd-router-advert drop",
                    rule().icmpv6_type(134).drop(),
                ),
                (
                    "ct state established,related accept",
                    rule()
                        .ct_state(CtState::ESTABLISHED | CtState::RELATED)
                        .accept(),
                ),
                (
                    "ct status dnat accept",
                    rule().ct_status(CtStatus::DNAT).accept(),
                ),
                (
                    "counter accept comment \"counted\"",
                    rule().counter().accept().comment("counted"),
                ),
            ],
        );
    });
}

#[test]
fn a_prefix_of_no_bits_matches_every_address() {
    const OURS: Chain<'_> = Table::new(Family::Ip, "t").chain("ours");
    const OURS6: Chain<'_> = Table::new(Family::Ip6, "t").chain("ours");
    in_namespace(|| {
        compare(
            OURS,
            "",
            vec![(
                "ip saddr 0.0.0.0/0 accept",
                OURS.rule().saddr(net("0.0.0.0/0")).accept(),
            )],
        );
        compare(
            OURS6,
            "",
            vec![(
                "ip6 saddr ::/0 accept",
                OURS6.rule().saddr(net("::/0")).accept(),
            )],
        );
    });
}

#[test]
fn source_translation() {
    const TABLE: Table<'_> = Table::new(Family::Inet, "t");
    const OURS: Chain<'_> = TABLE.base_chain("ours", ChainType::Nat, Hook::Postrouting, 100);
    let rule = || OURS.rule();
    in_namespace(|| {
        compare(
            OURS,
            "",
            vec![
                ("masquerade", rule().masquerade(NatFlags::NONE)),
                (
                    "masquerade fully-random",
                    rule().masquerade(NatFlags::FULLY_RANDOM),
                ),
                (
                    "snat ip to 192.0.2.1",
                    rule().snat(ip("192.0.2.1"), NatFlags::NONE),
                ),
                (
                    "snat ip6 to 2001:db8::1 fully-random",
                    rule().snat(ip("2001:db8::1"), NatFlags::FULLY_RANDOM),
                ),
                (
                    "ip6 saddr fd00::2 ip6 daddr != fd00::/64 masquerade comment \"x, y\"",
                    rule()
                        .saddr(ip("fd00::2"))
                        .not_daddr(net("fd00::/64"))
                        .masquerade(NatFlags::NONE)
                        .comment("x, y"),
                ),
            ],
        );
    });
}

const PORTS: &[Type] = &[Type::Protocol, Type::Port];

#[test]
fn destination_translation() {
    const TABLE: Table<'_> = Table::new(Family::Ip, "t");
    const OURS: Chain<'_> = TABLE.base_chain("ours", ChainType::Nat, Hook::Prerouting, -100);
    const MAP: Set<'_> = TABLE.map("m", PORTS, &[Type::Ipv4Addr, Type::Port]);
    const HOSTS: Set<'_> = TABLE.map("hosts", &[Type::Ipv4Addr], &[Type::Ipv4Addr]);
    const BY_IP: Set<'_> = TABLE.map(
        "by_ip",
        &[Type::Ipv4Addr, Type::Protocol, Type::Port],
        &[Type::Ipv4Addr, Type::Port],
    );
    let rule = || OURS.rule();
    in_namespace(|| {
        compare(
            OURS,
            "table ip t {
                map m { type inet_proto . inet_service : ipv4_addr . inet_service; }
                map hosts { type ipv4_addr : ipv4_addr; }
                map by_ip { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }
            }",
            vec![
                (
                    "fib daddr type local jump other",
                    rule().daddr_is_local().jump("other"),
                ),
                (
                    "tcp dport 80 dnat to 10.0.0.2:8080 comment \"id\"",
                    rule()
                        .dport(Protocol::Tcp, 80)
                        .dnat(socket("10.0.0.2:8080"))
                        .comment("id"),
                ),
                (
                    "ip daddr 192.0.2.1 sctp dport 80 dnat to 10.0.0.2:8080",
                    rule()
                        .daddr(ip("192.0.2.1"))
                        .dport(Protocol::Sctp, 80)
                        .dnat(socket("10.0.0.2:8080")),
                ),
                (
                    "dnat ip addr . port to meta l4proto . th dport map @m",
                    rule().dnat_map(&[Field::L4Proto, Field::Dport], &MAP),
                ),
                (
                    "dnat ip addr . port to ip daddr . meta l4proto . th dport map @by_ip",
                    rule().dnat_map(&[Field::Ipv4Daddr, Field::L4Proto, Field::Dport], &BY_IP),
                ),
                (
                    "dnat to ip daddr map @hosts",
                    rule().dnat_map(&[Field::Ipv4Daddr], &HOSTS),
                ),
            ],
        );
    });
}

#[test]
fn destination_translation_of_ipv6() {
    const TABLE: Table<'_> = Table::new(Family::Ip6, "t");
    const OURS: Chain<'_> = TABLE.base_chain("ours", ChainType::Nat, Hook::Output, -100);
    const MAP: Set<'_> = TABLE.map("m", PORTS, &[Type::Ipv6Addr, Type::Port]);
    in_namespace(|| {
        compare(
            OURS,
            "table ip6 t { map m { type inet_proto . inet_service : ipv6_addr . inet_service; }; }",
            vec![
                (
                    "ip6 daddr fd00::1 udp dport 53 dnat to [fd00::2]:5353",
                    OURS.rule()
                        .daddr(ip("fd00::1"))
                        .dport(Protocol::Udp, 53)
                        .dnat(socket("[fd00::2]:5353")),
                ),
                (
                    "dnat ip6 addr . port to meta l4proto . th dport map @m",
                    OURS.rule().dnat_map(&[Field::L4Proto, Field::Dport], &MAP),
                ),
            ],
        );
    });
}

#[test]
fn lookups_in_sets() {
    const TABLE: Table<'_> = Table::new(Family::Inet, "t");
    const OURS: Chain<'_> = TABLE.chain("ours");
    const ADDRESSES: Set<'_> = TABLE.set("addresses", &[Type::Ipv4Addr]);
    const PAIRS: Set<'_> = TABLE.set("pairs", &[Type::Ipv6Addr, Type::Ipv6Addr]);
    const MIXED: Set<'_> = TABLE.set("mixed", &[Type::Interface, Type::Ipv4Addr, Type::Port]);
    const VERDICTS: Set<'_> = TABLE.verdict_map("verdicts", &[Type::Interface]);
    let rule = || OURS.rule();
    in_namespace(|| {
        compare(
            OURS,
            "table inet t {
                set addresses { type ipv4_addr; }
                set pairs { type ipv6_addr . ipv6_addr; }
                set mixed { type ifname . ipv4_addr . inet_service; }
                map verdicts { type ifname : verdict; }
            }",
            vec![
                (
                    "ip saddr @addresses accept",
                    rule().in_set(&[Field::Ipv4Saddr], &ADDRESSES).accept(),
                ),
                (
                    "ip6 saddr . ip6 daddr @pairs drop",
                    rule()
                        .in_set(&[Field::Ipv6Saddr, Field::Ipv6Daddr], &PAIRS)
                        .drop(),
                ),
                (
                    "iifname vmap @verdicts",
                    rule().vmap(&[Field::Iifname], &VERDICTS),
                ),
                (
                    "oifname vmap @verdicts",
                    rule().vmap(&[Field::Oifname], &VERDICTS),
                ),
            ],
        );
        // For a port in a key, nft requires a match of the protocol, which this
        // crate leaves to the caller.
        let client = Nft::open().unwrap();
        let fields = [Field::Iifname, Field::Ipv4Saddr, Field::Sport];
        client
            .commit(Batch::new().add_rule(&rule().in_set(&fields, &MIXED).drop()))
            .unwrap();
        let printed = run("nft list chain inet t ours");
        assert!(
            printed.contains("iifname . ip saddr . th sport @mixed drop"),
            "{printed}"
        );
    });
}

#[test]
fn frames_of_a_bridge() {
    const OURS: Chain<'_> = Table::new(Family::Bridge, "t").base_chain(
        "ours",
        ChainType::Filter,
        Hook::Prerouting,
        -300,
    );
    let rule = || OURS.rule();
    let mac = [2, 0, 0, 0, 0, 1];
    in_namespace(|| {
        compare(
            OURS,
            "",
            vec![
                (
                    "iifname \"veth0\" jump other",
                    rule().iifname("veth0").jump("other"),
                ),
                (
                    "ether saddr 02:00:00:00:00:01 return",
                    rule().ether_saddr(mac).return_(),
                ),
                (
                    "drop comment \"macspoofchk-x\"",
                    rule().drop().comment("macspoofchk-x"),
                ),
                (
                    "ip saddr 10.0.0.2 drop",
                    rule().saddr(ip("10.0.0.2")).drop(),
                ),
                ("ip6 saddr fd00::2 drop", rule().saddr(ip("fd00::2")).drop()),
                ("udp sport 67 drop", rule().sport(Protocol::Udp, 67).drop()),
                (
                    "icmpv6 type nd-router-advert drop",
                    rule().icmpv6_type(134).drop(),
                ),
            ],
        );
    });
}
