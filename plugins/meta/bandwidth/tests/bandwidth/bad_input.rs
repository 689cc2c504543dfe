//! Invalid input: error code and message, and nothing changed.

use crate::common::{bandwidth, bare, both, host};
use serde_json::{Value, json};
use testkit::{ErrorReply, merge};

/// ADD fails with a text that contains `words` and changes nothing.
#[track_caller]
fn refused(config: &Value, code: u64, words: &str) -> ErrorReply {
    let (host, container) = host();
    let before = host.snapshot();
    let error = bandwidth().add(&container, config).expect_error(code);
    before.assert_same(&host.snapshot());
    error.mentions(words)
}

/// The message is upstream's to the letter, since programs compare it.
#[track_caller]
fn refused_as_upstream(config: &Value, code: u64, msg: &str, details: &str) {
    assert_eq!(refused(config, code, details).msg, msg);
}

#[test]
fn values_of_the_wrong_type() {
    for (extra, words) in [
        (
            json!({"ingressRate": "1M"}),
            "ingressRate: expected an integer, got string",
        ),
        (
            json!({"ingressRate": 1.5}),
            "ingressRate: expected an integer, got 1.5",
        ),
        (json!({"egressBurst": -1}), "egressBurst: "),
        (
            json!({"egressRate": 1e30}),
            "egressRate: expected an integer",
        ),
        (
            json!({"runtimeConfig": []}),
            "runtimeConfig: expected an object, got array",
        ),
        (
            json!({"runtimeConfig": {"bandwidth": 5}}),
            "runtimeConfig.bandwidth: expected an object, got number",
        ),
        (
            json!({"runtimeConfig": {"bandwidth": {"egressRate": "x"}}}),
            "runtimeConfig.bandwidth.egressRate: expected an integer, got string",
        ),
        (
            json!({"latency": 25}),
            "latency: expected a string, got number",
        ),
        (json!({"burst": 25}), "burst: expected a string, got number"),
        (json!({"queue": true}), "queue: expected a string, got bool"),
        (
            json!({"shapedSubnets": "10.0.0.0/8"}),
            "shapedSubnets: expected an array, got string",
        ),
        (
            json!({"unshapedSubnets": [5]}),
            "unshapedSubnets[0]: expected a string, got number",
        ),
    ] {
        let words = format!("failed to parse network configuration: {words}");
        refused(&both(extra), 999, &words);
    }
}

#[test]
fn rates_and_bursts_that_upstream_refuses() {
    const NO_BURST: &str = "if rate is set, burst must also be set";
    const NO_RATE: &str = "if burst is set, rate must also be set";
    const LARGE: &str = "burst cannot be more than 4GB";
    let runtime = json!({"runtimeConfig": {"bandwidth": {"egressRate": 8000}}});
    for (config, msg, details) in [
        (
            both(json!({"ingressBurst": null})),
            NO_BURST,
            "ingressRate is 8000000, ingressBurst is not set",
        ),
        (
            both(json!({"ingressRate": 0})),
            NO_RATE,
            "ingressBurst is 800000, ingressRate is not set",
        ),
        (
            both(json!({"egressBurst": 0})),
            NO_BURST,
            "egressRate is 16000000",
        ),
        (
            both(json!({"egressRate": null})),
            NO_RATE,
            "egressBurst is 1600000",
        ),
        (
            both(json!({"ingressBurst": 34_359_738_360_u64})),
            LARGE,
            "ingressBurst is 34359738360",
        ),
        (
            both(json!({"egressBurst": u64::MAX})),
            LARGE,
            "egressBurst is",
        ),
        (bare(runtime), NO_BURST, "egressRate is 8000"),
    ] {
        refused_as_upstream(&config, 999, msg, details);
    }
}

#[test]
fn rates_and_bursts_that_the_kernel_cannot_shape_with() {
    for (extra, words) in [
        (
            json!({"ingressRate": 7}),
            "ingressRate 7 is out of range (8 bit/s or more)",
        ),
        (
            json!({"ingressBurst": 7}),
            "ingressBurst 7 is too small for a rate of 8000000 bit/s",
        ),
        (
            json!({"egressRate": 1u64 << 50, "egressBurst": 8}),
            "egressBurst 8 is too small for a rate of",
        ),
    ] {
        refused(&both(extra), 999, words);
    }
}

#[test]
fn keys_that_upstream_lacks() {
    for (extra, words) in [
        (
            json!({"latency": "25"}),
            "latency: \"25\": it must be a whole number with a unit",
        ),
        (json!({"latency": "0ms"}), "latency: \"0ms\""),
        (json!({"latency": "61s"}), "latency: \"61s\""),
        (json!({"latency": "-1ms"}), "latency: \"-1ms\""),
        (json!({"latency": "1.5ms"}), "latency: \"1.5ms\""),
        (
            json!({"latency": "99999999999us"}),
            "latency: \"99999999999us\"",
        ),
        (json!({"latency": "ümläut"}), "latency: \"ümläut\""),
        (
            json!({"burst": "none"}),
            "burst: \"none\": it must be \"auto\"",
        ),
        (
            json!({"queue": "sfq"}),
            "queue: \"sfq\": it must be \"fifo\", \"fq_codel\" or \"fq\"",
        ),
    ] {
        refused(&both(extra), 7, words);
    }
}

#[test]
fn subnets() {
    for (extra, msg, details) in [
        (
            json!({"shapedSubnets": ["10.0.0.0/8"], "unshapedSubnets": ["10.0.0.0/9"]}),
            "unshapedSubnets and shapedSubnets cannot be both specified, one of them should be discarded",
            "",
        ),
        (
            json!({"shapedSubnets": ["10.0.0.0"]}),
            "bad subnet \"10.0.0.0\" provided, details invalid CIDR address: 10.0.0.0",
            "shapedSubnets[0]",
        ),
        (
            json!({"unshapedSubnets": ["::/0", "10.0.0.0/33"]}),
            "bad subnet \"10.0.0.0/33\" provided, details invalid CIDR address: 10.0.0.0/33",
            "unshapedSubnets[1]",
        ),
    ] {
        refused_as_upstream(&both(extra), 7, msg, details);
    }
}

#[test]
fn unusable_previous_results() {
    let with = |prev: Value| merge(both(json!({})), &json!({"prevResult": prev}));
    let interfaces = |list: Value| with(json!({"cniVersion": "1.1.0", "interfaces": list}));
    refused(&with(Value::Null), 999, "must be called as chained plugin");
    refused(
        &with(json!(5)),
        999,
        "could not parse prevResult: could not parse prevResult",
    );
    refused(
        &with(json!({"cniVersion": "0.2.0"})),
        999,
        "could not parse prevResult",
    );
    refused(
        &with(json!({"cniVersion": "1.1.0"})),
        999,
        "no interfaces provided",
    );
    for list in [
        json!([{"name": "eth0", "sandbox": "/run/netns/c1"}]),
        json!([{"name": "veth1", "sandbox": "/run/netns/c1"}]),
        json!([{"name": "veth2"}]),
    ] {
        let msg = "no veth peer of container interface found in host ns";
        let details = "veth1 is not an interface of the host in prevResult";
        refused_as_upstream(&interfaces(list), 999, msg, details);
    }
}

#[test]
fn missing_namespaces_and_interfaces() {
    let (host, container) = host();
    let before = host.snapshot();
    let call = || {
        bandwidth()
            .command("ADD")
            .container(&container)
            .config(&both(json!({})))
    };
    call()
        .netns("/run/netns/gone")
        .run()
        .expect_error(999)
        .mentions("failed to open netns \"/run/netns/gone\"");
    call()
        .ifname("eth7")
        .run()
        .expect_error(999)
        .mentions("container interface eth7 has no veth peer: Link not found");
    call()
        .ifname("lo")
        .run()
        .expect_error(999)
        .mentions("container interface lo has no veth peer");
    before.assert_same(&host.snapshot());
}
