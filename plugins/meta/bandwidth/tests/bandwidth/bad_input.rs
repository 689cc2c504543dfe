//! Bad input: the right code, a message that names the key, and nothing changed.

use crate::common::{bandwidth, bare, both, host};
use serde_json::{Value, json};
use testkit::merge;

#[track_caller]
fn refused(config: &Value, code: u64, words: &str) {
    let (host, container) = host();
    let before = host.snapshot();
    let error = bandwidth().add(&container, config).expect_error(code);
    error.mentions(words);
    before.assert_same(&host.snapshot());
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
fn values_that_cannot_be() {
    let most = 34_359_738_360u64;
    for (extra, words) in [
        (
            json!({"ingressBurst": null}),
            "if rate is set, burst must also be set: ingressRate is 8000000",
        ),
        (
            json!({"ingressRate": 0}),
            "if burst is set, rate must also be set: ingressBurst is 800000",
        ),
        (
            json!({"egressBurst": 0}),
            "if rate is set, burst must also be set: egressRate is 16000000",
        ),
        (
            json!({"egressRate": null}),
            "if burst is set, rate must also be set: egressBurst is 1600000",
        ),
        (
            json!({"ingressBurst": most}),
            "burst cannot be more than 4GB: ingressBurst is 34359738360",
        ),
        (
            json!({"egressBurst": u64::MAX}),
            "burst cannot be more than 4GB: egressBurst is",
        ),
        (
            json!({"ingressRate": 7}),
            "ingressRate is 7: less than 8 bit/s cannot be had",
        ),
        (
            json!({"ingressBurst": 7}),
            "ingressBurst is 7: at a rate of 8000000 bit/s",
        ),
        (
            json!({"egressRate": 1u64 << 50, "egressBurst": 8}),
            "egressBurst is 8: at a rate of",
        ),
    ] {
        refused(&both(extra), 999, words);
    }
    let runtime = json!({"runtimeConfig": {"bandwidth": {"egressRate": 8000}}});
    refused(
        &bare(runtime),
        999,
        "if rate is set, burst must also be set: egressRate is 8000",
    );
}

#[test]
fn keys_beyond_upstreams() {
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
        (
            json!({"shapedSubnets": ["10.0.0.0/8"], "unshapedSubnets": ["10.0.0.0/9"]}),
            "unshapedSubnets and shapedSubnets cannot be both specified",
        ),
        (
            json!({"shapedSubnets": ["10.0.0.0"]}),
            "bad subnet \"10.0.0.0\" provided, details",
        ),
        (
            json!({"unshapedSubnets": ["::/0", "10.0.0.0/33"]}),
            "unshapedSubnets[1]",
        ),
    ] {
        refused(&both(extra), 7, words);
    }
}

#[test]
fn a_previous_result_that_does_not_fit() {
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
        let words = "no veth peer of container interface found in host ns";
        refused(&interfaces(list), 999, words);
    }
}

#[test]
fn a_namespace_or_an_interface_that_is_none() {
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
