//! Duplicate addresses.

use crate::common::MACVLAN;
use serde_json::json;
use testkit::{Node, leases, state};

#[test]
fn a_duplicate_hardware_address() {
    let network = MACVLAN.network();
    let mac = json!({"mac": "02:00:00:00:00:0a"});
    let layer2 = MACVLAN.layer2(mac.clone());
    let first = network.container("c1");
    MACVLAN.plugin().add(&first, &layer2).expect_ok();
    let other = network.container("c2");
    let before = state(&network);
    for config in [layer2, MACVLAN.dual(mac)] {
        MACVLAN
            .plugin()
            .add(&other, &config)
            .expect_error(999)
            .mentions("address already in use");
    }
    // The first allocation of the network creates its directory.
    let diff = before.diff(&state(&network));
    assert!(!diff.contains("eth0"), "{diff}");
    assert_eq!(other.link_names(), ["lo"]);
    assert_eq!(leases("net"), [""; 0]);
}

/// Another host on the network has the address.
#[test]
fn a_duplicate_ipv6_address() {
    let network = MACVLAN.network();
    network.router().ip("addr add fd00:1::10/64 dev eth0 nodad");
    let container = network.container("c1");
    let before = network.snapshot().without("/var/lib/cni");
    MACVLAN
        .plugin()
        .add(&container, &MACVLAN.dual(json!({})))
        .expect_error(999)
        .mentions("failed to settle addresses for \"eth0\": link eth0 has address fd00:1::10 in DADFAILED state");
    before.assert_same(&network.snapshot().without("/var/lib/cni"));
    assert_eq!(leases("net"), [""; 0]);
}
