//! `ipMasq`: packets to other networks have an address of the host as their source, and
//! no other packets have.

use crate::common::{bridge, dual, layer2, merge};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;
use testkit::{
    Container, Host, Invocation, Listener, Node, filters, legacy_iptables, namespace, outside,
    state,
};

/// The firewall that has the rules: nftables, or a variant of iptables.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Backend {
    Nftables,
    Iptables,
    Legacy,
}

pub(crate) const BACKENDS: [Backend; 3] = [Backend::Nftables, Backend::Iptables, Backend::Legacy];

impl Backend {
    /// A network with masquerade.
    pub(crate) fn config(self, extra: Value) -> Value {
        let name = match self {
            Backend::Nftables => "nftables",
            Backend::Iptables | Backend::Legacy => "iptables",
        };
        let own = json!({"isDefaultGateway": true, "ipMasq": true, "ipMasqBackend": name});
        dual(merge(own, extra))
    }

    /// A call whose `PATH` leads to this variant of iptables.
    pub(crate) fn call(self, host: &Host, verb: &str) -> Invocation {
        let call = bridge().command(verb);
        match self {
            Backend::Legacy => call.env("PATH", legacy_iptables(host)),
            Backend::Nftables | Backend::Iptables => call,
        }
    }
}

/// Attaches a container. Returns it, and its configuration with `prevResult`.
pub(crate) fn attached(
    host: &Host,
    backend: Backend,
    name: &str,
    extra: Value,
) -> (Container, Value) {
    let container = host.container(name);
    let add = backend.call(host, "ADD").container(&container);
    let run = add.config(&backend.config(extra)).run().expect_ok();
    let check = backend.call(host, "CHECK").container(&container);
    check.config(&run.with_prev()).run().expect_ok();
    (container, run.with_prev())
}

fn address(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

/// The lines of all firewalls that belong to attachments.
pub(crate) fn traces(host: &Host) -> Vec<String> {
    let mut lines = filters(host);
    let parts = [
        "CNI-",
        "net: net",
        "macspoofchk",
        "cni-br-iface",
        "10.1.0.",
        "fd00:1:",
        "\"veth",
    ];
    lines.retain(|line| parts.iter().any(|part| line.contains(part)));
    lines
}

#[test]
fn packets_to_other_networks_only_have_the_hosts_address() {
    for backend in BACKENDS {
        let host = Host::new();
        let outside = outside(&host);
        let (c1, _) = attached(&host, backend, "c1", json!({}));
        let (c2, _) = attached(&host, backend, "c2", json!({}));
        for (there, hosts, own, neighbour, gateway) in [
            ("192.0.2.9", "192.0.2.1", "10.1.0.2", "10.1.0.3", "10.1.0.1"),
            (
                "2001:db8::9",
                "2001:db8::1",
                "fd00:1::2",
                "fd00:1::3",
                "fd00:1::1",
            ),
        ] {
            let listener = Listener::new(&outside, there);
            assert_eq!(listener.sees(&c1), address(hosts), "{backend:?}");
            assert_eq!(listener.sees(&c2), address(hosts), "{backend:?}");
            assert_eq!(
                Listener::new(&c2, neighbour).sees(&c1),
                address(own),
                "{backend:?}"
            );
            assert_eq!(
                Listener::new(&host, gateway).sees(&c1),
                address(own),
                "{backend:?}"
            );
        }
        c1.ping("192.0.2.9");
        c1.ping("2001:db8::9");
    }
}

#[test]
fn without_masquerade_the_source_address_is_kept() {
    let host = Host::new();
    let outside = outside(&host);
    let container = host.container("c1");
    let config = dual(json!({"isDefaultGateway": true}));
    bridge().add(&container, &config).expect_ok();
    for (there, own) in [("192.0.2.9", "10.1.0.2"), ("2001:db8::9", "fd00:1::2")] {
        assert_eq!(
            Listener::new(&outside, there).sees(&container),
            address(own)
        );
    }
    assert_eq!(filters(&host), [""; 0]);
}

/// The host does not forward multicast, so the test sends it from the host, with the
/// container's address.
#[test]
fn multicast_keeps_its_source() {
    for backend in BACKENDS {
        let host = Host::new();
        let outside = outside(&host);
        let _attached = attached(&host, backend, "c1", json!({}));
        // Multicast leaves by the interface that has its source address.
        host.ip("addr add 10.1.0.2/32 dev out0");
        let group = Ipv4Addr::new(239, 1, 2, 3);
        let there = outside.enter(|| UdpSocket::bind("0.0.0.0:4001")).unwrap();
        there
            .join_multicast_v4(&group, &Ipv4Addr::new(192, 0, 2, 9))
            .unwrap();
        there
            .set_read_timeout(Some(Duration::from_secs(2)))
            .unwrap();
        let sees = |to: IpAddr| {
            let sender = host.enter(|| UdpSocket::bind("10.1.0.2:0")).unwrap();
            sender.send_to(b"x", SocketAddr::new(to, 4001)).unwrap();
            there.recv_from(&mut [0; 9]).map(|(_, from)| from.ip()).ok()
        };
        assert_eq!(sees(group.into()), address("10.1.0.2"), "{backend:?}");
        assert_eq!(
            sees("192.0.2.9".parse().unwrap()),
            address("192.0.2.1"),
            "{backend:?}"
        );
    }
}

#[test]
fn options_of_the_object_form() {
    for backend in BACKENDS {
        let host = Host::new();
        let outside = outside(&host);
        host.ip("addr add 192.0.2.77/24 dev out0");
        for address in ["192.0.2.10/24", "192.0.2.20/24"] {
            outside.ip(&format!("addr add {address} dev eth0"));
        }
        let masquerade = json!({"IPV6": false, "exclude": ["192.0.2.16/28", "2001:db8::/32"],
            "snatIP": "192.0.2.77", "fullyRandom": true});
        let (container, config) = attached(&host, backend, "c1", json!({"ipMasq": masquerade}));
        let seen = |there: &str| Listener::new(&outside, there).sees(&container);
        assert_eq!(seen("192.0.2.9"), address("192.0.2.77"), "{backend:?}");
        assert_eq!(seen("192.0.2.20"), address("10.1.0.2"), "{backend:?}");
        assert_eq!(seen("2001:db8::9"), address("fd00:1::2"), "{backend:?}");
        let rules = filters(&host).join("\n");
        assert!(
            rules.contains("fully-random") || rules.contains("--random-fully"),
            "{rules}"
        );
        let del = backend.call(&host, "DEL").container(&container);
        del.config(&config).run().expect_ok();
        assert_eq!(traces(&host), [""; 0], "{backend:?}");
    }
}

#[test]
fn several_addresses_of_a_family() {
    for backend in BACKENDS {
        let host = Host::new();
        let outside = outside(&host);
        let ranges = json!([[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.1.1.0/24"}],
            [{"subnet": "fd00:1::/64"}]]);
        let ipam = json!({"type": "host-local", "ranges": ranges});
        let (container, config) = attached(&host, backend, "c1", json!({"ipam": ipam}));
        let listener = Listener::new(&outside, "192.0.2.9");
        for source in ["10.1.0.2:0", "10.1.1.2:0"] {
            assert_eq!(listener.sees_from(&container, source), address("192.0.2.1"));
        }
        for own in ["10.1.0", "10.1.1"] {
            let gateway = Listener::new(&host, &format!("{own}.1"));
            let source = format!("{own}.2");
            assert_eq!(
                gateway.sees_from(&container, &format!("{source}:0")),
                address(&source)
            );
        }
        let del = backend.call(&host, "DEL").container(&container);
        del.config(&config).run().expect_ok();
        assert_eq!(traces(&host), [""; 0], "{backend:?}");
    }
}

/// As `nft` and `iptables-save` print them.
#[test]
fn rules_are_upstreams() {
    let host = Host::new();
    attached(&host, Backend::Nftables, "c1", json!({}));
    let hash = "a4861f4ae9f7d238-f4d01f2ef4b92245";
    let comment = format!("{hash}, net: net, if: eth0, id: c1");
    let expected = format!(
        r#"table inet cni_plugins_masquerade {{
	comment "Masquerading for plugins from github.com/containernetworking/plugins"
	chain masq_checks {{
		comment "Masquerade traffic from certain IPs to any (non-multicast) IP outside their subnet"
		ip saddr 10.1.0.2 ip daddr != 10.1.0.0/24 masquerade comment "{comment}"
		ip6 saddr fd00:1::2 ip6 daddr != fd00:1::/64 masquerade comment "{comment}"
	}}

	chain postrouting {{
		type nat hook postrouting priority srcnat; policy accept;
		ip daddr 224.0.0.0/4 return
		ip6 daddr ff00::/8 return
		goto masq_checks
	}}
}}
"#
    );
    assert_eq!(host.command(&["nft", "list", "ruleset"]), expected);

    let host = Host::new();
    attached(&host, Backend::Iptables, "c1", json!({}));
    let chain = "CNI-623e1c388032b20529218ecc";
    let comment = r#"-m comment --comment "name: \"net\" id: \"c1\"""#;
    for (save, own, network, multicast) in [
        ("iptables-save", "10.1.0.2/32", "10.1.0.0/24", "224.0.0.0/4"),
        ("ip6tables-save", "fd00:1::2/128", "fd00:1::/64", "ff00::/8"),
    ] {
        let text = host.command(&[save, "-t", "nat"]);
        let rules: Vec<&str> = text.lines().filter(|line| line.starts_with("-A")).collect();
        let expected = [
            format!("-A POSTROUTING -s {own} {comment} -j {chain}"),
            format!("-A {chain} -d {network} {comment} -j ACCEPT"),
            format!("-A {chain} ! -d {multicast} {comment} -j MASQUERADE"),
        ];
        assert_eq!(rules.len(), 3, "{text}");
        for rule in expected {
            assert!(rules.contains(&rule.as_str()), "{rule}\n{text}");
        }
        let accept = rules.iter().position(|rule| rule.contains("ACCEPT"));
        assert!(accept < rules.iter().position(|rule| rule.contains("MASQUERADE")));
    }
}

#[test]
fn check_names_what_is_missing() {
    for (backend, change, words) in [
        (
            Backend::Nftables,
            "nft flush chain inet cni_plugins_masquerade postrouting",
            "chain postrouting of nftables table cni_plugins_masquerade does not lead to masq_checks",
        ),
        (
            Backend::Nftables,
            "nft flush chain inet cni_plugins_masquerade masq_checks",
            "masquerade of 10.1.0.2/24 not found in chain masq_checks",
        ),
        (
            Backend::Nftables,
            "nft delete table inet cni_plugins_masquerade",
            "table cni_plugins_masquerade",
        ),
        (
            Backend::Iptables,
            "iptables -t nat -F POSTROUTING",
            "masquerade rule not found in table nat of iptables: -A POSTROUTING -s 10.1.0.2/32",
        ),
        (
            Backend::Iptables,
            "ip6tables -t nat -D CNI-623e1c388032b20529218ecc 1",
            "masquerade rule not found in table nat of ip6tables: -A CNI-623e1c388032b20529218ecc -d fd00:1::/64",
        ),
        (
            Backend::Legacy,
            "iptables-legacy -t nat -D CNI-623e1c388032b20529218ecc 2",
            "! -d 224.0.0.0/4",
        ),
        (
            Backend::Legacy,
            "ip6tables-legacy -t nat -F",
            "not found in table nat of ip6tables",
        ),
    ] {
        let host = Host::new();
        let (container, config) = attached(&host, backend, "c1", json!({}));
        namespace::run(change);
        let check = backend.call(&host, "CHECK").container(&container);
        check
            .config(&config)
            .run()
            .expect_error(999)
            .mentions(words);
        // DEL succeeds nevertheless.
        let del = backend.call(&host, "DEL").container(&container);
        del.config(&config).run().expect_ok();
        assert_eq!(traces(&host), [""; 0], "{change}");
    }
}

#[test]
fn iptables_is_the_default_backend_where_it_is_installed() {
    let host = Host::new();
    let (c1, c2) = (host.container("c1"), host.container("c2"));
    let config = dual(json!({"isDefaultGateway": true, "ipMasq": true, "ipMasqBackend": null}));
    bridge().add(&c1, &config).expect_ok();
    let rules = filters(&host).join("\n");
    assert!(
        rules.contains("-j MASQUERADE") && !rules.contains("masq_checks"),
        "{rules}"
    );
    let nowhere = host.dir().join("nowhere");
    let without = |verb: &str| bridge().command(verb).container(&c2).env("PATH", &nowhere);
    let run = without("ADD").config(&config).run().expect_ok();
    assert!(filters(&host).join("\n").contains("masq_checks"));
    without("CHECK").config(&run.with_prev()).run().expect_ok();
    without("STATUS").config(&config).run().expect_ok();
    without("DEL").config(&config).run().expect_ok();
    bridge().del(&c1, &config).expect_ok();
    assert_eq!(traces(&host), [""; 0]);

    // If it is configured it is required, and nothing is changed without it.
    let config = dual(json!({"ipMasq": true, "ipMasqBackend": "iptables"}));
    let before = state(&host);
    let error = without("ADD").config(&config).run().expect_error(999);
    error.mentions("ipMasq needs iptables");
    let error = without("STATUS").config(&config).run().expect_error(50);
    error.mentions("ipMasq is not possible: iptables is not usable");
    before.assert_same(&state(&host));
}

#[test]
fn invalid_values_are_refused() {
    let host = Host::new();
    let container = host.container("c1");
    let before = host.snapshot();
    for (extra, code, words) in [
        (
            json!({"ipMasq": true, "ipMasqBackend": "ipfw"}),
            7,
            "unknown ipmasq backend \"ipfw\"; ipMasqBackend is \"iptables\" or \"nftables\"",
        ),
        (
            json!({"ipMasq": true, "ipMasqBackend": ""}),
            7,
            "unknown ipmasq backend \"\"",
        ),
        (
            json!({"ipMasqBackend": 7}),
            999,
            "failed to load netconf: ipMasqBackend: expected a string, got number",
        ),
        (
            json!({"ipMasq": "true"}),
            999,
            "failed to load netconf: ipMasq: expected true or false, or an object",
        ),
        (
            json!({"ipMasq": {"ipv4": 1}}),
            999,
            "failed to load netconf: ipMasq.ipv4: expected true or false, got number",
        ),
        (
            json!({"ipMasq": {"exclude": ["10.0.0.0/33"]}}),
            999,
            "failed to load netconf: ipMasq.exclude[0]: invalid CIDR address: 10.0.0.0/33",
        ),
        (
            json!({"ipMasq": {"snatIP": "nowhere"}}),
            999,
            "failed to load netconf: ipMasq.snatIP: invalid IP address: nowhere",
        ),
        (
            json!({"ipMasq": {"snatIP": ["192.0.2.1", "192.0.2.2"]}}),
            7,
            "ipMasq.snatIP has two addresses of one family: 192.0.2.2",
        ),
        (
            json!({"ipMasq": {"snatIP": "::"}}),
            7,
            "ipMasq.snatIP :: is not a valid source address",
        ),
    ] {
        let run = bridge().add(&container, &dual(extra));
        run.expect_error(code).mentions(words);
        before.assert_same(&host.snapshot());
    }
}

#[test]
fn without_addresses_there_is_nothing_to_masquerade() {
    let host = Host::new();
    let container = host.container("c1");
    let config = layer2(json!({"ipMasq": true}));
    let run = bridge().add(&container, &config).expect_ok();
    bridge().check(&container, &run.with_prev()).expect_ok();
    bridge().del(&container, &config).expect_ok();
    assert_eq!(filters(&host), [""; 0]);
    let neither_family = dual(json!({"ipMasq": {"ipv4": false, "ipv6": false}}));
    bridge().add(&container, &neither_family).expect_ok();
    assert_eq!(filters(&host), [""; 0]);
}
