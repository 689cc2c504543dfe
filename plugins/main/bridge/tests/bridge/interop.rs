//! Interoperation with upstream's binaries, the peer: attachments that one adds and the
//! other checks and deletes.

use crate::common::{bridge, dual, host_end, layer2, merge, vlans_of};
use serde_json::{Value, json};
use testkit::{Host, Node, Plugin, leases, namespace, needs};

/// The versions with CHECK that the peer speaks.
const VERSIONS: [&str; 2] = ["0.4.0", "1.0.0"];

fn config(version: &str) -> Value {
    let mut config = dual(json!({
        "cniVersion": version, "isDefaultGateway": true, "mtu": 1400, "hairpinMode": true,
        "dns": {"nameservers": ["10.1.0.1"]},
    }));
    config["ipam"]["routes"] = json!([
        // The peer's CHECK does not find routes that got their next hop from ADD.
        {"dst": "10.50.0.0/16", "gw": "10.1.0.1"}, {"dst": "fd00:50::/32", "gw": "fd00:1::1"},
    ]);
    config
}

#[track_caller]
fn handed_over(from: &Plugin, to: &Plugin) {
    for version in VERSIONS {
        let host = Host::new();
        let (c1, c2) = (host.container("c1"), host.container("c2"));
        let config = config(version);
        let run = from.add(&c1, &config).expect_ok();
        // Both use one bridge.
        let other = to.add(&c2, &config).expect_ok();
        c2.ping("10.1.0.1");
        for plugin in [to, from, to] {
            plugin.check(&c1, &run.with_prev()).expect_ok();
            plugin.check(&c2, &other.with_prev()).expect_ok();
        }
        to.del(&c1, &run.with_prev()).expect_ok();
        from.del(&c2, &other.with_prev()).expect_ok();
        assert_eq!(leases("net"), [""; 0]);
        assert_eq!(host.link_names(), ["cni0", "lo"]);
    }
}

#[test]
fn from_the_peer_to_this_plugin() {
    handed_over(&Plugin::peer("bridge"), &bridge());
}

#[test]
fn from_this_plugin_to_the_peer() {
    handed_over(&bridge(), &Plugin::peer("bridge"));
}

/// The peer's release knows `vlan`, and leaves ports in the default VLAN too.
#[track_caller]
fn handed_over_in_vlans(from: &Plugin, to: &Plugin) {
    for version in VERSIONS {
        let host = Host::new();
        let (c1, c2) = (host.container("c1"), host.container("c2"));
        let mut config = config(version);
        config["vlan"] = 100.into();
        let run = from.add(&c1, &config).expect_ok();
        assert_eq!(run.json()["interfaces"][3]["name"], "cni0.100");
        let veth = host_end(&run);
        assert!(vlans_of(&host, &veth).contains(&(100, "pu")));
        // The peer's bridge takes the lowest MAC address of its ports, and the peer's CHECK
        // reports the change.
        let mac = host.link_attribute("cni0", "/address");
        host.ip(&format!("link set cni0 address {}", mac.as_str().unwrap()));
        let other = to.add(&c2, &config).expect_ok();
        let third = run.json()["interfaces"][3].clone();
        assert_eq!(other.json()["interfaces"][3], third);
        for container in [&c1, &c2] {
            container.ping("10.1.0.1");
            container.ping("fd00:1::1");
        }
        c1.ping("10.1.0.3");
        for plugin in [to, from, to] {
            plugin.check(&c1, &run.with_prev()).expect_ok();
            plugin.check(&c2, &other.with_prev()).expect_ok();
        }
        let links = |host: &Host| {
            let mut links = host.link_names();
            links.retain(|name| !name.starts_with("veth"));
            (links, host.link_names().len())
        };
        to.del(&c1, &run.with_prev()).expect_ok();
        from.del(&c2, &other.with_prev()).expect_ok();
        assert_eq!(leases("net"), [""; 0]);
        let kept = ["cni0", "cni0.100", "lo"].map(String::from).to_vec();
        assert_eq!(links(&host), (kept, 4));
    }
}

#[test]
fn vlans_from_the_peer_to_this_plugin() {
    needs(&["bridge-vlan-filtering"]);
    handed_over_in_vlans(&Plugin::peer("bridge"), &bridge());
}

#[test]
fn vlans_from_this_plugin_to_the_peer() {
    needs(&["bridge-vlan-filtering"]);
    handed_over_in_vlans(&bridge(), &Plugin::peer("bridge"));
}

/// A pod that the peer added, whatever its release made of the keys, passes CHECK; drift of what it did set does not.
#[track_caller]
fn checked_after_the_peer(config: &Value, drift: Option<(&str, &str)>) {
    let host = Host::new();
    let container = host.container("c1");
    let run = Plugin::peer("bridge").add(&container, config).expect_ok();
    bridge().check(&container, &run.with_prev()).expect_ok();
    if let Some((command, words)) = drift {
        let veth = host_end(&run);
        namespace::run(&command.replace("VETH", &veth));
        bridge()
            .check(&container, &run.with_prev())
            .expect_error(999)
            .mentions(&words.replace("VETH", &veth));
    }
}

#[test]
fn each_key_of_a_pod_of_the_peer_is_checked_as_far_as_the_peer_sets_it() {
    for (keys, drift) in [
        (
            json!({}),
            Some(("ip link set VETH nomaster", "is not its port")),
        ),
        (
            json!({"isGateway": true}),
            Some(("ip addr flush dev cni0", "gateway address 10.1.0.1/24")),
        ),
        (
            json!({"isDefaultGateway": true, "forceAddress": true}),
            None,
        ),
        (
            json!({"mtu": 1400}),
            Some((
                "ip link set VETH mtu 1300",
                "Tuning configured MTU of VETH is 1400",
            )),
        ),
        (json!({"mtu": -1}), None),
        (
            json!({"hairpinMode": true}),
            Some((
                "ip link set VETH type bridge_slave hairpin off",
                "has hairpin mode false",
            )),
        ),
        (
            json!({"promiscMode": true}),
            Some(("ip link set cni0 promisc off", "Promisc Mode")),
        ),
        (json!({"enabledad": true}), None),
        (json!({"portIsolation": true}), None),
        (json!({"preserveDefaultVlan": true}), None),
        (
            json!({"ipMasq": true}),
            Some(("iptables -t nat -F POSTROUTING", "POSTROUTING")),
        ),
        (json!({"ipMasq": true, "ipMasqBackend": "iptables"}), None),
        // The peer's release does not know the key, and makes rules of iptables.
        (
            json!({"ipMasq": true, "ipMasqBackend": "nftables"}),
            Some(("iptables -t nat -F POSTROUTING", "POSTROUTING")),
        ),
        (
            json!({"macspoofchk": true}),
            Some(("nft flush chain bridge nat PREROUTING", "spoof-check")),
        ),
        (json!({"args": {"cni": {"mac": "02:00:00:00:00:07"}}}), None),
        (json!({"runtimeConfig": {"mac": "02:00:00:00:00:07"}}), None),
        (json!({"dns": {"nameservers": ["10.1.0.1"]}}), None),
        // Keys that upstream does not have.
        (json!({"raGuard": true, "dhcpGuard": true}), None),
        (
            json!({"txQueueLen": 77, "numQueues": 3, "gsoMaxSize": 30000, "groMaxSize": 30000}),
            None,
        ),
    ] {
        let mut config = dual(json!({"cniVersion": "1.0.0"}));
        config = merge(config, keys);
        checked_after_the_peer(&config, drift);
    }
}

#[test]
fn a_pod_of_the_peer_without_addresses_is_checked() {
    for keys in [
        json!({}),
        json!({"isGateway": true, "mtu": 1400, "ipMasq": true}),
        json!({"disableContainerInterface": true, "portIsolation": true}),
    ] {
        let config = merge(layer2(json!({"cniVersion": "1.0.0"})), keys);
        let drift = ("ip link set VETH down", "Interface VETH is down");
        checked_after_the_peer(&config, Some(drift));
    }
}

#[test]
fn vlans_of_a_pod_of_the_peer_are_checked_as_far_as_the_peer_sets_them() {
    needs(&["bridge-vlan-filtering"]);
    for (keys, drift) in [
        (
            json!({"vlan": 100}),
            Some(("bridge vlan del dev VETH vid 100", "has no native vlan")),
        ),
        (json!({"vlan": 100, "preserveDefaultVlan": true}), None),
        // The peer's release does not know the key.
        (json!({"vlanTrunk": [{"id": 5}]}), None),
        (
            json!({"vlan": 100, "vlanTrunk": [{"id": 5}]}),
            Some(("bridge vlan del dev VETH vid 100", "has no native vlan")),
        ),
    ] {
        let config = merge(
            dual(json!({"cniVersion": "1.0.0", "isGateway": true})),
            keys,
        );
        checked_after_the_peer(&config, drift);
    }
}

/// The trunk and the VLAN are on one bridge; each plugin deletes the other's attachment.
#[test]
fn a_trunk_reaches_a_vlan_of_the_peer() {
    needs(&["bridge-vlan-filtering", "vlan"]);
    let host = Host::new();
    let (c1, c2) = (host.container("c1"), host.container("c2"));
    let in_vlan = layer2(json!({"cniVersion": "1.0.0", "vlan": 5}));
    let of_peer = Plugin::peer("bridge").add(&c1, &in_vlan).expect_ok();
    let trunk = layer2(json!({"cniVersion": "1.0.0", "vlanTrunk": [{"id": 5}]}));
    let own = bridge().add(&c2, &trunk).expect_ok();
    c1.ip("addr add 10.7.0.1/24 dev eth0");
    c2.ip("link add link eth0 name eth0.5 up type vlan id 5");
    c2.ip("addr add 10.7.0.2/24 dev eth0.5");
    c2.ping("10.7.0.1");
    bridge().check(&c1, &of_peer.with_prev()).expect_ok();
    bridge().check(&c2, &own.with_prev()).expect_ok();
    bridge().del(&c1, &in_vlan).expect_ok();
    Plugin::peer("bridge").del(&c2, &trunk).expect_ok();
    assert_eq!(host.link_names(), ["cni0", "lo"]);
}

/// A result without what differs from one ADD to the next.
fn comparable(mut result: Value) -> Value {
    for interface in result["interfaces"].as_array_mut().into_iter().flatten() {
        interface.as_object_mut().unwrap().remove("mac");
        if interface["name"]
            .as_str()
            .is_some_and(|name| name.starts_with("veth"))
        {
            interface["name"] = "veth".into();
        }
    }
    result
}

#[test]
fn the_kernel_is_left_in_the_same_state() {
    let state_after = |plugin: &Plugin| {
        let host = Host::new();
        let container = host.container("c1");
        let mut config = config("1.0.0");
        config["runtimeConfig"] = json!({"mac": "02:00:00:00:00:07"});
        let result = plugin.add(&container, &config).expect_ok().json();
        let snapshot = host.snapshot();
        let mut lines = Vec::new();
        for heading in [
            "c1 link",
            "c1 address",
            "c1 route -4",
            "c1 route -6",
            "host address",
            "host route -4",
        ] {
            lines.extend(snapshot.lines(heading).into_iter().map(String::from));
        }
        // This plugin does not detect duplicates of the bridge's addresses; the peer's
        // release sets the length of transmit queues to 0.
        for (difference, same) in [
            ("flags=0x82", "flags=0x80"),
            ("txqlen=0 ", ""),
            ("txqlen=1000 ", ""),
        ] {
            for line in &mut lines {
                *line = line.replace(difference, same);
            }
        }
        (comparable(result), lines)
    };
    assert_eq!(state_after(&bridge()), state_after(&Plugin::peer("bridge")));
}
