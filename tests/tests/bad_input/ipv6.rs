//! IPv6 addresses where the kernel does not accept them: the error names the cause and the way out, and ADD is undone.

use blackbox::answer;
use serde_json::{Value, json};
use testkit::{Node, merge, needs};

use super::Stage;

/// A network of `plugin` with one address of each family, and the master `m0` for plugins that need one.
fn dual(plugin: &str, extra: Value) -> Value {
    let addresses = json!([
        {"address": "10.1.0.2/24", "gateway": "10.1.0.1"}, {"address": "fd00:1::2/64", "gateway": "fd00:1::1"},
    ]);
    let base = json!({
        "cniVersion": "1.1.0", "name": "net", "type": plugin, "master": "m0", "vlanId": 5, "isGateway": true,
        "ipam": {"type": "static", "addresses": addresses},
    });
    merge(base, &extra)
}

fn stage() -> Stage {
    let stage = Stage::new();
    let master = "ip link add m0 up type veth peer name m1";
    stage.host.command(&master.split(' ').collect::<Vec<_>>());
    stage.host.command(&["ip", "link", "set", "m1", "up"]);
    stage
}

#[track_caller]
fn assert_requires_an_mtu_of_1280(plugins: &[&str]) {
    let stage = stage();
    for plugin in plugins {
        let config = dual(plugin, json!({"mtu": 1279}));
        let add = stage.call(plugin, "ADD", &config);
        let cause = "cannot add address fd00:1::2/64 to \"eth0\": mtu 1279 is below 1280, the minimum of IPv6";
        stage.refused(add, 7, &[cause, "raise the mtu"]);
        // 1280 is accepted.
        let config = dual(plugin, json!({"mtu": 1280}));
        stage.call(plugin, "ADD", &config).run().expect_ok();
        stage.call(plugin, "DEL", &config).run().expect_ok();
    }
}

#[test]
fn add_fails_on_a_link_with_a_small_mtu() {
    assert_requires_an_mtu_of_1280(&["bridge", "ptp", "macvlan", "tap"]);
}

#[test]
fn add_fails_on_further_links_with_a_small_mtu() {
    needs(&["vlan", "ipvlan"]);
    assert_requires_an_mtu_of_1280(&["vlan", "ipvlan"]);
}

/// The MTU of the container's end suffices, but the MTU of the bridge is the smallest of its ports.
#[test]
fn add_fails_on_a_bridge_with_a_small_mtu() {
    let stage = stage();
    for command in [
        "ip link add cni0 up mtu 1200 type bridge",
        "ip link set m0 mtu 1200 master cni0",
    ] {
        stage.host.command(&command.split(' ').collect::<Vec<_>>());
    }
    let add = stage.call("bridge", "ADD", &dual("bridge", json!({})));
    let cause =
        "cannot add address fd00:1::1/64 to \"cni0\": mtu 1200 is below 1280, the minimum of IPv6";
    stage.refused(add, 7, &[cause, "raise the mtu"]);
}

#[test]
fn add_fails_on_a_kernel_without_ipv6() {
    needs(&["no-ipv6", "vlan", "ipvlan", "dummy"]);
    let stage = stage();
    for plugin in ["bridge", "ptp", "macvlan", "vlan", "ipvlan", "dummy"] {
        let add = stage.call(plugin, "ADD", &dual(plugin, json!({})));
        // As upstream, vlan does not pass on the code of an IPAM error.
        let code = if plugin == "vlan" { 999 } else { 7 };
        let error = answer::refusal(add.run(), code);
        error
            .mentions("cannot add address fd00:1::2/64: the kernel has no IPv6")
            .mentions("ipv6.disable=1");
        assert_eq!(stage.container.link_names(), ["lo"], "{plugin}");
        let addresses = json!([{"address": "10.1.0.2/24", "gateway": "10.1.0.1"}]);
        let config = dual(
            plugin,
            json!({"ipam": {"type": "static", "addresses": addresses}}),
        );
        stage.call(plugin, "ADD", &config).run().expect_ok();
        stage.call(plugin, "DEL", &config).run().expect_ok();
    }
}
