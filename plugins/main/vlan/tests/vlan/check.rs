//! CHECK after each single piece of drift fails and names it.

use crate::common::{attribute, host, ipv4, vlan};
use serde_json::{Value, json};
use testkit::{Container, Host, Node, Run, merge};

struct Attached {
    host: Host,
    _router: Container,
    container: Container,
    run: Run,
}

impl Attached {
    fn new(extra: &Value) -> Attached {
        let (host, router) = host();
        let container = host.container("c1");
        let mut config = ipv4(json!({}));
        config["ipam"]["routes"] = json!([{"dst": "0.0.0.0/0"}]);
        let run = vlan().add(&container, &merge(config, extra)).expect_ok();
        vlan().check(&container, &run.with_prev()).expect_ok();
        Attached {
            host,
            _router: router,
            container,
            run,
        }
    }

    /// CHECK with some keys of the configuration changed.
    #[track_caller]
    fn with(&self, extra: &Value, words: &str) {
        let config = merge(self.run.with_prev(), extra);
        vlan()
            .check(&self.container, &config)
            .expect_error(999)
            .mentions(words);
    }
}

/// Runs commands of `ip` in the container, and demands that CHECK says `words`.
#[track_caller]
fn drift(extra: Value, commands: &str, words: &str) {
    let attached = Attached::new(&extra);
    let mac = attribute(&attached.container, "eth0", "/address");
    for command in commands
        .replace("MAC", mac.as_str().unwrap_or_default())
        .split("; ")
    {
        let argv: Vec<&str> = ["ip"].into_iter().chain(command.split(' ')).collect();
        attached.container.command(&argv);
    }
    attached.with(&json!({}), words);
}

#[test]
fn the_link_and_its_addresses() {
    for (extra, command, words) in [
        (json!({}), "link set eth0 down", "Interface eth0 is down"),
        (
            json!({}),
            "link del eth0",
            "vlan: Container Interface name in prevResult: eth0 not found",
        ),
        (
            json!({}),
            "link set eth0 address 02:00:00:00:00:0b",
            "vlan: Interface eth0 Mac ",
        ),
        (
            json!({"mtu": 1400}),
            "link set eth0 mtu 1300",
            "Error: Tuning configured MTU of eth0 is 1400, current value is 1300",
        ),
        (
            json!({}),
            "link del eth0; link add eth0 address MAC up type dummy",
            "Error: Container interface eth0 not of type vlan",
        ),
        (
            json!({}),
            "addr del 10.1.0.10/24 dev eth0",
            "Failed to match addr 10.1.0.10/24 on interface eth0",
        ),
        (
            json!({}),
            "route del default",
            "Expected Route {Dst:{IP:0.0.0.0 Mask:00000000}",
        ),
        (
            json!({}),
            "route change default via 10.1.0.2",
            "has gateway 10.1.0.2",
        ),
    ] {
        drift(extra, command, words);
    }
}

#[test]
fn the_vlan() {
    let attached = Attached::new(&json!({}));
    attached.with(
        &json!({"vlanId": 6}),
        "Error: Interface eth0 has VLAN ID 5, configured is 6",
    );
    let mac = attribute(&attached.container, "eth0", "/address");
    attached.container.command(&["ip", "link", "del", "eth0"]);
    attached.host.command(&[
        "ip",
        "link",
        "add",
        "passing",
        "link",
        "m0",
        "address",
        mac.as_str().unwrap(),
        "netns",
        "c1",
        "type",
        "vlan",
        "id",
        "7",
    ]);
    attached
        .container
        .command(&["ip", "link", "set", "passing", "name", "eth0", "up"]);
    attached.with(
        &json!({}),
        "Error: Interface eth0 has VLAN ID 7, configured is 5",
    );
}

#[test]
fn the_master() {
    let attached = Attached::new(&json!({}));
    let host = &attached.host;
    host.command(&[
        "ip", "link", "add", "m1", "up", "type", "veth", "peer", "name", "p1",
    ]);
    attached.with(
        &json!({"master": "m1"}),
        "Interface eth0 is not on master \"m1\"",
    );
    attached.with(
        &json!({"master": "gone"}),
        "failed to lookup master \"gone\": Link not found",
    );
    attached.with(
        &json!({"master": "lo", "linkInContainer": true}),
        "Interface eth0 is not on master \"lo\"",
    );
}

/// A VLAN of a VLAN stands on its master, not beside it.
#[test]
fn a_master_that_is_a_vlan_itself() {
    let (host, _router) = host();
    host.command(&[
        "ip", "link", "add", "m0.9", "up", "link", "m0", "type", "vlan", "id", "9",
    ]);
    let container = host.container("c1");
    let run = vlan()
        .add(&container, &ipv4(json!({"master": "m0.9"})))
        .expect_ok();
    vlan().check(&container, &run.with_prev()).expect_ok();
    let wrong = merge(run.with_prev(), &json!({"master": "m0"}));
    vlan()
        .check(&container, &wrong)
        .expect_error(999)
        .mentions("Interface eth0 is not on master \"m0\"");
}

#[test]
fn the_lease_and_the_previous_result() {
    let attached = Attached::new(&json!({}));
    attached.with(
        &json!({"prevResult": null}),
        "vlan: Required prevResult missing",
    );
    attached.with(&json!({"ipam": null}), "no plugin name provided");
    let mut prev = attached.run.json();
    prev["interfaces"][0]["sandbox"] = json!("/run/netns/other");
    attached.with(
        &json!({"prevResult": prev}),
        "Sandbox in prevResult /run/netns/other doesn't match configured netns: /run/netns/c1",
    );
    attached
        .host
        .command(&["rm", "/var/lib/cni/networks/net/10.1.0.10"]);
    attached.with(
        &json!({}),
        "host-local: Failed to find address added by container c1",
    );
}
