//! CHECK after each single piece of drift fails and names it.

use crate::common::{dual, dummy, host};
use serde_json::{Value, json};
use testkit::{Node, merge};

/// Runs commands of `ip` in the container and changes the configuration, and demands
/// that CHECK says `words`.
#[track_caller]
fn drift(commands: &str, extra: &Value, words: &str) {
    let host = host();
    let container = host.container("c1");
    let run = dummy()
        .add(&container, &dual(json!({"txQueueLen": 77})))
        .expect_ok();
    dummy().check(&container, &run.with_prev()).expect_ok();
    let link = container.link("eth0").expect("the interface");
    let mac = link["address"].as_str().unwrap_or_default();
    for command in commands
        .replace("MAC", mac)
        .split("; ")
        .filter(|c| !c.is_empty())
    {
        let argv: Vec<&str> = ["ip"].into_iter().chain(command.split(' ')).collect();
        container.command(&argv);
    }
    dummy()
        .check(&container, &merge(run.with_prev(), extra))
        .expect_error(999)
        .mentions(words);
}

#[test]
fn each_part() {
    for (commands, words) in [
        ("link set eth0 down", "Interface eth0 is down"),
        (
            "link del eth0",
            "dummy: Container Interface name in prevResult: eth0 not found",
        ),
        (
            "link set eth0 address 02:00:00:00:00:0b",
            "dummy: Interface eth0 Mac ",
        ),
        (
            "link del eth0; link add eth0 address MAC up type veth peer name x",
            "Error: Container interface eth0 not of type dummy",
        ),
        (
            "link set eth0 txqueuelen 78",
            "Interface eth0 has 78 where txQueueLen is 77",
        ),
        (
            "addr del 10.1.0.10/24 dev eth0",
            "Failed to match addr 10.1.0.10/24 on interface eth0",
        ),
        (
            "addr del fd00:1::10/64 dev eth0",
            "Failed to match addr fd00:1::10/64 on interface eth0",
        ),
        (
            "route del default",
            "Expected Route {Dst:{IP:0.0.0.0 Mask:00000000}",
        ),
        ("-6 route del default", "Expected Route {Dst:{IP:::"),
    ] {
        drift(commands, &json!({}), words);
    }
    drift(
        "",
        &json!({"prevResult": null}),
        "dummy: Required prevResult missing",
    );
    drift(
        "",
        &json!({"ipam": null}),
        "dummy interface requires an IPAM configuration",
    );
    drift(
        "",
        &json!({"prevResult": {"interfaces": [{"name": "eth0", "sandbox": "/x"}]}}),
        "Sandbox in prevResult /x doesn't match configured netns: /run/netns/c1",
    );
}
