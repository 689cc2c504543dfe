//! The objects of the reference implementation's nftables backends, compared with
//! those that `nft` creates from its scripts: the kernel state is the same.
#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, SocketAddr};

use netfilter::nft::{
    Batch, Chain, ChainType, Family, Hook, NatFlags, Nft, Policy, Prefix, Protocol, Table,
};
use testkit::namespace::{feed, in_namespace, nft, run};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// The rule set as `nft` prints it, and the bytes of every rule.
fn all(chains: &[Chain<'_>]) -> (String, Vec<Vec<u8>>) {
    let client = Nft::open().unwrap();
    let rules = chains
        .iter()
        .flat_map(|chain| client.rules(chain).unwrap())
        .map(|rule| rule.expressions().to_vec());
    (run("nft list ruleset"), rules.collect())
}

#[track_caller]
fn same(chains: &[Chain<'_>], theirs: impl Fn() + Send + Sync, ours: impl Fn(&Nft) + Send + Sync) {
    let theirs = in_namespace(|| {
        theirs();
        all(chains)
    });
    let ours = in_namespace(|| {
        ours(&Nft::open().unwrap());
        all(chains)
    });
    assert_eq!(ours.0, theirs.0);
    assert!(
        ours.1 == theirs.1,
        "the same text, but other bytes\n{}",
        ours.0
    );
    assert!(!ours.1.is_empty());
}

const MASQUERADE: Table<'_> = Table::new(Family::Inet, "cni_plugins_masquerade")
    .with_comment("Masquerading for plugins from github.com/containernetworking/plugins");
const CHECKS: Chain<'_> = MASQUERADE.chain("masq_checks").with_comment(
    "Masquerade traffic from certain IPs to any (non-multicast) IP outside their subnet",
);
const POSTROUTING: Chain<'_> =
    MASQUERADE.base_chain("postrouting", ChainType::Nat, Hook::Postrouting, 100);

#[test]
fn masquerade() {
    let comment = "6fd94d501e58f0aa-287fc69eff0574a2, net: unit-test, if: eth0, id: one";
    let script = format!(
        "add table inet cni_plugins_masquerade {{ comment \"Masquerading for plugins from github.com/containernetworking/plugins\" ; }}
add chain inet cni_plugins_masquerade masq_checks {{ comment \"Masquerade traffic from certain IPs to any (non-multicast) IP outside their subnet\" ; }}
add chain inet cni_plugins_masquerade postrouting {{ type nat hook postrouting priority 100 ; }}
flush chain inet cni_plugins_masquerade postrouting
add rule inet cni_plugins_masquerade postrouting ip daddr == 224.0.0.0/4 return
add rule inet cni_plugins_masquerade postrouting ip6 daddr == ff00::/8 return
add rule inet cni_plugins_masquerade postrouting goto masq_checks
add rule inet cni_plugins_masquerade masq_checks ip saddr == 10.0.0.2 ip daddr != 10.0.0.0/24 masquerade comment \"{comment}\"
add rule inet cni_plugins_masquerade masq_checks ip6 saddr == 2001:db8::2 ip6 daddr != 2001:db8::/64 masquerade comment \"{comment}\"
"
    );
    let batch = || {
        let mut batch = Batch::new();
        batch.add_table(&MASQUERADE).add_chain(&CHECKS);
        batch.add_chain(&POSTROUTING).flush_chain(&POSTROUTING);
        let multicast = Prefix::new(ip("224.0.0.0"), 4);
        batch.add_rule(&POSTROUTING.rule().daddr(multicast).return_());
        let multicast = Prefix::new(ip("ff00::"), 8);
        batch.add_rule(&POSTROUTING.rule().daddr(multicast).return_());
        batch.add_rule(&POSTROUTING.rule().goto("masq_checks"));
        for (address, len) in [(ip("10.0.0.2"), 24), (ip("2001:db8::2"), 64)] {
            batch.add_rule(
                &CHECKS
                    .rule()
                    .saddr(address)
                    .not_daddr((address, len))
                    .masquerade(NatFlags::NONE)
                    .comment(comment),
            );
        }
        batch
    };
    let chains = [POSTROUTING, CHECKS];
    same(
        &chains,
        || drop(nft(&script)),
        |client| drop(client.commit(&batch()).unwrap()),
    );
    // Rules of upstream are found and deleted by their comment, and new rules are
    // added to its tables.
    in_namespace(|| {
        nft(&script);
        let client = Nft::open().unwrap();
        let hash = "6fd94d501e58f0aa-287fc69eff0574a2";
        let find = || {
            client
                .find_rules(&CHECKS, |rule| {
                    rule.comment.is_some_and(|c| c.starts_with(hash))
                })
                .unwrap()
        };
        assert_eq!(find().len(), 2);
        client
            .transaction(|_| {
                let mut batch = Batch::new();
                for rule in find() {
                    batch.delete_rule(&CHECKS, rule.handle);
                }
                Ok(batch)
            })
            .unwrap();
        assert_eq!(find(), []);
        client.commit(&batch()).unwrap();
        assert_eq!(
            (find().len(), client.rules(&POSTROUTING).unwrap().len()),
            (2, 3)
        );
        assert_eq!(
            client.chain(&CHECKS).unwrap().unwrap().comment.as_deref(),
            CHECKS.comment
        );
        let base = client.chain(&POSTROUTING).unwrap().unwrap().base.unwrap();
        assert_eq!(
            (base.kind, base.hook, base.priority),
            (ChainType::Nat, Hook::Postrouting, 100)
        );
        assert_eq!(base.policy, Some(Policy::Accept));
    });
}

/// portmap for one family: the table, its chains, and a container with two mappings.
fn portmap(family: Family) -> (String, Batch, [Chain<'static>; 6]) {
    let v4 = family == Family::Ip;
    let name = family.as_str();
    let table = Table::new(family, "cni_hostport").with_comment("CNI portmap plugin");
    let hostports = table.chain("hostports");
    let hostip = table.chain("hostip_hostports");
    let every = table.chain("hostports_all");
    let prerouting = table.base_chain("prerouting", ChainType::Nat, Hook::Prerouting, -100);
    let output = table.base_chain("output", ChainType::Nat, Hook::Output, -100);
    let masquerading = table.base_chain("masquerading", ChainType::Nat, Hook::Postrouting, 100);
    let (container, host_ip) = if v4 {
        ("10.0.0.2", "192.0.2.1")
    } else {
        ("fd00::2", "2001:db8::1")
    };
    let to = |port: u16| SocketAddr::new(ip(container), port);
    let id = "icee6giejonei6so";

    let mut script = format!(
        "add table {name} cni_hostport {{ comment \"CNI portmap plugin\" ; }}
add chain {name} cni_hostport hostports
add chain {name} cni_hostport hostip_hostports
add chain {name} cni_hostport hostports_all
flush chain {name} cni_hostport hostports_all
add rule {name} cni_hostport hostports_all jump hostip_hostports
add rule {name} cni_hostport hostports_all jump hostports
add chain {name} cni_hostport prerouting {{ type nat hook prerouting priority -100 ; }}
flush chain {name} cni_hostport prerouting
add rule {name} cni_hostport prerouting fib daddr type local jump hostports_all
add chain {name} cni_hostport output {{ type nat hook output priority -100 ; }}
flush chain {name} cni_hostport output
add rule {name} cni_hostport output fib daddr type local jump hostports_all
add chain {name} cni_hostport masquerading {{ type nat hook postrouting priority 100 ; }}
add rule {name} cni_hostport hostports tcp dport 8080 dnat to {} comment \"{id}\"
add rule {name} cni_hostport hostports {name} daddr {host_ip} udp dport 53 dnat to {} comment \"{id}\"
add rule {name} cni_hostport masquerading {name} saddr {container} {name} daddr {container} masquerade comment \"{id}\"
",
        to(80),
        to(53)
    );
    let mut batch = Batch::new();
    batch.add_table(&table);
    for chain in [
        &hostports,
        &hostip,
        &every,
        &prerouting,
        &output,
        &masquerading,
    ] {
        batch.add_chain(chain);
    }
    batch.flush_chain(&every);
    batch.add_rule(&every.rule().jump("hostip_hostports"));
    batch.add_rule(&every.rule().jump("hostports"));
    for base in [prerouting, output] {
        batch.flush_chain(&base);
        batch.add_rule(&base.rule().daddr_is_local().jump("hostports_all"));
    }
    batch.add_rule(
        &hostports
            .rule()
            .dport(Protocol::Tcp, 8080)
            .dnat(to(80))
            .comment(id),
    );
    batch.add_rule(
        &hostports
            .rule()
            .daddr(ip(host_ip))
            .dport(Protocol::Udp, 53)
            .dnat(to(53))
            .comment(id),
    );
    let masquerade = |source: &str| {
        masquerading
            .rule()
            .saddr(ip(source))
            .daddr(ip(container))
            .masquerade(NatFlags::NONE)
            .comment(id)
    };
    batch.add_rule(&masquerade(container));
    if v4 {
        script += &format!(
            "add rule ip cni_hostport masquerading ip saddr 127.0.0.1 ip daddr {container} masquerade comment \"{id}\"\n"
        );
        batch.add_rule(&masquerade("127.0.0.1"));
    }
    // As with masqAll, which matches every source.
    let any = if v4 { "0.0.0.0" } else { "::" };
    script += &format!(
        "add rule {name} cni_hostport masquerading {name} saddr {any}/0 {name} daddr {container} masquerade comment \"{id}\"\n"
    );
    batch.add_rule(
        &masquerading
            .rule()
            .saddr((ip(any), 0))
            .daddr(ip(container))
            .masquerade(NatFlags::NONE)
            .comment(id),
    );
    let chains = [hostports, hostip, every, prerouting, output, masquerading];
    (script, batch, chains)
}

#[test]
fn portmap_of_both_families() {
    for family in [Family::Ip, Family::Ip6] {
        let (script, batch, chains) = portmap(family);
        same(
            &chains,
            || drop(nft(&script)),
            |client| drop(client.commit(&batch).unwrap()),
        );
    }
}

#[test]
fn spoof_check() {
    const NAT: Table<'_> = Table::new(Family::Bridge, "nat");
    const PREROUTING: Chain<'_> = NAT
        .base_chain("PREROUTING", ChainType::Filter, Hook::Prerouting, -300)
        .with_policy(Policy::Accept);
    let id = "test-container-eth0";
    let iface = format!("cni-br-iface-{id}");
    let mac_chain = format!("{iface}-mac");
    let comment = format!("macspoofchk-{id}");
    let rule = |chain: &str, expr: &str| {
        format!(
            r#"{{"add": {{"rule": {{"family": "bridge", "table": "nat", "chain": "{chain}", "comment": "{comment}", "expr": [{expr}]}}}}}}"#
        )
    };
    let chain = |name: &str| {
        format!(
            r#"{{"add": {{"chain": {{"family": "bridge", "table": "nat", "name": "{name}"}}}}}}"#
        )
    };
    let script = format!(
        r#"{{"nftables": [
        {{"add": {{"table": {{"family": "bridge", "name": "nat"}}}}}},
        {{"add": {{"chain": {{"family": "bridge", "table": "nat", "name": "PREROUTING", "type": "filter", "hook": "prerouting", "prio": -300, "policy": "accept"}}}}}},
        {}, {}, {}, {}, {}, {}
        ]}}"#,
        chain(&iface),
        chain(&mac_chain),
        rule(
            "PREROUTING",
            &format!(
                r#"{{"match": {{"op": "==", "left": {{"meta": {{"key": "iifname"}}}}, "right": "veth0"}}}}, {{"jump": {{"target": "{iface}"}}}}"#
            )
        ),
        rule(
            &iface,
            &format!(r#"{{"jump": {{"target": "{mac_chain}"}}}}"#)
        ),
        rule(
            &mac_chain,
            r#"{"match": {"op": "==", "left": {"payload": {"protocol": "ether", "field": "saddr"}}, "right": "02:00:00:00:00:01"}}, {"return": null}"#
        ),
        rule(&mac_chain, r#"{"drop": null}"#),
    );
    let own = NAT.chain(&iface);
    let mac = NAT.chain(&mac_chain);
    let ours = |client: &Nft| {
        let mut batch = Batch::new();
        batch.add_table(&NAT).add_chain(&PREROUTING);
        batch.add_chain(&own).add_chain(&mac);
        batch.flush_chain(&own).flush_chain(&mac);
        batch.add_rule(
            &PREROUTING
                .rule()
                .iifname("veth0")
                .jump(&iface)
                .comment(&comment),
        );
        batch.add_rule(&own.rule().jump(&mac_chain).comment(&comment));
        batch.add_rule(
            &mac.rule()
                .ether_saddr([2, 0, 0, 0, 0, 1])
                .return_()
                .comment(&comment),
        );
        batch.add_rule(&mac.rule().drop().comment(&comment));
        client.commit(&batch).unwrap();
    };
    same(
        &[PREROUTING, own, mac],
        || drop(feed("nft -j -f -", &script)),
        ours,
    );
    in_namespace(|| {
        feed("nft -j -f -", &script);
        let client = Nft::open().unwrap();
        let jumps = client
            .find_rules(&PREROUTING, |rule| rule.comment == Some(comment.as_str()))
            .unwrap();
        assert_eq!(jumps.len(), 1);
        let mut batch = Batch::new();
        batch.delete_rule(&PREROUTING, jumps[0].handle);
        batch.flush_chain(&own).flush_chain(&mac);
        batch.delete_chain(&own).delete_chain(&mac);
        client.commit(&batch).unwrap();
        assert_eq!(client.chain(&own).unwrap(), None);
        assert_eq!(client.chain(&mac).unwrap(), None);
    });
}

#[test]
fn destinations_are_sockets() {
    assert_eq!(socket("[fd00::2]:80").to_string(), "[fd00::2]:80");
}
