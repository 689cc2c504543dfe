//! `vlan`, `vlanTrunk`, `preserveDefaultVlan`: VLANs of ports, and which containers reach
//! each other on a bridge that filters by VLAN.

use crate::common::{
    attached, bridge, dual, give_address, host_end, in_vlan, ipv4, layer2, reaches, vlans_of,
};
use serde_json::{Value, json};
use std::thread;
use std::time::Duration;
use testkit::{Container, Host, Node, namespace, needs};

const FILTERING: &str = "/linkinfo/info_data/vlan_filtering";

/// Attaches a container without IPAM, and adds `address` to its interface. Returns it and
/// the name of its port.
#[track_caller]
fn with_address(host: &Host, name: &str, address: &str, keys: Value) -> (Container, String) {
    let (container, run) = attached(host, name, &layer2(keys));
    give_address(&container, address, "eth0");
    (container, host_end(&run))
}

#[test]
fn containers_reach_each_other_in_one_vlan_only() {
    needs(&["bridge-vlan-filtering"]);
    let host = Host::new();
    let (c1, port) = with_address(&host, "c1", "10.7.0.1/24", json!({"vlan": 100}));
    let (c2, _) = with_address(&host, "c2", "10.7.0.2/24", json!({"vlan": 100}));
    let (c3, _) = with_address(&host, "c3", "10.7.0.3/24", json!({"vlan": 200}));
    let (c4, plain) = with_address(&host, "c4", "10.7.0.4/24", json!({}));
    for (container, address) in [
        (&c1, "fd07::1/64"),
        (&c2, "fd07::2/64"),
        (&c3, "fd07::3/64"),
    ] {
        give_address(container, address, "eth0");
    }
    assert_eq!(host.link_attribute("cni0", FILTERING), 1);
    assert_eq!(vlans_of(&host, &port), [(100, "pu")]);
    assert_eq!(vlans_of(&host, &plain), [(1, "pu")]);
    // The VLANs of the bridge itself are not changed.
    assert_eq!(vlans_of(&host, "cni0"), [(1, "pu")]);
    c1.ping("10.7.0.2");
    c2.ping("10.7.0.1");
    c1.ping("fd07::2");
    for (from, to) in [
        (&c1, "10.7.0.3"),
        (&c3, "10.7.0.1"),
        (&c1, "10.7.0.4"),
        (&c4, "10.7.0.2"),
    ] {
        assert!(!reaches(from, to), "{to}");
    }
    assert!(!reaches(&c1, "fd07::3"));
    // Only the VLAN separates them.
    namespace::run(&format!(
        "bridge vlan add dev {plain} vid 100 pvid untagged"
    ));
    c1.ping("10.7.0.4");
}

#[test]
fn a_trunk_gets_tagged_frames_of_its_vlans_only() {
    needs(&["bridge-vlan-filtering", "vlan"]);
    let host = Host::new();
    let trunk = json!({"vlanTrunk": [{"minID": 20, "maxID": 21}, {"id": 10}, {"id": 20}]});
    let (router, port) = with_address(&host, "router", "10.7.1.9/24", trunk);
    let listed = [(1, "pu"), (10, ""), (20, ""), (21, "")];
    assert_eq!(vlans_of(&host, &port), listed);
    for vlan in [10, 20, 21, 30] {
        router.ip(&format!(
            "link add link eth0 name eth0.{vlan} type vlan id {vlan}"
        ));
        router.ip(&format!("link set eth0.{vlan} up"));
        give_address(
            &router,
            &format!("10.7.{vlan}.9/24"),
            &format!("eth0.{vlan}"),
        );
    }
    let mut others = Vec::new();
    for vlan in [10, 20, 21, 30] {
        let name = format!("c{vlan}");
        let address = format!("10.7.{vlan}.1/24");
        others.push(with_address(&host, &name, &address, json!({"vlan": vlan})).0);
    }
    for vlan in [10, 20, 21] {
        router.ping(&format!("10.7.{vlan}.1"));
    }
    // Untagged frames are those of VLAN 1.
    let (plain, _) = with_address(&host, "plain", "10.7.1.1/24", json!({}));
    plain.ping("10.7.1.9");
    assert!(!reaches(&router, "10.7.30.1"));
    assert!(!reaches(&others[3], "10.7.30.9"));
    // Not even the broadcast ARP requests of the container arrived.
    let received = |vlan: u64| {
        let link = router.ip_json(&["-s", "link", "show", "dev", &format!("eth0.{vlan}")]);
        link[0]["stats64"]["rx"]["packets"].as_u64().unwrap()
    };
    assert_eq!(received(30), 0);
    assert!(received(10) > 0);
}

#[test]
fn a_trunk_with_a_native_vlan() {
    needs(&["bridge-vlan-filtering", "vlan"]);
    let host = Host::new();
    // The native VLAN stays native although the trunk lists it too.
    let keys = json!({"vlan": 5, "vlanTrunk": [{"minID": 4, "maxID": 6}]});
    let (c1, port) = with_address(&host, "c1", "10.7.5.1/24", keys);
    assert_eq!(vlans_of(&host, &port), [(4, ""), (5, "pu"), (6, "")]);
    let (c2, _) = with_address(&host, "c2", "10.7.5.2/24", json!({"vlan": 5}));
    c1.ping("10.7.5.2");
    let (tagged, _) = with_address(&host, "c3", "10.7.6.2/24", json!({"vlan": 6}));
    c1.ip("link add link eth0 name eth0.6 type vlan id 6");
    c1.ip("link set eth0.6 up");
    give_address(&c1, "10.7.6.1/24", "eth0.6");
    tagged.ping("10.7.6.1");
    assert!(!reaches(&c2, "10.7.6.2"));
}

#[test]
fn vlans_of_ports_for_every_combination_of_keys() {
    needs(&["bridge-vlan-filtering"]);
    let everything: Vec<(u64, &str)> = (1..=4094)
        .map(|id| (id, if id == 1 { "pu" } else { "" }))
        .collect();
    for (keys, vlans) in [
        (json!({"vlan": 1}), &[(1, "pu")][..]),
        (json!({"vlan": 4094}), &[(4094, "pu")]),
        (
            json!({"vlan": 5, "preserveDefaultVlan": true}),
            &[(1, "u"), (5, "pu")],
        ),
        (json!({"vlan": 5, "vlanTrunk": []}), &[(5, "pu")]),
        (
            json!({"vlan": 5, "vlanTrunk": [{"id": 1}]}),
            &[(1, ""), (5, "pu")],
        ),
        (
            json!({"vlanTrunk": [{"id": 7}], "preserveDefaultVlan": true}),
            &[(1, "pu"), (7, "")],
        ),
        (json!({"vlanTrunk": [{"id": 1}]}), &[(1, "pu")]),
        // An empty trunk only makes the bridge filter.
        (json!({"vlanTrunk": []}), &[(1, "pu")]),
        (json!({"vlanTrunk": [{}], "vlan": 0}), &[(1, "pu")]),
        (
            json!({"vlanTrunk": [{"minID": 1, "maxID": 4094}]}),
            &everything,
        ),
    ] {
        let host = Host::new();
        let container = host.container("c1");
        let run = bridge().add(&container, &layer2(keys.clone())).expect_ok();
        assert_eq!(run.stderr_text(), "");
        assert_eq!(vlans_of(&host, &host_end(&run)), vlans, "{keys}");
        assert_eq!(host.link_attribute("cni0", FILTERING), 1, "{keys}");
        bridge().check(&container, &run.with_prev()).expect_ok();
        bridge().del(&container, &run.with_prev()).expect_ok();
        assert_eq!(host.link_names(), ["cni0", "lo"]);
    }
    let host = Host::new();
    let container = host.container("c1");
    let without = layer2(json!({"preserveDefaultVlan": true, "vlan": 0}));
    bridge().add(&container, &without).expect_ok();
    assert_eq!(host.link_attribute("cni0", FILTERING), 0);
}

#[test]
fn a_bridge_with_another_default_vlan() {
    needs(&["bridge-vlan-filtering"]);
    for (default, keys, vlans) in [
        (7, json!({"vlan": 5}), &[(5, "pu")][..]),
        (7, json!({"vlan": 7}), &[(7, "pu")]),
        (
            7,
            json!({"vlan": 5, "preserveDefaultVlan": true}),
            &[(5, "pu"), (7, "u")],
        ),
        (7, json!({"vlanTrunk": [{"id": 7}]}), &[(1, "pu"), (7, "")]),
        (0, json!({"vlan": 5}), &[(5, "pu")]),
        (0, json!({"vlanTrunk": [{"id": 9}]}), &[(1, "pu"), (9, "")]),
    ] {
        let host = Host::new();
        let make = "ip link add cni0 type bridge vlan_filtering 1 vlan_default_pvid";
        namespace::run(&format!("{make} {default}"));
        let container = host.container("c1");
        let run = bridge().add(&container, &layer2(keys.clone())).expect_ok();
        assert_eq!(vlans_of(&host, &host_end(&run)), vlans, "{default} {keys}");
        bridge().check(&container, &run.with_prev()).expect_ok();
        let pvid = host.link_attribute("cni0", "/linkinfo/info_data/vlan_default_pvid");
        assert_eq!(pvid, default);
    }
}

/// ADD has prepared all of its ports for VLANs, so that filtering affects no others.
#[test]
fn filtering_is_enabled_on_a_bridge_whose_ports_are_all_in_vlans() {
    needs(&["bridge-vlan-filtering"]);
    let host = Host::new();
    host.ip("link add cni0 up type bridge");
    let config = in_vlan(5, json!({"isGateway": true}));
    bridge().status(&config).expect_ok();
    for container in ["c1", "c2"] {
        // The second finds the first's port, and the gateway's.
        host.ip("link set cni0 type bridge vlan_filtering 0");
        let container = host.container(container);
        let run = bridge().add(&container, &config).expect_ok();
        assert_eq!(run.stderr_text(), "");
        assert_eq!(host.link_attribute("cni0", FILTERING), 1);
        bridge().check(&container, &run.with_prev()).expect_ok();
        container.ping("10.1.5.1");
    }
}

#[test]
fn filtering_is_not_enabled_on_a_bridge_with_other_ports() {
    needs(&["bridge-vlan-filtering", "dummy"]);
    let host = Host::new();
    let (container, config) = (host.container("c1"), layer2(json!({"vlan": 5})));
    let says = "bridge cni0 does not filter by vlan";
    for other in ["a container without vlan", "a network card"] {
        host.ip("link add cni0 up type bridge");
        let neighbour = host.container("neighbour");
        match other {
            "a network card" => {
                host.ip("link add card master cni0 type dummy");
                namespace::run("bridge vlan add dev card vid 7 pvid untagged");
            }
            _ => drop(bridge().add(&neighbour, &layer2(json!({}))).expect_ok()),
        }
        bridge().status(&config).expect_error(50).mentions(says);
        let run = bridge().add(&container, &config).expect_ok();
        assert!(run.stderr_text().contains(says), "{}", run.report());
        assert_eq!(host.link_attribute("cni0", FILTERING), 0);
        let port = host_end(&run);
        assert_eq!(vlans_of(&host, &port), [(5, "pu")]);
        // The bridge is as ADD left it. The port is compared nevertheless.
        bridge().check(&container, &run.with_prev()).expect_ok();
        namespace::run(&format!("bridge vlan del dev {port} vid 5"));
        let check = bridge().check(&container, &run.with_prev());
        check.expect_error(999).mentions("has no native vlan");
        namespace::run(&format!("bridge vlan add dev {port} vid 5 pvid untagged"));
        host.ip("link set cni0 type bridge vlan_filtering 1");
        bridge().check(&container, &run.with_prev()).expect_ok();
        bridge().status(&config).expect_ok();
        bridge().del(&container, &run.with_prev()).expect_ok();
        assert_eq!(namespace::run("find /run -path /run/cni/* -type f"), "");
        neighbour.delete();
        host.ip("link del cni0");
    }
}

#[test]
fn no_frame_of_another_vlan_reaches_a_container_during_add() {
    needs(&["bridge-vlan-filtering"]);
    let host = Host::new();
    host.set_sysctl("net/ipv6/conf/default/disable_ipv6", "1");
    let (c1, _) = with_address(&host, "c1", "10.7.0.1/24", json!({"vlan": 1}));
    c1.ip("neigh add 10.7.0.77 lladdr 02:00:00:00:00:77 dev eth0");
    // Frames to an unknown MAC address are flooded to all ports of VLAN 1.
    let flood = c1.enter(|| {
        let socket = std::net::UdpSocket::bind("10.7.0.1:0").unwrap();
        thread::spawn(move || {
            for _ in 0..2000 {
                let _ = socket.send_to(b"?", "10.7.0.77:9");
                thread::sleep(Duration::from_micros(200));
            }
        })
    });
    let c2 = host.container("c2");
    c2.set_sysctl("net/ipv6/conf/default/disable_ipv6", "1");
    bridge().add(&c2, &layer2(json!({"vlan": 9}))).expect_ok();
    flood.join().unwrap();
    let link = c2.ip_json(&["-s", "link", "show", "dev", "eth0"]);
    assert_eq!(link[0]["stats64"]["rx"]["packets"], 0);
}

#[test]
fn networks_of_two_vlans_with_the_same_addresses() {
    needs(&["bridge-vlan-filtering"]);
    let host = Host::new();
    let (c1, c2) = (host.container("c1"), host.container("c2"));
    let network = |vlan: u16| {
        let name = format!("net{vlan}");
        ipv4(json!({"name": name, "vlan": vlan}))
    };
    let first = bridge().add(&c1, &network(5)).expect_ok();
    let second = bridge().add(&c2, &network(6)).expect_ok();
    assert_eq!(c1.addresses("eth0"), c2.addresses("eth0"));
    bridge().check(&c1, &first.with_prev()).expect_ok();
    bridge().check(&c2, &second.with_prev()).expect_ok();
    let c3 = host.container("c3");
    bridge().add(&c3, &network(5)).expect_ok();
    c3.ping("10.1.0.2");
    for (container, vlan) in [(&c1, 5), (&c2, 6), (&c3, 5)] {
        bridge().del(container, &network(vlan)).expect_ok();
    }
    assert_eq!(host.link_names(), ["cni0", "lo"]);
}

#[test]
fn without_a_gateway_results_have_three_interfaces() {
    needs(&["bridge-vlan-filtering"]);
    let host = Host::new();
    for keys in [json!({}), json!({"ipam": {}, "isGateway": true})] {
        let container = host.container("c1");
        let run = bridge().add(&container, &in_vlan(100, keys)).expect_ok();
        let interfaces = run.json()["interfaces"].as_array().unwrap().len();
        assert_eq!(interfaces, 3);
        bridge().check(&container, &run.with_prev()).expect_ok();
        bridge().del(&container, &run.with_prev()).expect_ok();
        assert_eq!(host.link_names(), ["cni0", "lo"]);
    }
}

/// For the kernels that the other tests cannot run on.
#[test]
fn a_kernel_without_vlan_filtering_is_named() {
    let host = Host::new();
    let probe = "ip link add probe type bridge vlan_filtering 1";
    if host
        .try_command(&probe.split(' ').collect::<Vec<_>>())
        .is_ok()
    {
        return;
    }
    let container = host.container("c1");
    let words =
        "the kernel does not filter by vlan on bridges; it needs CONFIG_BRIDGE_VLAN_FILTERING";
    for exists in [false, true] {
        if exists {
            host.ip("link add cni0 type bridge");
        }
        let before = host.snapshot();
        for keys in [json!({"vlan": 5}), json!({"vlanTrunk": [{"id": 5}]})] {
            let config = dual(keys);
            let add = bridge().add(&container, &config);
            add.expect_error(999).mentions(words);
            before.assert_same(&host.snapshot());
            bridge().status(&config).expect_error(50).mentions(words);
        }
        bridge().status(&dual(json!({}))).expect_ok();
    }
}
