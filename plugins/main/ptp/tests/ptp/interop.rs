//! Interoperation with upstream's binaries, the peer: attachments that one adds and the
//! other checks and deletes.

use crate::common::{dual, host_end, ptp, reaches};
use serde_json::{Value, json};
use testkit::{Host, Node, Plugin, leases, merge, namespace};

fn config(version: &str) -> Value {
    let mut config = dual(json!({
        "cniVersion": version, "mtu": 1400, "dns": {"nameservers": ["10.1.0.1"]},
    }));
    config["ipam"]["routes"] = json!([
        // The peer's CHECK does not find routes that got their next hop from ADD.
        {"dst": "10.50.0.0/16", "gw": "10.1.0.1"}, {"dst": "fd00:50::/32", "gw": "fd00:1::1"},
    ]);
    config
}

#[track_caller]
fn handed_over(from: &Plugin, to: &Plugin) {
    for version in ["0.4.0", "1.0.0"] {
        let host = Host::new();
        let (c1, c2) = (host.container("c1"), host.container("c2"));
        let config = config(version);
        let run = from.add(&c1, &config).expect_ok();
        let other = to.add(&c2, &config).expect_ok();
        reaches(&c2, "10.1.0.1");
        reaches(&c1, "10.1.0.3");
        for plugin in [to, from, to] {
            plugin.check(&c1, &run.with_prev()).expect_ok();
            plugin.check(&c2, &other.with_prev()).expect_ok();
        }
        to.del(&c1, &run.with_prev()).expect_ok();
        from.del(&c2, &other.with_prev()).expect_ok();
        assert_eq!(leases("net"), [""; 0]);
        assert_eq!(host.link_names(), ["lo"]);
    }
}

#[test]
fn from_the_peer_to_this_plugin() {
    handed_over(&Plugin::peer("ptp"), &ptp());
}

#[test]
fn from_this_plugin_to_the_peer() {
    handed_over(&ptp(), &Plugin::peer("ptp"));
}

/// A pod that the peer added, whatever its release made of the keys, passes CHECK; drift of what it did set does not.
#[test]
fn each_key_of_a_pod_of_the_peer_is_checked_as_far_as_the_peer_sets_it() {
    let masquerade = ("iptables -t nat -F POSTROUTING", "POSTROUTING");
    for (keys, (drift, words)) in [
        (
            json!({}),
            ("ip link set VETH down", "Interface VETH is down"),
        ),
        (
            json!({"mtu": 1400}),
            (
                "ip link set VETH mtu 1300",
                "configured MTU of VETH is 1400",
            ),
        ),
        (
            json!({"mtu": -1}),
            (
                "ip addr flush dev VETH",
                "gateway address 10.1.0.1 is not on",
            ),
        ),
        (json!({"ipMasq": true}), masquerade),
        // The peer's release does not know the key, and makes rules of iptables.
        (
            json!({"ipMasq": true, "ipMasqBackend": "nftables"}),
            masquerade,
        ),
        (
            json!({"txQueueLen": 77, "numQueues": 3, "gsoMaxSize": 30000, "groMaxSize": 30000}),
            (
                "ip route del 10.1.0.2 dev VETH",
                "the route to 10.1.0.2/32 by interface VETH is missing",
            ),
        ),
    ] {
        let host = Host::new();
        let container = host.container("c1");
        let mut config = dual(merge(json!({"cniVersion": "1.0.0"}), &keys));
        // The peer repeats MTU and MSS in its result, and does not set them.
        config["ipam"]["routes"] =
            json!([{"dst": "10.50.0.0/16", "gw": "10.1.0.1", "mtu": 1300, "advmss": 1200}]);
        let run = Plugin::peer("ptp").add(&container, &config).expect_ok();
        ptp().check(&container, &run.with_prev()).expect_ok();
        let veth = host_end(&run);
        namespace::run(&drift.replace("VETH", &veth));
        ptp()
            .check(&container, &run.with_prev())
            .expect_error(999)
            .mentions(&words.replace("VETH", &veth));
    }
}

/// Result and kernel state after ADD, without what differs from one ADD to the next.
fn outcome(plugin: &Plugin) -> (Value, Vec<String>) {
    let host = Host::new();
    let container = host.container("c1");
    let run = plugin.add(&container, &config("1.0.0")).expect_ok();
    let mut result = run.json();
    let veth = result["interfaces"][0]["name"].as_str().unwrap().to_owned();
    for interface in result["interfaces"].as_array_mut().unwrap() {
        interface.as_object_mut().unwrap().remove("mac");
    }
    result["interfaces"][0]["name"] = "veth".into();
    let mut state = vec![
        format!("{:?}", container.addresses("eth0")),
        format!("{:?}", host.addresses(&veth)),
    ];
    for family in ["-4", "-6"] {
        state.extend(container.routes(family));
        let routes = host.routes(family);
        state.extend(routes.iter().map(|route| route.replace(&veth, "veth")));
    }
    (result, state)
}

#[test]
fn the_same_result_and_the_same_routes() {
    assert_eq!(outcome(&ptp()), outcome(&Plugin::peer("ptp")));
}
