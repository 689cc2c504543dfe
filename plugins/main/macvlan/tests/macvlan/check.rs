//! CHECK after each single piece of drift fails and names it.

use crate::common::{attribute, host, ipv4, layer2, macvlan};
use serde_json::{Value, json};
use testkit::{Container, Host, Node, Run, merge};

struct Attached {
    host: Host,
    _router: Container,
    container: Container,
    run: Run,
}

impl Attached {
    fn new(extra: Value) -> Attached {
        let (host, router) = host();
        let container = host.container("c1");
        let mut config = ipv4(json!({"mac": "02:00:00:00:00:0a"}));
        config["ipam"]["routes"] = json!([
            {"dst": "0.0.0.0/0"}, {"dst": "10.50.0.0/16", "priority": 50, "mtu": 1300},
            {"dst": "10.51.0.0/16", "table": 100},
        ]);
        let config = merge(config, &extra);
        let run = macvlan().add(&container, &config).expect_ok();
        macvlan().check(&container, &run.with_prev()).expect_ok();
        Attached {
            host,
            _router: router,
            container,
            run,
        }
    }

    #[track_caller]
    fn names(&self, words: &str) {
        self.with(&json!({}), words);
    }

    /// CHECK with some keys of the configuration changed.
    #[track_caller]
    fn with(&self, extra: &Value, words: &str) {
        let config = merge(self.run.with_prev(), extra);
        macvlan()
            .check(&self.container, &config)
            .expect_error(999)
            .mentions(words);
    }
}

/// Runs a command of `ip` in the container, and demands that CHECK says `words`.
#[track_caller]
fn drift(extra: Value, command: &str, words: &str) {
    let attached = Attached::new(extra);
    for command in command.split("; ") {
        let argv: Vec<&str> = ["ip"].into_iter().chain(command.split(' ')).collect();
        attached.container.command(&argv);
    }
    attached.names(words);
}

#[test]
fn addresses_and_routes() {
    for (command, words) in [
        (
            "addr del 10.1.0.10/24 dev eth0",
            "Failed to match addr 10.1.0.10/24 on interface eth0",
        ),
        (
            "addr del 10.1.0.10/24 dev eth0; addr add 10.1.0.10/16 dev eth0",
            "Failed to match addr 10.1.0.10/24 on interface eth0",
        ),
        (
            "route del default",
            "Expected Route {Dst:{IP:0.0.0.0 Mask:00000000}",
        ),
        ("route change default via 10.1.0.2", "has gateway 10.1.0.2"),
        (
            "route del 10.50.0.0/16",
            "Expected Route {Dst:{IP:10.50.0.0 Mask:ffff0000}",
        ),
        (
            "route change 10.50.0.0/16 via 10.1.0.1 metric 50 mtu 1200",
            "mtu 1200, not 1300",
        ),
        (
            "route del 10.51.0.0/16 table 100",
            "Expected Route {Dst:{IP:10.51.0.0 Mask:ffff0000}",
        ),
    ] {
        drift(json!({}), command, words);
    }
}

#[test]
fn the_link() {
    for (extra, command, words) in [
        (json!({}), "link set eth0 down", "interface eth0 is down"),
        (
            json!({}),
            "link del eth0",
            "container Interface name in prevResult: eth0 not found",
        ),
        (
            json!({}),
            "link set eth0 down; link set eth0 name eth7 up",
            "container Interface name in prevResult: eth0 not found",
        ),
        (
            json!({}),
            "link set eth0 address 02:00:00:00:00:0b",
            "interface eth0 Mac 02:00:00:00:00:0a doesn't match container Mac: 02:00:00:00:00:0b",
        ),
        (
            json!({"mtu": 1400}),
            "link set eth0 mtu 1300",
            "error: Tuning configured MTU of eth0 is 1400, current value is 1300",
        ),
        (
            json!({"mtu": "auto"}),
            "link set eth0 mtu 1300",
            "error: Tuning configured MTU of eth0 is 1500, current value is 1300",
        ),
        (
            json!({}),
            "link set eth0 type macvlan mode private",
            "container macvlan mode private does not match expected value: bridge",
        ),
        (
            json!({"bcqueuelen": 200}),
            "link set eth0 type macvlan bcqueuelen 300",
            "interface eth0 has a broadcast queue of 300 packets, bcqueuelen is 200",
        ),
        (
            json!({"txQueueLen": 77}),
            "link set eth0 txqueuelen 78",
            "interface eth0 has 78 where txQueueLen is 77",
        ),
        (
            json!({"gsoMaxSize": 30000}),
            "link set eth0 gso_max_size 40000",
            "interface eth0 has 40000 where gsoMaxSize is 30000",
        ),
        (
            json!({}),
            "link del eth0; link add eth0 up type veth peer name x",
            "error: Container interface eth0 not of type macvlan",
        ),
    ] {
        drift(extra, command, words);
    }
}

/// An MTU left to the kernel follows the master's.
#[test]
fn an_mtu_that_nobody_asked_for() {
    let attached = Attached::new(json!({}));
    attached
        .host
        .command(&["ip", "link", "set", "m0", "mtu", "1400"]);
    assert_eq!(attribute(&attached.container, "eth0", "/mtu"), 1400);
    macvlan()
        .check(&attached.container, &attached.run.with_prev())
        .expect_ok();
}

/// A plugin behind in the chain has changed it, and says so.
#[test]
fn an_mtu_that_was_changed_in_the_chain() {
    let attached = Attached::new(json!({"mtu": 1400}));
    attached
        .container
        .command(&["ip", "link", "set", "eth0", "mtu", "1300"]);
    let mut config = attached.run.with_prev();
    config["prevResult"]["interfaces"][0]["mtu"] = json!(1300);
    macvlan().check(&attached.container, &config).expect_ok();
}

#[test]
fn the_master() {
    let attached = Attached::new(json!({}));
    let host = &attached.host;
    host.command(&[
        "ip", "link", "add", "m1", "up", "type", "veth", "peer", "name", "p1",
    ]);
    attached.with(
        &json!({"master": "m1"}),
        "interface eth0 is not on master \"m1\"",
    );
    attached.with(
        &json!({"master": "gone"}),
        "failed to lookup master \"gone\": Link not found",
    );
    // Another one by the same name.
    for (from, to) in [("m0", "old"), ("m1", "m0")] {
        // Older kernels rename a link only while it is down.
        host.command(&["ip", "link", "set", from, "down"]);
        host.command(&["ip", "link", "set", from, "name", to, "up"]);
    }
    attached.names("interface eth0 is not on master \"m0\"");
    // The default route may have moved on since.
    let config = merge(attached.run.with_prev(), &json!({"master": null}));
    macvlan().check(&attached.container, &config).expect_ok();
}

#[test]
fn the_lease() {
    let attached = Attached::new(json!({}));
    attached
        .host
        .command(&["rm", "/var/lib/cni/networks/net/10.1.0.10"]);
    attached.names("host-local: Failed to find address added by container c1");
}

#[test]
fn the_previous_result() {
    let attached = Attached::new(json!({}));
    attached.with(&json!({"prevResult": null}), "required prevResult missing");
    let mut prev = attached.run.json();
    prev["interfaces"][0]["sandbox"] = json!("/run/netns/other");
    attached.with(
        &json!({"prevResult": prev}),
        "sandbox in prevResult /run/netns/other doesn't match configured netns: /run/netns/c1",
    );
    prev["interfaces"][0]["name"] = json!("eth9");
    attached.with(
        &json!({"prevResult": prev}),
        "interface \"eth0\" of the container is not in prevResult",
    );
    prev["cniVersion"] = json!("0.2.0");
    attached.with(&json!({"prevResult": prev}), "could not parse prevResult");
}

#[test]
fn what_others_add_is_not_looked_at() {
    let attached = Attached::new(json!({}));
    for command in [
        "addr add 10.9.0.9/24 dev eth0",
        "route add 10.60.0.0/16 dev eth0",
    ] {
        let argv: Vec<&str> = ["ip"].into_iter().chain(command.split(' ')).collect();
        attached.container.command(&argv);
    }
    let mut config = attached.run.with_prev();
    let ips = config["prevResult"]["ips"].as_array_mut().unwrap();
    ips.push(json!({"address": "192.0.2.2/24", "interface": 1}));
    let interfaces = config["prevResult"]["interfaces"].as_array_mut().unwrap();
    interfaces.push(json!({"name": "ifb0"}));
    macvlan().check(&attached.container, &config).expect_ok();
}

#[test]
fn without_addresses() {
    let (host, _router) = host();
    let container = host.container("c1");
    let run = macvlan().add(&container, &layer2(json!({}))).expect_ok();
    macvlan().check(&container, &run.with_prev()).expect_ok();
    container.command(&["ip", "link", "set", "eth0", "down"]);
    macvlan()
        .check(&container, &run.with_prev())
        .expect_error(999)
        .mentions("interface eth0 is down");
}

/// Upstream ignores keys of ours, and its older releases some of its own.
#[test]
fn pods_of_upstream_pass() {
    let (host, _router) = host();
    let container = host.container("c1");
    let config = ipv4(json!({
        "cniVersion": "1.0.0", "mtu": 1400, "bcqueuelen": 200, "txQueueLen": 77, "numQueues": 3,
        "gsoMaxSize": 30000,
    }));
    let run = testkit::Plugin::peer("macvlan")
        .add(&container, &config)
        .expect_ok();
    macvlan().check(&container, &run.with_prev()).expect_ok();
    container.command(&["ip", "link", "set", "eth0", "mtu", "1300"]);
    macvlan()
        .check(&container, &run.with_prev())
        .expect_error(999)
        .mentions("MTU of eth0 is 1400, current value is 1300");
}
