//! `conditionsV4` and `conditionsV6` in the language of nftables.

use std::fs;
use std::net::SocketAddr;

use serde_json::{Value, json};
use testkit::{Host, Node, merge};

use crate::common::{LONG, Net, SHORT, Server, config, is_mapped, portmap, ruleset, web};

/// Conditions, and whether clients at ens1 and at ens2 reach the container. Words in
/// capitals stand for those of the family.
const MATCHES: [(&[&str], [bool; 2]); 28] = [
    (
        &["IP", "daddr", "!=", "{ NOWHERE, FAR_END }"],
        [true, false],
    ),
    (&["IP daddr != { NOWHERE, FAR_END }"], [true, false]),
    (
        &["IP", "saddr", "{", "OUTSIDE,", "NOWHERE", "}"],
        [true, false],
    ),
    (&["IP saddr == { OUTSIDE, NOWHERE }"], [true, false]),
    (&["IP", "saddr", "OUTSIDE-OUTSIDE_LAST"], [true, false]),
    (&["IP saddr != OUTSIDE-OUTSIDE_LAST"], [false, true]),
    (&["IP", "saddr", "!=", "OUTSIDE_NET"], [false, true]),
    (&["iifname", "{ ens2, lo }"], [false, true]),
    (&["iifname", "ens*"], [true, true]),
    (&["iifname", "!=", "\"ens*\""], [false, false]),
    (&["meta", "iifname", "ens2"], [false, true]),
    (&["iif", "ens1"], [true, false]),
    (&["meta iif != \"ens1\""], [false, true]),
    (&["ct", "state", "new"], [true, true]),
    (&["ct state established,related"], [false, false]),
    (&["fib", "daddr", "type", "local"], [true, true]),
    (&["fib daddr type != local"], [false, false]),
    (&["meta", "mark", "0x0"], [true, true]),
    (&["meta", "mark", "0x7"], [false, false]),
    (&["tcp", "flags", "syn"], [true, true]),
    (&["tcp flags & (fin|syn|rst|ack) == syn"], [true, true]),
    (&["tcp", "flags", "fin"], [false, false]),
    (&["IP", "saddr", "@allowed"], [false, true]),
    (&["IP saddr != @allowed"], [true, false]),
    (&["tcp", "sport", "1024-65535"], [true, true]),
    (&["tcp", "dport", "!=", "8080"], [false, false]),
    (&["meta", "l4proto", "{ tcp, udp }"], [true, true]),
    (
        &[
            "IP saddr",
            "{ FAR, NOWHERE }",
            "iifname ens2",
            "tcp flags syn",
        ],
        [false, true],
    ),
];

fn words(pattern: &[&str], ipv4: bool) -> Vec<String> {
    let names = match ipv4 {
        true => [
            ("OUTSIDE_LAST", "192.0.2.99"),
            ("OUTSIDE_NET", "192.0.2.0/24"),
            ("OUTSIDE", "192.0.2.2"),
            ("FAR_END", "198.51.100.1"),
            ("FAR", "198.51.100.2"),
            ("NOWHERE", "127.0.0.0/8"),
            ("IP", "ip"),
        ],
        false => [
            ("OUTSIDE_LAST", "2001:db8::99"),
            ("OUTSIDE_NET", "2001:db8::/64"),
            ("OUTSIDE", "2001:db8::2"),
            ("FAR_END", "2001:db8:9::1"),
            ("FAR", "2001:db8:9::2"),
            ("NOWHERE", "fd00:2::/32"),
            ("IP", "ip6"),
        ],
    };
    let fill = |word: &&str| {
        let text = (*word).to_owned();
        names
            .iter()
            .fold(text, |text, (name, value)| text.replace(name, value))
    };
    pattern.iter().map(fill).collect()
}

#[test]
fn only_packets_that_match_are_mapped() {
    let net = Net::new();
    let server = Server::new(&net.container, 80);
    // An administrator's sets, in the tables of the rules.
    let sets = net.host.write(
        "sets.nft",
        "add table ip cni_hostport\n\
         add set ip cni_hostport allowed { type ipv4_addr ; elements = { 198.51.100.2 } ; }\n\
         add table ip6 cni_hostport\n\
         add set ip6 cni_hostport allowed { type ipv6_addr ; elements = { 2001:db8:9::2 } ; }\n",
    );
    net.host.command(&["nft", "-f", sets.to_str().unwrap()]);
    let mut wrong = Vec::new();
    for (number, (pattern, expected)) in MATCHES.iter().enumerate() {
        // Without the key, the language of the conditions chooses the backend.
        let mut keys = match number % 2 {
            0 => json!({}),
            _ => json!({"backend": "nftables"}),
        };
        keys["cniVersion"] = "1.1.0".into();
        keys["conditionsV4"] = json!(words(pattern, true));
        keys["conditionsV6"] = json!(words(pattern, false));
        // A UDP mapping, which conditions on TCP never match.
        let mut mappings = web();
        let mut udp = mappings[0].clone();
        udp["protocol"] = "udp".into();
        mappings.as_array_mut().unwrap().push(udp);
        let config = config(&net.container, &mappings, &keys);
        portmap().status(&config).expect_ok();
        portmap().add(&net.container, &config).expect_ok();
        portmap().check(&net.container, &config).expect_ok();
        for (outside, far) in [
            ("192.0.2.1", "198.51.100.1"),
            ("2001:db8::1", "2001:db8:9::1"),
        ] {
            let ask = |node, to: &str, wanted: bool| {
                let to = SocketAddr::new(to.parse().unwrap(), 8080);
                let patience = if wanted { LONG } else { SHORT };
                server.tcp_within(node, to, patience).is_some()
            };
            let seen = [
                ask(&net.outside, outside, expected[0]),
                ask(&net.far, far, expected[1]),
            ];
            if seen != *expected {
                wrong.push(format!(
                    "{keys}: {seen:?} instead of {expected:?} at {outside}"
                ));
            }
        }
        portmap().del(&net.container, &config).expect_ok();
        assert!(!is_mapped(&net.host), "{keys}\n{}", ruleset(&net.host));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn with_a_set() -> Value {
    json!({
        "conditionsV4": ["ip", "daddr", "!=", "{ 127.0.0.0/8, 198.19.254.254 }"],
        "conditionsV6": ["ip6 saddr != { 2001:db8:7::/48, 2001:db8::7 }"],
    })
}

/// ADD twice with different mappings, then each way to remove them.
#[test]
fn rules_with_a_set_are_replaced_and_removed() {
    for way_out in ["DEL", "DEL without record", "DEL without prevResult", "GC"] {
        let host = Host::new();
        let container = host.container("c1");
        let mapping = |port: u16| {
            json!([
                {"hostPort": port, "containerPort": 80, "protocol": "tcp"},
                {"hostPort": port, "containerPort": 80, "protocol": "udp", "hostIP": "192.0.2.1"},
            ])
        };
        let with = |port| {
            let mut config = config(&container, &mapping(port), &with_a_set());
            config["cniVersion"] = "1.1.0".into();
            config["prevResult"]["cniVersion"] = "1.1.0".into();
            config
        };
        portmap().add(&container, &with(8081)).expect_ok();
        let config = with(8080);
        portmap().add(&container, &config).expect_ok();
        let rules = ruleset(&host);
        for rule in [
            "ip daddr != { 127.0.0.0/8, 198.19.254.254 } tcp dport 8080 dnat to 10.1.0.2:80 comment \"c1\"",
            "ip daddr != { 127.0.0.0/8, 198.19.254.254 } ip daddr 192.0.2.1 udp dport 8080 dnat to 10.1.0.2:80 comment \"c1\"",
            "tcp dport 8080 dnat to [fd00:1::2]:80 comment \"c1\"",
        ] {
            assert_eq!(rules.matches(rule).count(), 1, "{rule}\n{rules}");
        }
        assert!(!rules.contains("8081"), "{rules}");
        portmap().check(&container, &config).expect_ok();
        match way_out {
            "GC" => {
                let gc = merge(config, &json!({"cni.dev/valid-attachments": []}));
                portmap().gc(&gc).expect_ok();
            }
            "DEL without prevResult" => {
                let bare = merge(config, &json!({"prevResult": null}));
                portmap().del(&container, &bare).expect_ok();
            }
            way_out => {
                if way_out == "DEL without record" {
                    fs::remove_dir_all("/run/cni").unwrap();
                }
                portmap().del(&container, &config).expect_ok();
            }
        }
        assert!(!is_mapped(&host), "{way_out}\n{}", ruleset(&host));
    }
}

#[test]
fn check_finds_that_a_rule_with_a_set_is_missing() {
    let host = Host::new();
    let container = host.container("c1");
    let config = config(&container, &web(), &with_a_set());
    portmap().add(&container, &config).expect_ok();
    host.command(&["nft", "flush", "chain", "ip", "cni_hostport", "hostports"]);
    portmap()
        .check(&container, &config)
        .expect_error(999)
        .mentions("missing hostport rules in \"hostports\" chain");
}

#[test]
fn invalid_conditions_change_nothing() {
    let host = Host::new();
    let container = host.container("c1");
    let before = host.snapshot();
    for (conditions, path, words) in [
        (
            json!(["ip", "saddr", "{ nonsense }"]),
            None,
            "unable to set up nftables rules",
        ),
        (
            json!(["ip saddr @absent"]),
            None,
            "No such file or directory",
        ),
        (
            json!(["ip saddr { 192.0.2.2 }; flush ruleset"]),
            None,
            "conditionsV4",
        ),
        (json!(["ip saddr 192.0.2.2 #"]), None, "conditionsV4"),
        (
            json!(["ip", "saddr", "{ 192.0.2.2, 192.0.2.3 }"]),
            Some("/nowhere"),
            "exec: \"nft\"",
        ),
    ] {
        let keys = json!({"cniVersion": "1.1.0", "conditionsV4": conditions});
        let config = config(&container, &web(), &keys);
        let call = |verb: &str| {
            let call = portmap()
                .command(verb)
                .container(&container)
                .config(&config);
            match path {
                Some(path) => call.env("PATH", path),
                None => call,
            }
        };
        call("ADD").run().expect_error(999).mentions(words);
        before.assert_same(&host.snapshot().without("/run/cni"));
        if path.is_some() {
            call("STATUS").run().expect_error(50).mentions(words);
        }
        call("DEL").run().expect_ok();
    }
}

#[test]
fn conditions_choose_the_backend() {
    for (keys, table) in [
        (
            json!({"conditionsV4": ["ip", "saddr", "192.0.2.2"]}),
            "table ip cni_hostport",
        ),
        (
            json!({"conditionsV6": ["ip6", "saddr", "!=", "{ ::1, ::2 }"]}),
            "table ip cni_hostport",
        ),
        (json!({"conditionsV4": ["-s", "192.0.2.2"]}), "table ip nat"),
        (
            json!({"conditionsV6": ["!", "-s", "2001:db8::2"]}),
            "table ip nat",
        ),
        (json!({}), "table ip nat"),
    ] {
        let host = Host::new();
        let container = host.container("c1");
        let keys = merge(keys, &json!({"cniVersion": "1.1.0"}));
        let config = config(&container, &web(), &keys);
        portmap().status(&config).expect_ok();
        portmap().add(&container, &config).expect_ok();
        portmap().check(&container, &config).expect_ok();
        let tables = host.command(&["nft", "list", "tables"]);
        assert!(tables.contains(table), "{keys}\n{tables}");
        portmap().del(&container, &config).expect_ok();
        assert!(!is_mapped(&host), "{keys}");
    }
}
