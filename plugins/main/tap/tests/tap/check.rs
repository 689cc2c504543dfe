//! CHECK of owner, group, queues and the bridge; CHECK of taps that upstream created.

use crate::common::{TAP, eth0, make_bridge};
use serde_json::{Value, json};
use testkit::{Container, Host, Node, Run, merge};

fn attached() -> (Host, Container, Run) {
    let host = Host::new();
    let container = host.container("c1");
    make_bridge(&container);
    let config = TAP.dual(json!({
        "mtu": 1400, "bridge": "br0", "owner": 54321, "group": 54322, "multiQueue": false,
        "txQueueLen": 100,
    }));
    let run = TAP.plugin().add(&container, &config).expect_ok();
    TAP.plugin().check(&container, &run.with_prev()).expect_ok();
    (host, container, run)
}

#[test]
fn drift_of_the_bridge_is_named() {
    for (command, words) in [
        (
            "link set eth0 nomaster",
            "Interface eth0 is not a port of bridge br0",
        ),
        ("link del br0", "failed to get bridge br0: Link not found"),
    ] {
        let (_host, container, run) = attached();
        container.ip(command);
        TAP.plugin()
            .check(&container, &run.with_prev())
            .expect_error(999)
            .mentions(words);
    }
}

#[test]
fn another_link_of_the_name() {
    for (create, words) in [
        (
            "tuntap add eth0 mode tun user 54321 group 54322",
            "not of type tap",
        ),
        (
            "tuntap add eth0 mode tap group 54322",
            "Interface eth0 has no owner, configured is 54321",
        ),
        (
            "tuntap add eth0 mode tap user 54321 group 7",
            "Interface eth0 has group 7, configured is 54322",
        ),
        (
            "tuntap add eth0 mode tap user 54321 group 54322 multi_queue",
            "Interface eth0 has multiQueue true, configured is false",
        ),
        (
            "link add eth0 type veth peer name other",
            "Error: Container interface eth0 not of type tun",
        ),
    ] {
        let (_host, container, run) = attached();
        container.ip("link del eth0");
        container.ip(create);
        container.ip("link set eth0 up mtu 1400 txqueuelen 100");
        let mut config = run.with_prev();
        let interface = config["prevResult"]["interfaces"][0].as_object_mut();
        interface.unwrap().remove("mac");
        TAP.plugin()
            .check(&container, &config)
            .expect_error(999)
            .mentions(words);
    }
}

/// With both an owner and a group, upstream ignores MTU and hardware address. It does not
/// know all keys of this plugin.
#[test]
fn taps_of_upstream_pass() {
    for (create, extra) in [
        (
            "tuntap add eth0 mode tap vnet_hdr user 54321 group 54322",
            json!({"owner": 54321, "group": 54322, "mtu": 1400, "mac": "02:00:00:00:00:0a"}),
        ),
        (
            "tuntap add eth0 mode tap",
            json!({"mtu": 1400, "owner": 54321}),
        ),
        (
            "tuntap add eth0 mode tap",
            json!({"txQueueLen": 77, "gsoMaxSize": 30000}),
        ),
    ] {
        let (_host, container, config) = by_hand(create, &extra);
        TAP.plugin().check(&container, &config).expect_ok();
        container.ip("link set eth0 mtu 1300");
        if extra["mtu"].is_u64() {
            TAP.plugin()
                .check(&container, &config)
                .expect_error(999)
                .mentions("MTU of eth0 is 1400, current value is 1300");
        }
    }
}

#[test]
fn only_configured_properties_are_compared() {
    let create = "tuntap add eth0 mode tap user 54321 group 54322 multi_queue";
    let (_host, container, mut config) = by_hand(create, &json!({}));
    TAP.plugin().check(&container, &config).expect_ok();
    config["prevResult"]["interfaces"][0]["mtu"] = json!(1500);
    TAP.plugin().check(&container, &config).expect_ok();
    config["multiQueue"] = json!(false);
    TAP.plugin()
        .check(&container, &config)
        .expect_error(999)
        .mentions("Interface eth0 has multiQueue true, configured is false");
}

/// Creates a tap with the command `create`. Returns a configuration with upstream's result.
fn by_hand(create: &str, extra: &Value) -> (Host, Container, Value) {
    let host = Host::new();
    let container = host.container("c1");
    container.ip(create);
    container.ip("link set eth0 up");
    let mac = eth0(&container)["address"].clone();
    let config = json!({"prevResult": {
        "cniVersion": "1.1.0",
        "interfaces": [{"name": "eth0", "mac": mac, "sandbox": "/run/netns/c1"}],
    }});
    (host, container, TAP.layer2(merge(config, extra)))
}
