//! Invalid ranges, gateways and requested addresses, through the bridge plugin, which undoes ADD.

use std::net::IpAddr;

use blackbox::{answer, networks, state};
use serde_json::{Value, json};
use testkit::{Container, Node, Plugin};

use super::{Stage, network};

fn with_ranges(ranges: Value) -> Value {
    network(json!({"ipam": {"ranges": ranges}}))
}

#[test]
fn invalid_ranges() {
    let stage = Stage::new();
    for (ranges, text) in [
        (json!([]), "no IP ranges specified"),
        (json!([[]]), "invalid range set 0: empty range set"),
        (json!([[{}]]), "invalid range set 0: IP <nil> not v4 nor v6"),
        (
            json!([[{"subnet": "10.1.0.0"}]]),
            "invalid CIDR address: 10.1.0.0",
        ),
        (
            json!([[{"subnet": "10.1.0.0/33"}]]),
            "invalid CIDR address: 10.1.0.0/33",
        ),
        (
            json!([[{"subnet": "10.01.0.0/24"}]]),
            "invalid CIDR address: 10.01.0.0/24",
        ),
        (
            json!([[{"subnet": "10.1.0.0/31"}]]),
            "invalid range set 0: Network 10.1.0.0/31 too small to allocate from",
        ),
        (
            json!([[{"subnet": "10.1.0.0/32"}]]),
            "invalid range set 0: Network 10.1.0.0/32 too small to allocate from",
        ),
        (
            json!([[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/127"}]]),
            "invalid range set 1: Network fd00::/127 too small to allocate from",
        ),
        (
            json!([[{"subnet": "fd00::/128"}]]),
            "invalid range set 0: Network fd00::/128 too small to allocate from",
        ),
        (
            json!([[{"subnet": "10.1.0.5/24"}]]),
            "invalid range set 0: Network has host bits set. For a subnet mask of length 24 the \
             network address is 10.1.0.0",
        ),
        (
            json!([[{"subnet": "10.1.0.0/24", "rangeStart": "10.2.0.1"}]]),
            "invalid range set 0: RangeStart 10.2.0.1 not in network 10.1.0.0/24",
        ),
        (
            json!([[{"subnet": "10.1.0.0/24", "rangeEnd": "10.2.0.1"}]]),
            "invalid range set 0: RangeEnd 10.2.0.1 not in network 10.1.0.0/24",
        ),
        (
            json!([[{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.9", "rangeEnd": "10.1.0.8"}]]),
            "invalid range set 0: RangeStart 10.1.0.9 not in network 10.1.0.0/24",
        ),
        (
            json!([[{"subnet": "10.1.0.0/24", "rangeStart": "x"}]]),
            "invalid IP address: x",
        ),
        (
            json!([[{"subnet": "10.1.0.0/24", "gateway": "10.1.0"}]]),
            "invalid IP address: 10.1.0",
        ),
        (
            json!([[{"subnet": "10.1.0.0/24", "rangeStart": "fd00::1"}]]),
            "invalid range set 0: RangeStart fd00::1 not in network 10.1.0.0/24",
        ),
        (
            json!([[{"subnet": "10.1.0.0/24"}, {"subnet": "fd00::/64"}]]),
            "invalid range set 0: mixed address families",
        ),
        (
            json!([[{"subnet": "10.1.0.0/24"}, {"subnet": "10.1.0.0/25"}]]),
            "invalid range set 0: subnets 10.1.0.1-10.1.0.254 and 10.1.0.1-10.1.0.126 overlap",
        ),
        (
            json!([[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.1.0.0/16"}]]),
            "range set 0 overlaps with 1",
        ),
        (
            json!([[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}], [{"subnet": "fd00::/120"}]]),
            "range set 1 overlaps with 2",
        ),
    ] {
        for plugin in ["host-local", "bridge"] {
            let error = stage.add_refused(plugin, &with_ranges(ranges.clone()), 999, &[]);
            assert!(
                error.msg.ends_with(text),
                "{text:?} expected, but is {:?}",
                error.msg
            );
        }
    }
    // Two ranges of one family require a version whose result can contain two addresses.
    let two = json!([[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/24"}]]);
    let mut config = with_ranges(two);
    config["cniVersion"] = json!("0.2.0");
    let text = "CNI version 0.2.0 does not support more than 1 address per family";
    stage.add_refused("bridge", &config, 999, &[text]);
    let none = networks::with(network(json!({})), &json!({"ipam": null}));
    stage.add_refused(
        "host-local",
        &none,
        999,
        &["IPAM config missing 'ipam' key"],
    );
}

/// As upstream, host-local accepts a gateway outside of the subnet, which may have a route of its own, and the bridge
/// gets it as its address. But the kernel refuses a default route through an unreachable gateway, and ADD is undone.
#[test]
fn gateways_outside_of_the_subnet() {
    let stage = Stage::new();
    let outside = |change: Value| {
        let ranges = json!([[{"subnet": "10.1.0.0/24", "gateway": "10.99.0.1"}]]);
        networks::with(
            networks::with(with_ranges(ranges), &json!({"isDefaultGateway": false})),
            &change,
        )
    };
    let default = json!({"ipam": {"routes": [{"dst": "0.0.0.0/0"}]}});
    for change in [
        json!({"isDefaultGateway": true}),
        default.clone(),
        json!({"isGateway": true, "ipam": default["ipam"]}),
    ] {
        stage.add_undone(
            &outside(change),
            &["failed to add route", "network is unreachable", "10.99.0.1"],
        );
    }
    let config = outside(json!({}));
    let result = answer::result(&stage.call("host-local", "ADD", &config).run());
    assert_eq!(result["ips"][0]["gateway"], "10.99.0.1");
    answer::silent(stage.call("host-local", "DEL", &config).run());
    let config = outside(json!({"isGateway": true}));
    let result = answer::result(&stage.call("bridge", "ADD", &config).run());
    assert_eq!(result["ips"][0]["gateway"], "10.99.0.1");
    assert_eq!(stage.host.addresses("cni0"), ["10.99.0.1/24"]);
    answer::silent(stage.call("bridge", "DEL", &config).run());
    // A gateway of the other family is invalid.
    for (subnet, gateway) in [("10.1.0.0/24", "fd00::1"), ("fd00::/64", "10.1.0.1")] {
        let config = with_ranges(json!([[{"subnet": subnet, "gateway": gateway}]]));
        stage.add_refused("bridge", &config, 999, &[subnet, gateway]);
    }
}

#[test]
fn exhausted_ranges() {
    let stage = Stage::new();
    let config = with_ranges(json!([
        [{"subnet": "fd00:1::/64"}],
        [{"subnet": "10.1.0.0/29"}, {"subnet": "10.2.0.0/30"}]
    ]));
    // Five and one, without the gateways.
    let containers: Vec<Container> = (0..6)
        .map(|n| stage.host.container(&format!("holder{n}")))
        .collect();
    let bridge = Plugin::new("bridge");
    let config = networks::with(config, &json!({"isDefaultGateway": false}));
    for container in &containers {
        answer::result(&bridge.add(container, &config));
    }
    let error = stage.undone(stage.call("bridge", "ADD", &config), &["6 of 6"]);
    let text = "failed to allocate for range 1: no IP addresses available in range set: \
                10.1.0.1-10.1.0.6,10.2.0.1-10.2.0.2";
    assert!(error.msg.starts_with(text), "{}", error.msg);
    // The error lists the first holders; a range may have thousands.
    for container in &containers[..3] {
        error.clone().mentions(container.id());
    }
    let error = answer::refusal(bridge.status(&config), 50);
    assert!(
        error.text().contains("10.1.0.1-10.1.0.6,10.2.0.1-10.2.0.2"),
        "{}",
        error.text()
    );
    answer::silent(bridge.del(&containers[3], &config));
    answer::silent(bridge.status(&config));
    answer::result(&stage.call("bridge", "ADD", &config).run());
}

#[test]
fn invalid_requested_addresses() {
    let stage = Stage::new();
    let config = with_ranges(json!([[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]]));
    let other = stage.host.container("other");
    // A running attachment, which no failure may change.
    let taken = Plugin::new("bridge")
        .command("ADD")
        .container(&other)
        .config(&config);
    answer::result(&taken.args("IgnoreUnknown=1;IP=10.1.0.9").run());
    for (ip, text) in [
        ("10.9.9.9", "failed to allocate all requested IPs: 10.9.9.9"),
        (
            "10.1.0.255",
            "failed to allocate all requested IPs: 10.1.0.255",
        ),
        (
            "10.1.0.1",
            "failed to allocate for range 0: requested ip 10.1.0.1 is subnet's gateway",
        ),
        (
            "fd00:1::1/64",
            "failed to allocate for range 1: requested ip fd00:1::1 is subnet's gateway",
        ),
        (
            "10.1.0.9/24",
            "failed to allocate for range 0: requested IP address 10.1.0.9 is not available in \
             range set 10.1.0.1-10.1.0.254",
        ),
    ] {
        let by_args = stage
            .call("host-local", "ADD", &config)
            .args(&format!("IP={ip}"));
        stage.undone(by_args, &[text]);
        for source in [
            json!({"args": {"cni": {"ips": [ip]}}}),
            json!({"runtimeConfig": {"ips": [ip]}}),
        ] {
            let config = networks::with(config.clone(), &source);
            stage.undone(stage.call("bridge", "ADD", &config), &[text]);
        }
    }
    for (ip, text) in [
        ("x", "invalid IP address x"),
        ("10.1.0.5,10.1.0.6", "invalid IP address 10.1.0.5,10.1.0.6"),
        ("10.1.0.5/33", "invalid IP address 10.1.0.5/33"),
        ("010.1.0.5", "invalid IP address 010.1.0.5"),
    ] {
        let by_args = stage
            .call("host-local", "ADD", &config)
            .args(&format!("IP={ip}"));
        stage.refused(by_args, 999, &[text]);
        let config = networks::with(config.clone(), &json!({"runtimeConfig": {"ips": [ip]}}));
        stage.add_refused("bridge", &config, 999, &[text]);
    }
    let empty = networks::with(config.clone(), &json!({"runtimeConfig": {"ips": [""]}}));
    stage.add_refused(
        "bridge",
        &empty,
        999,
        &["cannot understand ip: IP <nil> not v4 nor v6"],
    );
    let two = networks::with(
        config,
        &json!({"runtimeConfig": {"ips": ["10.1.0.5", "10.1.0.6"]}}),
    );
    let text = "failed to allocate all requested IPs: 10.1.0.6";
    stage.undone(stage.call("bridge", "ADD", &two), &[text]);
    let holder = state::leases("net").remove(&IpAddr::from([10, 1, 0, 9]));
    assert_eq!(holder.as_deref(), Some("other\r\neth0"));
}
