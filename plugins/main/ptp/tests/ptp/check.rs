//! CHECK fails after each single drift, and names it.

use crate::common::{dual, host_end, ptp};
use serde_json::json;
use testkit::{Container, Host, Node, Run};

struct Attached {
    host: Host,
    container: Container,
    run: Run,
    veth: String,
}

fn attached() -> Attached {
    let host = Host::new();
    let container = host.container("c1");
    let run = ptp()
        .add(&container, &dual(json!({"mtu": 1400})))
        .expect_ok();
    let veth = host_end(&run);
    ptp().check(&container, &run.with_prev()).expect_ok();
    Attached {
        host,
        container,
        run,
        veth,
    }
}

#[test]
fn drift_in_the_container_is_named() {
    for (command, words) in [
        (
            "addr del 10.1.0.2/24 dev eth0",
            "the route to 10.1.0.1/32 by interface eth0 is missing",
        ),
        (
            "addr del fd00:1::2/64 dev eth0",
            "Failed to match addr fd00:1::2/64 on interface eth0",
        ),
        (
            "route del 10.1.0.1",
            "the route to 10.1.0.1/32 by interface eth0 is missing",
        ),
        (
            "-6 route del fd00:1::1",
            "the route to fd00:1::1/128 by interface eth0 is missing",
        ),
        (
            "route del 10.1.0.0/24",
            "the route to 10.1.0.0/24 through 10.1.0.1 by interface eth0 is missing",
        ),
        (
            "-6 route del fd00:1::/64",
            "the route to fd00:1::/64 through fd00:1::1 by interface eth0 is missing",
        ),
        (
            "route replace 10.1.0.0/24 dev eth0",
            "the route to 10.1.0.0/24 through 10.1.0.1 by interface eth0 is missing",
        ),
        (
            "route del default",
            "Expected Route {Dst:{IP:0.0.0.0 Mask:00000000} GW:<nil>",
        ),
        (
            "-6 route del default",
            "Expected Route {Dst:{IP::: Mask:0000",
        ),
        (
            "link set eth0 address 02:00:00:00:00:99",
            "ptp: Interface eth0 Mac ",
        ),
        (
            "link set eth0 mtu 1300",
            "MTU of eth0 is 1400, current value is 1300",
        ),
        ("link set eth0 down", "Interface eth0 is down"),
        (
            "link del eth0",
            "ptp: Container Interface name in prevResult: eth0 not found",
        ),
    ] {
        let attached = attached();
        attached.container.ip(command);
        ptp()
            .check(&attached.container, &attached.run.with_prev())
            .expect_error(999)
            .mentions(words);
    }
}

#[test]
fn drift_on_the_host_is_named() {
    for (command, words) in [
        (
            "addr del 10.1.0.1/32 dev VETH",
            "gateway address 10.1.0.1 is not on interface VETH",
        ),
        (
            "addr del fd00:1::1/128 dev VETH",
            "gateway address fd00:1::1 is not on interface VETH",
        ),
        (
            "route del 10.1.0.2 dev VETH",
            "the route to 10.1.0.2/32 by interface VETH is missing",
        ),
        (
            "-6 route del fd00:1::2 dev VETH",
            "the route to fd00:1::2/128 by interface VETH is missing",
        ),
        ("link set VETH down", "Interface VETH is down"),
        (
            "link set VETH mtu 1300",
            "MTU of VETH is 1400, current value is 1300",
        ),
        (
            "link set VETH address 02:00:00:00:00:98",
            "Interface VETH Mac ",
        ),
        (
            "link set VETH down; link set VETH name other",
            "the host's end of eth0 is \"other\"",
        ),
        (
            "link set VETH netns away",
            "the host's end of eth0 was not found",
        ),
    ] {
        let attached = attached();
        let _away = attached.host.container("away");
        let fill = |text: &str| text.replace("VETH", &attached.veth);
        for command in fill(command).split("; ") {
            attached.host.ip(command);
        }
        ptp()
            .check(&attached.container, &attached.run.with_prev())
            .expect_error(999)
            .mentions(&fill(words));
    }
}

#[test]
fn a_prev_result_that_does_not_fit() {
    let attached = attached();
    let check = |config| ptp().check(&attached.container, &config).expect_error(999);
    let mut config = attached.run.with_prev();
    config["prevResult"]["interfaces"][1]["sandbox"] = "/run/netns/other".into();
    check(config).mentions(
        "Sandbox in prevResult /run/netns/other doesn't match configured netns: /run/netns/c1",
    );
    let mut config = attached.run.with_prev();
    config.as_object_mut().unwrap().remove("prevResult");
    check(config).mentions("ptp: Required prevResult missing");
    // IPAM checks the lease.
    std::fs::remove_file("/var/lib/cni/networks/net/10.1.0.2").unwrap();
    check(attached.run.with_prev()).mentions("host-local");
}

#[test]
fn another_kind_of_interface() {
    let attached = attached();
    for command in ["link del eth0", "tuntap add eth0 mode tap"] {
        attached.container.ip(command);
    }
    let mut config = attached.run.with_prev();
    config["prevResult"]["interfaces"][1]
        .as_object_mut()
        .unwrap()
        .remove("mac");
    attached.container.ip("link set eth0 up");
    ptp()
        .check(&attached.container, &config)
        .expect_error(999)
        .mentions("Error: Container interface eth0 not of type veth/p2p");
}
