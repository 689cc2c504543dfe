//! Cases of ptp.

use serde_json::{Value, json};
use testkit::merge;

use crate::difference::Difference;
use crate::differences::*;
use crate::exchange::{Case, VERSIONS};
use crate::side::peer_is_new;

fn ptp(ranges: &Value, extra: Value) -> Value {
    let routes = json!([{"dst": "10.50.0.0/16", "gw": "10.1.0.1"}]);
    let ipam = json!({"type": "host-local", "ranges": ranges, "routes": routes});
    merge(json!({"type": "ptp", "ipam": ipam}), &extra)
}

fn ipv4() -> Value {
    json!([[{"subnet": "10.1.0.0/24"}]])
}

fn dual() -> Value {
    json!([[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]])
}

fn expected(config: &Value) -> Vec<&'static Difference> {
    let mut expected = vec![
        &TX_QUEUE,
        &TX_QUEUE_HOST,
        &PAIR_ALIAS,
        &MTU_IN_RESULT,
        &FILE_MODES,
        &NOTES,
    ];
    if config.to_string().contains("fd00:") {
        expected.extend([&KEEP_ADDRESSES, &NO_DAD]);
    }
    if config["dns"].is_null() {
        expected.push(&EMPTY_DNS);
    }
    if config["ipMasq"] == true {
        expected.push(&RECORDS);
    }
    if config["ipMasqBackend"] == "nftables" {
        expected.push(&NFTABLES_DEL);
    }
    expected
}

#[test]
fn every_version_of_the_specification() {
    for ranges in [ipv4(), dual()] {
        let config = ptp(&ranges, json!({}));
        let expected = expected(&config);
        Case::new(config).versions(VERSIONS).expect(&expected).run();
    }
}

#[test]
fn options() {
    let old = [
        json!({"mtu": 1400, "dns": {"nameservers": ["10.1.0.1"]}}),
        json!({"ipMasq": true}),
    ];
    let new = peer_is_new().then_some(json!({"ipMasq": true, "ipMasqBackend": "nftables"}));
    for extra in old.into_iter().chain(new) {
        for ranges in [ipv4(), dual()] {
            let config = ptp(&ranges, extra.clone());
            let expected = expected(&config);
            Case::new(config).expect(&expected).run();
        }
    }
}
