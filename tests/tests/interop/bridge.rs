//! Cases of bridge.

use serde_json::{Value, json};
use testkit::{merge, needs};

use crate::difference::Difference;
use crate::differences::*;
use crate::exchange::{Case, TWO, VERSIONS};
use crate::side::peer_is_new;
use crate::site;

/// The routes have their next hop: the peer's CHECK does not find routes that got it from ADD.
fn ipam() -> Value {
    json!({
        "type": "host-local",
        "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]],
        "routes": [{"dst": "10.50.0.0/16", "gw": "10.1.0.1"}, {"dst": "fd00:50::/32", "gw": "fd00:1::1"}],
    })
}

fn ipv4() -> Value {
    json!({
        "type": "host-local", "subnet": "10.1.0.0/24",
        "routes": [{"dst": "10.50.0.0/16", "gw": "10.1.0.1"}],
    })
}

fn ipv6() -> Value {
    json!({"type": "host-local", "subnet": "fd00:1::/64"})
}

fn bridge(extra: Value) -> Value {
    merge(json!({"type": "bridge", "bridge": "cni0"}), &extra)
}

/// Differences of each attachment with addresses and without configured DNS.
static ALWAYS: &[&Difference] = &[
    &TX_QUEUE,
    &TX_QUEUE_HOST,
    &PAIR_ALIAS,
    &MTU_IN_RESULT,
    &NDISC_NOTIFY,
    &FILE_MODES,
    &NOTES,
    &EMPTY_DNS,
];
/// Differences of each attachment without addresses.
static LAYER2: &[&Difference] = &[
    &TX_QUEUE,
    &TX_QUEUE_HOST,
    &PAIR_ALIAS,
    &MTU_IN_RESULT,
    &EMPTY_DNS,
    &LAYER2_CHECK,
];
/// Further differences of attachments with IPv6 addresses.
static IPV6: &[&Difference] = &[&KEEP_ADDRESSES, &NO_DAD];

/// Differences of an attachment with this `ipam`.
fn expected(ipam: &Value) -> Vec<&'static Difference> {
    let is_ipv6 = ipam.to_string().contains("fd00:");
    let further = if is_ipv6 { IPV6 } else { &[] };
    [ALWAYS, further].concat()
}

#[test]
fn every_version_of_the_specification() {
    for ipam in [ipv4(), ipam()] {
        let config = bridge(json!({"isDefaultGateway": true, "ipam": ipam}));
        let case = Case::new(config).versions(VERSIONS);
        case.expect(&expected(&ipam)).run();
    }
}

#[test]
fn gateways() {
    for keys in [
        json!({"ipam": ipam()}),
        json!({"isGateway": true, "ipam": ipam()}),
        json!({"isGateway": true, "forceAddress": true, "ipam": ipv6()}),
        json!({"isDefaultGateway": true, "ipam": {"type": "host-local", "subnet": "10.1.0.0/24", "gateway": "10.1.0.254"}}),
    ] {
        let expected = expected(&keys);
        let case = Case::new(bridge(keys)).versions(TWO);
        case.expect(&expected).run();
    }
}

#[test]
fn masquerade() {
    for ipam in [ipv4(), ipv6(), ipam()] {
        let config = bridge(json!({"isGateway": true, "ipMasq": true, "ipam": ipam}));
        let case = Case::new(config).expect(&[&RECORDS]);
        case.expect(&expected(&ipam)).run();
    }
    // Upstream has the key since release 1.9.
    if peer_is_new() {
        let keys = json!({"isGateway": true, "ipMasq": true, "ipMasqBackend": "nftables"});
        let config = bridge(merge(keys, &json!({"ipam": ipam()})));
        let case = Case::new(config).expect(&[&RECORDS, &NFTABLES_DEL]);
        case.expect(&expected(&ipam())).run();
    }
}

#[test]
fn ports() {
    let old = [
        json!({"hairpinMode": true, "mtu": 1400}),
        json!({"promiscMode": true}),
        json!({"runtimeConfig": {"mac": "02:00:00:00:00:07"}}),
        json!({"args": {"cni": {"mac": "02:00:00:00:00:08"}}}),
        json!({"enabledad": true}),
    ];
    let new = peer_is_new().then_some(json!({"portIsolation": true}));
    for keys in old.into_iter().chain(new) {
        let config = bridge(merge(json!({"isGateway": true, "ipam": ipv4()}), &keys));
        Case::new(config).expect(ALWAYS).run();
    }
    let case = Case::new(bridge(json!({"ipam": ipv4()}))).expect(ALWAYS);
    case.args("MAC=02:00:00:00:00:09;IgnoreUnknown=1").run();
}

#[test]
fn spoof_check() {
    let config = bridge(json!({"macspoofchk": true, "ipam": ipv4()}));
    Case::new(config).expect(ALWAYS).expect(&[&RECORDS]).run();
}

#[test]
fn duplicate_address_detection() {
    // The site switches it off in other cases.
    let config = bridge(json!({"isGateway": true, "enabledad": true, "ipam": ipv6()}));
    let case = Case::new(config).at(site::with_dad);
    case.expect(&expected(&ipv6())).run();
}

#[test]
fn without_addresses() {
    let old = json!({"mtu": 1400});
    let new = peer_is_new().then_some(json!({"disableContainerInterface": true}));
    for keys in [old].into_iter().chain(new) {
        let config = bridge(merge(json!({"ipam": {}}), &keys));
        Case::new(config).expect(LAYER2).run();
    }
}

#[test]
fn an_existing_bridge() {
    let config = bridge(json!({"isGateway": true, "ipMasq": true, "ipam": ipam()}));
    let case = Case::new(config).at(site::with_bridge).expect(&[&RECORDS]);
    case.expect(&expected(&ipam())).run();
}

#[test]
fn vlans() {
    needs(&["bridge-vlan-filtering"]);
    let old = [
        json!({"vlan": 100, "ipam": ipv4()}),
        json!({"vlan": 100, "isGateway": true, "ipam": ipam()}),
        json!({"vlan": 100, "ipam": {}}),
    ];
    for keys in old {
        let expected = match keys["ipam"] == json!({}) {
            true => LAYER2.to_vec(),
            false => expected(&keys),
        };
        let of_gateway: &[&Difference] = match keys["isGateway"] == true {
            true => &[&VLAN_GATEWAY, &BRIDGE_MAC],
            false => &[],
        };
        let case = Case::new(bridge(keys))
            .expect(&[&DEFAULT_VLAN])
            .expect(of_gateway);
        case.expect(&expected).run();
    }
    let new = [
        json!({"vlan": 100, "preserveDefaultVlan": true, "ipam": {}}),
        json!({"vlanTrunk": [{"id": 7}, {"minID": 100, "maxID": 103}], "ipam": {}}),
    ];
    for keys in new.into_iter().filter(|_| peer_is_new()) {
        Case::new(bridge(keys)).expect(LAYER2).run();
    }
}

#[test]
fn names_and_dns() {
    let config = json!({
        "type": "bridge", "bridge": "br-of-test", "dns": {"nameservers": ["10.1.0.1"], "search": ["a.example"]},
        "ipam": ipv4(),
    });
    let case = Case::new(config).versions(VERSIONS);
    case.expect(&[
        &TX_QUEUE,
        &TX_QUEUE_HOST,
        &PAIR_ALIAS,
        &MTU_IN_RESULT,
        &NDISC_NOTIFY,
        &FILE_MODES,
        &NOTES,
    ])
    .run();
}
