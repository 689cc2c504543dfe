//! CHECK after each single piece of drift fails and names it.

use crate::common::{attribute, host, ipv4, ipvlan};
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
        let run = ipvlan().add(&container, &merge(config, extra)).expect_ok();
        ipvlan().check(&container, &run.with_prev()).expect_ok();
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
        ipvlan()
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
            "Container Interface name in prevResult: eth0 not found",
        ),
        (
            json!({"mtu": 1400}),
            "link set eth0 mtu 1300",
            "Error: Tuning configured MTU of eth0 is 1400, current value is 1300",
        ),
        (
            json!({}),
            "link set eth0 type ipvlan mode l3",
            "Container IPVlan mode l3 does not match expected value: l2",
        ),
        (
            json!({"txQueueLen": 77}),
            "link set eth0 txqueuelen 78",
            "Interface eth0 has 78 where txQueueLen is 77",
        ),
        (
            json!({}),
            "link del eth0; link add eth0 address MAC up type dummy",
            "Error: Container interface eth0 not of type ipvlan",
        ),
        (
            json!({}),
            "link del eth0; link add eth0 address 02:00:00:00:00:0a up type dummy",
            "Error: Container interface eth0 not of type ipvlan",
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
        &json!({"mode": "l3"}),
        "Container IPVlan mode l2 does not match expected value: l3",
    );
    // Nobody knows what it was when ADD was called.
    let config = merge(attached.run.with_prev(), &json!({"master": null}));
    ipvlan().check(&attached.container, &config).expect_ok();
}

#[test]
fn the_masters_hardware_address() {
    let attached = Attached::new(&json!({}));
    let mac = attribute(&attached.host, "m0", "/address");
    attached
        .host
        .command(&["ip", "link", "set", "m0", "address", "02:00:00:00:00:0b"]);
    let words = format!(
        "Interface eth0 Mac {} doesn't match container Mac: 02:00:00:00:00:0b",
        mac.as_str().unwrap()
    );
    attached.with(&json!({}), &words);
}

#[test]
fn the_lease_and_the_previous_result() {
    let attached = Attached::new(&json!({}));
    attached.with(&json!({"prevResult": null}), "Required prevResult missing");
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
