//! Invalid input is refused before anything is changed.

use crate::common::{assert_same, attached, config, everything, state, tuning};
use serde_json::{Value, json};
use testkit::merge;

#[track_caller]
fn refused(extra: Value, words: &str) {
    let (host, container) = attached();
    let before = state(&host, &container);
    let config = merge(config(everything()), &extra);
    tuning()
        .add(&container, &config)
        .expect_error(999)
        .mentions(words);
    assert_same(&before, &state(&host, &container));
}

#[test]
fn values() {
    let sysctl = |key: &str| json!({"sysctl": {"net.core.somaxconn": "1", key: "1"}});
    for (extra, words) in [
        (
            sysctl("kernel.hostname"),
            "invalid net sysctl key: \"kernel/hostname\"",
        ),
        (
            sysctl("vm/overcommit_memory"),
            "invalid net sysctl key: \"vm/overcommit_memory\"",
        ),
        (sysctl("net/../kernel/hostname"), "invalid net sysctl key"),
        (
            sysctl("net/ipv4/../../../../etc/passwd"),
            "invalid net sysctl key",
        ),
        (sysctl("net.//.kernel.hostname"), "invalid net sysctl key"),
        (
            sysctl("/proc/sys/net/ipv4/ip_forward"),
            "invalid net sysctl key",
        ),
        (sysctl(""), "invalid net sysctl key: \"\""),
        (
            sysctl("net.ipv4.nosuch"),
            "failed to set sysctl \"net.ipv4.nosuch\": no such file or directory",
        ),
        (
            sysctl("net.ipv4.conf"),
            "failed to set sysctl \"net.ipv4.conf\": is a directory",
        ),
        (
            sysctl("net.ipv4.conf.eth9.arp_filter"),
            "failed to set sysctl \"net.ipv4.conf.eth9.arp_filter\": no such file or directory",
        ),
        (
            json!({"sysctl": {"net.core.somaxconn": "1", "net/core/somaxconn": "2"}}),
            "duplicated sysctl keys are not allowed; \"net.core.somaxconn\" and \"net/core/somaxconn\"",
        ),
        (
            json!({"args": {"cni": {"sysctl": {"net.a": "1", "net/a": "2"}}}}),
            "duplicated sysctl keys are not allowed",
        ),
        (
            json!({"mac": "02:00:00"}),
            "invalid args 02:00:00 for MAC addr: address 02:00:00: invalid MAC address",
        ),
        (
            json!({"mac": "01:00:5e:00:00:01"}),
            "it is a multicast address",
        ),
        (json!({"mac": "00:00:00:00:00:00"}), "it is all zero"),
        (
            json!({"mtu": -1}),
            "invalid mtu -1, must be [0, 2147483647]",
        ),
        (json!({"mtu": 2147483648_u32}), "invalid mtu 2147483648"),
        (json!({"txQLen": -5}), "invalid txQLen -5"),
        (json!({"prevResult": null}), "Required prevResult missing"),
        (
            json!({"prevResult": {"cniVersion": "0.2.0"}}),
            "could not parse prevResult",
        ),
    ] {
        refused(extra, words);
    }
}

#[test]
fn types() {
    for (extra, words) in [
        (
            json!({"sysctl": []}),
            "failed to load netconf: sysctl: expected an object",
        ),
        (
            json!({"sysctl": {"net.core.somaxconn": 5}}),
            "sysctl.net.core.somaxconn: expected a string, got number",
        ),
        (json!({"mac": 7}), "mac: expected a string, got number"),
        (
            json!({"mtu": "1400"}),
            "mtu: expected an integer, got string",
        ),
        (json!({"mtu": 1400.5}), "mtu: expected an integer"),
        (json!({"promisc": "yes"}), "promisc: expected"),
        (json!({"allmulti": 1}), "allmulti: expected"),
        (json!({"txQLen": true}), "txQLen: expected an integer"),
        (json!({"dataDir": {}}), "dataDir: expected a string"),
        (
            json!({"runtimeConfig": {"mac": []}}),
            "runtimeConfig.mac: expected a string",
        ),
        (
            json!({"args": {"cni": {"mtu": "x"}}}),
            "args.cni.mtu: expected an integer",
        ),
    ] {
        refused(extra, words);
    }
}

#[test]
fn duplicate_keys() {
    let (host, container) = attached();
    let before = state(&host, &container);
    let text = config(json!({"sysctl": {"net.core.somaxconn": "1", "twice": "2"}})).to_string();
    let text = text.replace("twice", "net.core.somaxconn");
    for verb in ["ADD", "CHECK"] {
        let call = tuning().command(verb).container(&container);
        call.stdin(text.clone()).run().expect_error(999).mentions(
            "duplicated sysctl keys are not allowed; \"net.core.somaxconn\" is there twice",
        );
    }
    assert_same(&before, &state(&host, &container));
}

#[test]
fn cni_args() {
    let (host, container) = attached();
    let before = state(&host, &container);
    for (args, words) in [
        ("MAC=x", "invalid args x for MAC addr"),
        ("FOO=1", "ARGS: unknown args [\"FOO=1\"]"),
        ("MAC", "ARGS: invalid pair"),
    ] {
        let call = tuning().command("ADD").container(&container).args(args);
        let call = call.config(&config(json!({"mtu": 1400})));
        call.run().expect_error(999).mentions(words);
    }
    assert_same(&before, &state(&host, &container));
}

#[test]
fn no_such_interface_or_namespace() {
    let (host, container) = attached();
    let before = state(&host, &container);
    let call = tuning().command("ADD").container(&container).ifname("eth9");
    call.config(&config(
        json!({"mtu": 1400, "sysctl": {"net.core.somaxconn": "1"}}),
    ))
    .run()
    .expect_error(999)
    .mentions("failed to get \"eth9\": Link not found");
    assert_same(&before, &state(&host, &container));
    container.delete();
    tuning()
        .add(&container, &config(everything()))
        .expect_error(999)
        .mentions("failed to Statfs \"/run/netns/c1\": no such file or directory");
    assert!(!std::fs::exists("/run/cni").unwrap());
}
