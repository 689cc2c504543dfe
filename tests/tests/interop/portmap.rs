//! Cases of portmap.

use serde_json::{Value, json};
use testkit::{Node as _, merge};

use crate::difference::Difference;
use crate::differences::*;
use crate::exchange::{Case, TWO};
use crate::side::peer_is_new;
use crate::site::{self, Site};

/// Mappings of each protocol, with and without addresses of the host.
fn few() -> Vec<Value> {
    vec![
        json!({"hostPort": 53, "containerPort": 53, "protocol": "udp", "hostIP": "192.0.2.1"}),
        json!({"hostPort": 53, "containerPort": 53, "protocol": "udp", "hostIP": "2001:db8::1"}),
        json!({"hostPort": 9000, "containerPort": 9000, "protocol": "sctp"}),
        json!({"hostPort": 54, "containerPort": 53, "protocol": "udp", "hostIP": "0.0.0.0"}),
    ]
}

/// More of one protocol than a rule can have.
fn many() -> Vec<Value> {
    let tcp = |port| json!({"hostPort": port, "containerPort": 80, "protocol": "tcp"});
    few().into_iter().chain((8000..8016).map(tcp)).collect()
}

fn portmap(mappings: Vec<Value>, extra: Value) -> Value {
    let base = json!({
        "type": "portmap", "capabilities": {"portMappings": true},
        "runtimeConfig": {"portMappings": mappings},
    });
    merge(base, &extra)
}

/// A host with a chain that marks packets, as of kube-proxy, and a rule of masquerade.
fn marking(site: fn() -> Site) -> Site {
    let site = site();
    for command in ["iptables", "ip6tables"] {
        site.host
            .command(&[command, "-t", "nat", "-N", "KUBE-MARK-MASQ"]);
        let rule = ["-A", "POSTROUTING", "-o", "ens1", "-j", "MASQUERADE"];
        site.host
            .command(&[&[command, "-t", "nat"], &rule[..]].concat());
    }
    site
}

static EXPECTED: &[&Difference] = &[&RECORDS, &PORTMAP_CHECK];

#[test]
fn iptables() {
    let case = Case::new(portmap(many(), json!({}))).at(|| marking(site::bridged_ipv4));
    case.expect(EXPECTED).run();
    let case = Case::new(portmap(few(), json!({}))).at(|| marking(site::bridged));
    case.versions(TWO).expect(EXPECTED).run();
}

#[test]
fn masquerade() {
    for keys in [
        json!({"snat": false}),
        json!({"markMasqBit": 3}),
        json!({"externalSetMarkChain": "KUBE-MARK-MASQ"}),
    ] {
        let case = Case::new(portmap(few(), keys)).at(|| marking(site::bridged));
        case.expect(EXPECTED).run();
    }
}

#[test]
fn conditions() {
    let keys = json!({
        "conditionsV4": ["!", "-s", "198.51.100.0/24"], "conditionsV6": ["!", "-s", "2001:db8:9::/64"],
    });
    let case = Case::new(portmap(few(), keys)).at(|| marking(site::bridged));
    case.expect(EXPECTED).run();
}

/// Upstream has nftables since release 1.6.
#[test]
fn without_mappings_and_with_nftables() {
    Case::new(json!({"type": "portmap", "capabilities": {"portMappings": true}}))
        .at(site::bridged)
        .run();
    let cases: [(Value, &[&Difference]); 2] = [
        (json!({}), &[&RECORDS, &PORTMAP_GC, &PORTMAP_NETWORK]),
        (json!({"snat": false}), &[&RECORDS, &PORTMAP_GC]),
    ];
    for (keys, expected) in cases.iter().filter(|_| peer_is_new()) {
        let config = portmap(few(), merge(json!({"backend": "nftables"}), keys));
        let case = Case::new(config).at(site::bridged);
        case.expect(expected).run();
    }
}
