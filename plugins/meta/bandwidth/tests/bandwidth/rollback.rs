//! A failing ADD leaves nothing behind.

use crate::common::{bandwidth, both, host, run};
use serde_json::json;
use testkit::{Node, fail_each_request, needs};

#[test]
fn every_request() {
    let (host, container) = host();
    let subnets = json!({"unshapedSubnets": ["10.0.0.0/8", "fd00::/8"], "latency": "10ms"});
    for (extra, requests) in [
        (json!({}), 7),
        (json!({"egressRate": null, "egressBurst": null}), 1),
        // Three more requests for each of two links, and two filters each.
        (subnets, 17),
    ] {
        let config = both(extra);
        let add = || {
            bandwidth()
                .command("ADD")
                .container(&container)
                .config(&config)
        };
        assert_eq!(fail_each_request(&host, add), requests);
    }
}

#[test]
fn every_request_of_fair_queues() {
    needs(&["fq_codel"]);
    let (host, container) = host();
    let config = both(json!({"queue": "fq_codel"}));
    let add = || {
        bandwidth()
            .command("ADD")
            .container(&container)
            .config(&config)
    };
    assert_eq!(fail_each_request(&host, add), 9);
}

/// ADD fails on existing objects and keeps them.
#[test]
fn existing_objects_are_kept() {
    for (commands, words) in [
        (
            "tc qdisc add dev veth1 root handle 1: tbf rate 1mbit burst 10k latency 9ms",
            "create qdisc: file exists",
        ),
        ("tc qdisc add dev veth1 ingress", "create ingress qdisc: "),
        (
            "ip link add bwp623e1c388032 type ifb",
            "adding link: file exists",
        ),
        (
            "ip link add bwp623e1c388032 type bridge",
            "adding link: file exists",
        ),
    ] {
        let (host, container) = host();
        run(&host, commands);
        let before = host.snapshot();
        let add = bandwidth().add(&container, &both(json!({})));
        add.expect_error(999).mentions(words);
        before.assert_same(&host.snapshot());
    }
}

/// A second ADD of the same attachment fails and keeps the first.
#[test]
fn added_twice() {
    let (host, container) = host();
    let added = bandwidth().add(&container, &both(json!({}))).expect_ok();
    let before = host.snapshot();
    bandwidth()
        .add(&container, &both(json!({})))
        .expect_error(999)
        .mentions("create qdisc: file exists")
        .mentions("link veth1 has a qdisc already; delete the attachment first");
    before.assert_same(&host.snapshot());
    bandwidth()
        .check(&container, &added.with_prev())
        .expect_ok();
    container.ping("10.1.0.1");
}
