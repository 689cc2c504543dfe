//! CHECK after each single piece of drift fails and names it.

use crate::common::{dual, eth0, layer2, make_bridge, tap};
use serde_json::{Value, json};
use testkit::{Container, Host, Node, Run, merge};

fn attached() -> (Host, Container, Run) {
    let host = Host::new();
    let container = host.container("c1");
    make_bridge(&container);
    let config = dual(json!({
        "mtu": 1400, "bridge": "br0", "owner": 54321, "group": 54322, "multiQueue": false,
        "txQueueLen": 100,
    }));
    let run = tap().add(&container, &config).expect_ok();
    tap().check(&container, &run.with_prev()).expect_ok();
    (host, container, run)
}

#[test]
fn each_drift_is_named() {
    for (command, words) in [
        (
            "ip addr del 10.1.0.2/24 dev eth0",
            "Failed to match addr 10.1.0.2/24 on interface eth0",
        ),
        (
            "ip addr del fd00:1::2/64 dev eth0",
            "Failed to match addr fd00:1::2/64 on interface eth0",
        ),
        (
            "ip route del 10.50.0.0/16",
            "Expected Route {Dst:{IP:10.50.0.0 Mask:ffff0000}",
        ),
        (
            "ip -6 route del fd00:50::/32",
            "Expected Route {Dst:{IP:fd00:50:: ",
        ),
        (
            "ip link set eth0 address 02:00:00:00:00:99",
            "Interface eth0 Mac ",
        ),
        (
            "ip link set eth0 mtu 1300",
            "MTU of eth0 is 1400, current value is 1300",
        ),
        (
            "ip link set eth0 txqueuelen 7",
            "Interface eth0 has 7 where txQueueLen is 100",
        ),
        ("ip link set eth0 down", "Interface eth0 is down"),
        (
            "ip link set eth0 nomaster",
            "Interface eth0 is not a port of bridge br0",
        ),
        (
            "ip link del br0",
            "failed to get bridge br0: could not lookup \"br0\"",
        ),
        (
            "ip link del eth0",
            "Container Interface name in prevResult: eth0 not found",
        ),
    ] {
        let (_host, container, run) = attached();
        container.command(&command.split(' ').collect::<Vec<_>>());
        tap()
            .check(&container, &run.with_prev())
            .expect_error(999)
            .mentions(words);
    }
}

#[test]
fn another_link_of_the_name() {
    for (create, words) in [
        (
            "ip tuntap add eth0 mode tun user 54321 group 54322",
            "not of type tap",
        ),
        (
            "ip tuntap add eth0 mode tap group 54322",
            "Interface eth0 has no owner, configured is 54321",
        ),
        (
            "ip tuntap add eth0 mode tap user 54321 group 7",
            "Interface eth0 has group 7, configured is 54322",
        ),
        (
            "ip tuntap add eth0 mode tap user 54321 group 54322 multi_queue",
            "Interface eth0 has multiQueue true, configured is false",
        ),
        (
            "ip link add eth0 type veth peer name other",
            "Error: Container interface eth0 not of type tun",
        ),
    ] {
        let (_host, container, run) = attached();
        container.command(&["ip", "link", "del", "eth0"]);
        container.command(&create.split(' ').collect::<Vec<_>>());
        container.command(&[
            "ip",
            "link",
            "set",
            "eth0",
            "up",
            "mtu",
            "1400",
            "txqueuelen",
            "100",
        ]);
        let mut config = run.with_prev();
        let interface = config["prevResult"]["interfaces"][0].as_object_mut();
        interface.unwrap().remove("mac");
        tap()
            .check(&container, &config)
            .expect_error(999)
            .mentions(words);
    }
}

#[test]
fn prev_result_is_needed() {
    let (_host, container, run) = attached();
    let mut config = run.with_prev();
    config.as_object_mut().unwrap().remove("prevResult");
    tap()
        .check(&container, &config)
        .expect_error(999)
        .mentions("Required prevResult missing");
}

/// A tap as upstream makes it: with both an owner and a group, it ignores MTU and
/// hardware address; keys of ours it does not know.
#[test]
fn taps_of_upstream_pass() {
    for (create, extra) in [
        (
            "ip tuntap add eth0 mode tap vnet_hdr user 54321 group 54322",
            json!({"owner": 54321, "group": 54322, "mtu": 1400, "mac": "02:00:00:00:00:0a"}),
        ),
        (
            "ip tuntap add eth0 mode tap",
            json!({"mtu": 1400, "owner": 54321}),
        ),
        (
            "ip tuntap add eth0 mode tap",
            json!({"txQueueLen": 77, "gsoMaxSize": 30000}),
        ),
    ] {
        let (_host, container, config) = by_hand(create, &extra);
        tap().check(&container, &config).expect_ok();
        container.command(&["ip", "link", "set", "eth0", "mtu", "1300"]);
        if extra["mtu"].is_u64() {
            tap()
                .check(&container, &config)
                .expect_error(999)
                .mentions("MTU of eth0 is 1400, current value is 1300");
        }
    }
}

/// What the configuration leaves open may be anything.
#[test]
fn only_what_the_configuration_names_is_compared() {
    let create = "ip tuntap add eth0 mode tap user 54321 group 54322 multi_queue";
    let (_host, container, mut config) = by_hand(create, &json!({}));
    tap().check(&container, &config).expect_ok();
    config["prevResult"]["interfaces"][0]["mtu"] = json!(1500);
    tap().check(&container, &config).expect_ok();
    config["multiQueue"] = json!(false);
    tap()
        .check(&container, &config)
        .expect_error(999)
        .mentions("Interface eth0 has multiQueue true, configured is false");
}

/// A tap that `create` makes, and a configuration with the result that upstream prints.
fn by_hand(create: &str, extra: &Value) -> (Host, Container, Value) {
    let host = Host::new();
    let container = host.container("c1");
    container.command(&create.split(' ').collect::<Vec<_>>());
    container.command(&["ip", "link", "set", "eth0", "up"]);
    let mac = eth0(&container)["address"].clone();
    let config = json!({"prevResult": {
        "cniVersion": "1.1.0",
        "interfaces": [{"name": "eth0", "mac": mac, "sandbox": "/run/netns/c1"}],
    }});
    (host, container, layer2(merge(config, extra)))
}
