//! CHECK reports each single difference.

use crate::common::{attached, config, everything, ip, tuning};
use serde_json::{Value, json};
use testkit::{Node, merge};

#[test]
fn sysctls() {
    for (key, value, words) in [
        (
            "net/core/somaxconn",
            "501",
            "/proc/sys/net/core/somaxconn is 500, current value is 501",
        ),
        (
            "net/ipv4/conf/eth0/arp_filter",
            "0",
            "/proc/sys/net/ipv4/conf/eth0/arp_filter is 1, current value is 0",
        ),
        (
            "net/ipv4/ip_forward",
            "0",
            "/proc/sys/net/ipv4/ip_forward is 1, current value is 0",
        ),
        (
            "net/ipv6/conf/all/forwarding",
            "0",
            "/proc/sys/net/ipv6/conf/all/forwarding is 1, current value is 0",
        ),
        (
            "net/ipv4/ip_local_port_range",
            "20001 30000",
            "/proc/sys/net/ipv4/ip_local_port_range is 20000 30000, current value is 20001\t30000",
        ),
    ] {
        let (_host, container) = attached();
        let run = tuning().add(&container, &config(everything())).expect_ok();
        container.set_sysctl(key, value);
        tuning()
            .check(&container, &run.with_prev())
            .expect_error(999)
            .mentions(&format!("Error: Tuning configured value of {words}"));
    }
}

#[test]
fn the_interface() {
    for (command, words) in [
        (
            "address 02:00:00:00:00:0b",
            "Error: Tuning configured Ethernet of eth0 is 02:00:00:00:00:0a, current value is 02:00:00:00:00:0b",
        ),
        (
            "promisc off",
            "Error: Tuning link eth0 configured promisc is true, current value is 0",
        ),
        (
            "mtu 1401",
            "Error: Tuning configured MTU of eth0 is 1400, current value is 1401",
        ),
        (
            "allmulticast off",
            "Error: Tuning configured all-multicast mode of eth0 is true, current value is false",
        ),
        (
            "txqueuelen 78",
            "Error: Tuning configured Transmit Queue Length of eth0 is 77, current value is 78",
        ),
        (
            "down name eth7",
            "Cannot find container link eth0; Link not found",
        ),
    ] {
        let (_host, container) = attached();
        let run = tuning().add(&container, &config(everything())).expect_ok();
        tuning().check(&container, &run.with_prev()).expect_ok();
        ip(&container, "link set eth0 down");
        ip(&container, &format!("link set eth0 {command}"));
        tuning()
            .check(&container, &run.with_prev())
            .expect_error(999)
            .mentions(words);
    }
}

#[test]
fn attributes_that_are_not_configured_are_ignored() {
    let (_host, container) = attached();
    let config = config(json!({"mtu": 1400, "mac": "02-00-00-00-00-0A"}));
    let run = tuning().add(&container, &config).expect_ok();
    ip(
        &container,
        "link set eth0 promisc on allmulticast on txqueuelen 5",
    );
    tuning().check(&container, &run.with_prev()).expect_ok();
}

#[test]
fn the_previous_result_and_the_namespace() {
    let (_host, container) = attached();
    let run = tuning().add(&container, &config(everything())).expect_ok();
    let without = merge(run.with_prev(), &json!({"prevResult": null}));
    tuning()
        .check(&container, &without)
        .expect_error(999)
        .mentions("Required prevResult missing");
    let mut broken = run.with_prev();
    broken["prevResult"]["ips"] = Value::from(5);
    tuning()
        .check(&container, &broken)
        .expect_error(999)
        .mentions("could not parse prevResult");
    container.delete();
    tuning()
        .check(&container, &run.with_prev())
        .expect_error(999)
        .mentions("failed to Statfs \"/run/netns/c1\"");
}
