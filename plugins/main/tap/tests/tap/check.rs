//! CHECK after each single piece of drift fails and names it.

use crate::common::{dual, make_bridge, tap};
use serde_json::json;
use testkit::{Container, Host, Node, Run};

fn attached() -> (Host, Container, Run) {
    let host = Host::new();
    let container = host.container("c1");
    make_bridge(&container);
    let config = dual(json!({
        "mtu": 1400, "bridge": "br0", "owner": 54321, "group": 54322, "txQueueLen": 100,
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
            "Interface eth0 has owner none, configured is 54321",
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
