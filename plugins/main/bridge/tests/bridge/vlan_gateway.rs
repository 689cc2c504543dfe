//! The host's interface in a VLAN, `<bridge>.<vlan>`.

use crate::common::{
    add, assert_restored, attribute, bridge, call, dual, has_flag, host_end, in_vlan, leases,
    merge, run_on, script_ipam, state, used_host, vlans_of,
};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::time::Duration;
use testkit::{Container, Host, Node, Run, needs, run_all};

fn gateway(vlan: u16) -> Value {
    in_vlan(vlan, json!({"isDefaultGateway": true}))
}

/// The other end of the host's interface in a VLAN: the port of the bridge.
#[track_caller]
fn port_of(host: &Host, name: &str) -> String {
    let index = attribute(host, name, "/link");
    index.as_str().expect("the other end of a veth").to_owned()
}

#[track_caller]
fn plugged(host: &Host, name: &str, config: &Value) -> (Container, Run) {
    let container = host.container(name);
    let run = bridge().add(&container, config).expect_ok();
    bridge().check(&container, &run.with_prev()).expect_ok();
    (container, run)
}

#[test]
fn it_answers_for_its_vlan() {
    needs(&["bridge-vlan-filtering"]);
    let host = Host::new();
    let (c1, run) = plugged(&host, "c1", &gateway(100));
    let result = run.json();
    let mac = attribute(&host, "cni0.100", "/address");
    let fourth = json!({"name": "cni0.100", "mac": mac, "mtu": 1500});
    assert_eq!(result["interfaces"][3], fourth);
    assert_eq!(result["interfaces"][2]["name"], "eth0");
    assert_eq!(result["ips"][0]["interface"], 2);
    assert_eq!(host.addresses("cni0"), [""; 0]);
    let addresses = ["10.1.100.1/24", "fd00:100::1/64"];
    assert_eq!(host.addresses("cni0.100"), addresses);
    let port = port_of(&host, "cni0.100");
    assert_eq!(vlans_of(&host, &port), [(100, "pu")]);
    assert_eq!(attribute(&host, &port, "/master"), "cni0");
    for link in ["cni0.100", &port] {
        assert_eq!(host.sysctl(&format!("net/ipv6/conf/{link}/accept_ra")), "0");
    }
    c1.ping("10.1.100.1");
    c1.ping("fd00:100::1");

    // A second network on the same bridge, and a second container in the first.
    let (c2, _) = plugged(&host, "c2", &gateway(200));
    let (c3, third) = plugged(&host, "c3", &gateway(100));
    assert_eq!(third.json()["interfaces"][3], fourth);
    c2.ping("fd00:200::1");
    c3.ping("10.1.100.2");
    // The host routes between the VLANs, by way of their gateways.
    c1.ping("10.1.200.2");
    host.set_sysctl("net/ipv4/ip_forward", "0");
    let other: IpAddr = "10.1.200.2".parse().unwrap();
    assert!(!c1.can_reach(other, Duration::from_millis(500)));

    for (container, config) in [
        (&c1, gateway(100)),
        (&c2, gateway(200)),
        (&c3, gateway(100)),
    ] {
        bridge().del(container, &config).expect_ok();
    }
    // As it was always: they stay.
    let links = host.link_names();
    assert!(links.starts_with(&["cni0".into(), "cni0.100".into(), "cni0.200".into()]));
    assert_eq!(host.addresses("cni0.100"), addresses);
    plugged(&host, "c4", &gateway(100)).0.ping("10.1.100.1");
}

/// Podman names its bridges so, and its users cannot choose another name.
#[test]
fn its_name_is_shortened_where_it_does_not_fit() {
    needs(&["bridge-vlan-filtering"]);
    let host = Host::new();
    let config = |bridge: &str| {
        let name = format!("net-{bridge}");
        merge(gateway(100), json!({"bridge": bridge, "name": name}))
    };
    let (c1, run) = plugged(&host, "c1", &config("cni-podman11"));
    let name = run.json()["interfaces"][3]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(name, "cni-p504ef6.100");
    c1.ping("10.1.100.1");
    // The next container finds it again.
    let (c2, second) = plugged(&host, "c2", &config("cni-podman11"));
    assert_eq!(second.json()["interfaces"][3]["name"], name);
    c2.ping("fd00:100::1");
    bridge().del(&c1, &run.with_prev()).expect_ok();
    run_on(&host, &format!("ip link set {name} down"));
    let check = bridge().check(&c2, &second.with_prev());
    check
        .expect_error(999)
        .mentions(&format!("Interface {name} is down"));
    // Should another bridge's name lead to it as well, nothing of that one is used.
    run_on(&host, "ip link add other up type bridge vlan_filtering 1");
    let port = port_of(&host, &name);
    run_on(&host, &format!("ip link set {port} master other"));
    let third = bridge().add(&host.container("c3"), &config("cni-podman11"));
    third
        .expect_error(999)
        .mentions(&format!("{name:?} leads to another bridge"));
}

#[test]
fn isolated_containers_of_a_vlan_reach_it() {
    needs(&["bridge-vlan-filtering"]);
    let host = Host::new();
    let config = in_vlan(5, json!({"isGateway": true, "portIsolation": true}));
    let (c1, _) = plugged(&host, "c1", &config);
    let (c2, _) = plugged(&host, "c2", &config);
    c1.ping("fd00:5::1");
    c2.ping("10.1.5.1");
    let other: IpAddr = "10.1.5.3".parse().unwrap();
    assert!(!c1.can_reach(other, Duration::from_millis(500)));
}

#[test]
fn a_trunk_and_default_vlans_are_the_containers_alone() {
    needs(&["bridge-vlan-filtering"]);
    for (keep, container, gateway) in [
        (false, &[(5, "pu"), (7, "")][..], &[(5, "pu")][..]),
        (
            true,
            &[(1, "u"), (5, "pu"), (7, "")],
            &[(1, "u"), (5, "pu")],
        ),
    ] {
        let host = Host::new();
        let keys = json!({
            "isGateway": true, "vlanTrunk": [{"id": 7}], "preserveDefaultVlan": keep,
            "hairpinMode": true,
        });
        let (c1, run) = plugged(&host, "c1", &in_vlan(5, keys));
        let port = port_of(&host, "cni0.5");
        assert_eq!(vlans_of(&host, &host_end(&run)), container);
        assert_eq!(vlans_of(&host, &port), gateway);
        let hairpin = attribute(&host, &port, "/linkinfo/info_slave_data/hairpin");
        assert_eq!(hairpin, false);
        c1.ping("10.1.5.1");
    }
}

/// Without `vlan` of its own, a trunk's native VLAN is that of the bridge itself.
#[test]
fn the_gateway_of_a_trunk_is_on_the_bridge() {
    needs(&["bridge-vlan-filtering"]);
    let host = Host::new();
    let config = dual(json!({"isGateway": true, "vlanTrunk": [{"id": 1}, {"id": 9}]}));
    let (c1, run) = plugged(&host, "c1", &config);
    assert_eq!(run.json()["interfaces"].as_array().unwrap().len(), 3);
    assert_eq!(host.addresses("cni0"), ["10.1.0.1/24", "fd00:1::1/64"]);
    c1.ping("fd00:1::1");
}

#[test]
fn its_mtu_is_the_bridges() {
    needs(&["bridge-vlan-filtering"]);
    let host = Host::new();
    let config = in_vlan(5, json!({"isGateway": true, "mtu": 1400}));
    let (_c1, run) = plugged(&host, "c1", &config);
    assert_eq!(attribute(&host, "cni0.5", "/mtu"), 1400);
    assert_eq!(run.json()["interfaces"][3]["mtu"], 1400);
    // Of one that was there, it is what that has.
    let host = Host::new();
    run_on(
        &host,
        "ip link add cni0 mtu 1450 type bridge vlan_filtering 1",
    );
    plugged(&host, "c1", &config);
    assert_eq!(attribute(&host, "cni0.5", "/mtu"), 1450);
    // And of an automatic one, what the container has.
    let host = Host::new();
    run_on(&host, "ip link add out mtu 1380 type veth peer name far");
    run_on(&host, "ip link set out up");
    run_on(&host, "ip link set far up");
    run_on(&host, "ip route add default dev out");
    let config = in_vlan(5, json!({"isGateway": true, "mtu": "auto"}));
    let (_c1, run) = plugged(&host, "c1", &config);
    for number in 0..4 {
        assert_eq!(run.json()["interfaces"][number]["mtu"], 1380, "{number}");
    }
}

#[test]
fn one_that_an_administrator_made_is_used_as_it_is() {
    needs(&["bridge-vlan-filtering", "vlan"]);
    let host = Host::new();
    run_on(&host, "ip link add cni0 up type bridge vlan_filtering 1");
    run_on(&host, "bridge vlan add dev cni0 vid 100 self");
    run_on(
        &host,
        "ip link add link cni0 name cni0.100 up type vlan id 100",
    );
    let before = host.link("cni0.100").map(|link| link["ifindex"].clone());
    let (c1, run) = plugged(&host, "c1", &gateway(100));
    let now = host.link("cni0.100").map(|link| link["ifindex"].clone());
    assert_eq!(now, before);
    assert_eq!(run.json()["interfaces"][3]["name"], "cni0.100");
    c1.ping("10.1.100.1");
    c1.ping("fd00:100::1");
}

/// What a killed ADD leaves is finished by the next one.
#[test]
fn one_that_is_half_made_is_finished() {
    needs(&["bridge-vlan-filtering"]);
    let host = Host::new();
    run_on(&host, "ip link add cni0 up type bridge vlan_filtering 1");
    run_on(
        &host,
        "ip link add half master cni0 up type veth peer name cni0.100",
    );
    let (c1, _) = plugged(&host, "c1", &gateway(100));
    assert_eq!(port_of(&host, "cni0.100"), "half");
    assert_eq!(vlans_of(&host, "half"), [(100, "pu")]);
    c1.ping("10.1.100.1");
}

#[test]
fn a_conflicting_address_stays_unless_it_may_be_replaced() {
    needs(&["bridge-vlan-filtering"]);
    let host = Host::new();
    let (c1, _) = plugged(&host, "c1", &gateway(100));
    run_on(&host, "ip addr del 10.1.100.1/24 dev cni0.100");
    run_on(&host, "ip addr add 192.168.0.1/16 dev cni0.100");
    let other = host.container("c2");
    let before = state(&host);
    let error = bridge().add(&other, &gateway(100)).expect_error(999);
    error.mentions(
        "failed to set vlan interface for bridge with addr: \"cni0.100\" already has an IP \
         address different from 10.1.100.1/24; it has 192.168.0.1/16; set forceAddress to replace it",
    );
    assert_restored(&host, &before, "after the failure");
    let mut forced = gateway(100);
    forced["forceAddress"] = true.into();
    bridge().add(&other, &forced).expect_ok();
    other.ping("10.1.100.1");
    c1.ping("10.1.100.1");
}

#[test]
fn many_at_once() {
    needs(&["bridge-vlan-filtering"]);
    let host = Host::new();
    let containers: Vec<_> = (0..12).map(|n| host.container(&format!("c{n}"))).collect();
    let network = |number: usize| gateway(if number.is_multiple_of(2) { 100 } else { 200 });
    let calls = containers
        .iter()
        .enumerate()
        .map(|(n, c)| bridge().command("ADD").container(c).config(&network(n)));
    let added: Vec<Run> = run_all(calls).into_iter().map(Run::expect_ok).collect();
    for (container, run) in containers.iter().zip(&added) {
        bridge().check(container, &run.with_prev()).expect_ok();
        let gateway = run.json()["ips"][1]["gateway"].clone();
        container.ping(gateway.as_str().unwrap());
    }
    // Two pairs, and a port for each container.
    assert_eq!(host.link_names().len(), 2 + 2 * 2 + containers.len());
}

#[test]
fn a_failing_add_leaves_it_to_one_that_came_meanwhile() {
    needs(&["bridge-vlan-filtering"]);
    let host = used_host(&dual(json!({})));
    let (failing, other) = (host.container("c1"), host.container("c2"));
    let mut config = in_vlan(100, json!({"isGateway": true, "enabledad": true}));
    let squatter = host.container("squatter");
    let bare = crate::common::layer2(json!({"vlan": 100}));
    bridge().add(&squatter, &bare).expect_ok();
    // Duplicate address detection gives the other one some seconds to come.
    failing.set_sysctl("net/ipv6/conf/default/dad_transmits", "4");
    let call = bridge().command("ADD").container(&failing);
    let adding = call.config(&config).start();
    crate::common::wait_until("the gateway is there", || {
        std::path::Path::new("/proc/sys/net/ipv6/conf/cni0.100").exists()
    });
    config["enabledad"] = false.into();
    let run = bridge().add(&other, &config).expect_ok();
    // Now somebody in the VLAN has the first one's address.
    crate::common::give_address(&squatter, "fd00:100::2/64", "eth0");
    adding.wait().expect_error(999).mentions("DADFAILED");
    bridge().check(&other, &run.with_prev()).expect_ok();
    other.ping("10.1.100.1");
    other.ping("fd00:100::1");
}

#[test]
fn it_goes_again_with_a_failing_add() {
    needs(&["bridge-vlan-filtering"]);
    let host = Host::new();
    script_ipam(
        &host,
        "scripted",
        r#"echo '{"cniVersion": "1.1.0", "ips": [{"address": "10.3.0.9/24"}],
        "routes": [{"dst": "10.9.0.0/16", "gw": "192.0.2.1"}]}'"#,
    );
    let container = host.container("c1");
    let mut config = gateway(100);
    config["ipam"] = json!({"type": "scripted"});
    let before = host.snapshot();
    add(&host, &container, &config)
        .expect_error(999)
        .mentions("failed to add route");
    before.assert_same(&host.snapshot());
    // Had it been there before, it would be still, and down as before.
    run_on(&host, "ip link add cni0 up type bridge vlan_filtering 1");
    run_on(
        &host,
        "ip link add half master cni0 up type veth peer name cni0.100",
    );
    run_on(&host, "bridge vlan del dev half vid 1");
    run_on(&host, "bridge vlan add dev half vid 100 pvid untagged");
    let before = state(&host);
    add(&host, &container, &config)
        .expect_error(999)
        .mentions("failed to add route");
    assert_restored(&host, &before, "after the failure");
    assert!(!has_flag(&host, "cni0.100", "UP"));
}

#[test]
fn del_from_anywhere() {
    needs(&["bridge-vlan-filtering"]);
    let host = Host::new();
    let config = gateway(100);
    for gone in ["nothing", "cni0.100", "cni0", "namespace"] {
        let (container, run) = plugged(&host, "c1", &config);
        match gone {
            "nothing" => {}
            "namespace" => container.delete(),
            link => drop(host.command(&["ip", "link", "del", link])),
        }
        // Of the VLANs nothing is needed, nor looked at.
        let mut broken = run.with_prev();
        broken["vlan"] = json!(5000);
        broken["vlanTrunk"] = json!([null]);
        for _ in 0..2 {
            let del = call(&host, "DEL").container(&container).config(&broken);
            assert_eq!(del.run().expect_ok().stderr_text(), "", "{gone}");
        }
        assert_eq!(leases(), [""; 0]);
        assert_eq!(
            std::fs::read_dir("/var/lib/cni/networks/net100")
                .unwrap()
                .count(),
            3,
            "{gone}"
        );
        if gone != "namespace" {
            container.delete();
        }
    }
}
