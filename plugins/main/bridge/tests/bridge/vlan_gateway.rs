//! The host's interface in a VLAN, `<bridge>.<vlan>`.

use crate::common::{
    assert_restored, attached, bridge, call, dual, has_flag, host_end, in_vlan, merge, reaches,
    used_host, vlans_of, wait_until,
};
use serde_json::{Value, json};
use testkit::{
    Host, Node, Run, SCRIPTED, ScriptedIpam, default_route, leases, namespace, needs, run_all,
    state,
};

fn gateway(vlan: u16) -> Value {
    in_vlan(vlan, json!({"isDefaultGateway": true}))
}

/// Returns the bridge's port that the host's interface in a VLAN leads to.
#[track_caller]
fn port_of(host: &Host, name: &str) -> String {
    let index = host.link_attribute(name, "/link");
    index.as_str().expect("the other end of a veth").to_owned()
}

#[test]
fn the_interface_is_the_gateway_of_its_vlan() {
    needs(&["bridge-vlan-filtering"]);
    let host = Host::new();
    let (c1, run) = attached(&host, "c1", &gateway(100));
    let result = run.json();
    let mac = host.link_attribute("cni0.100", "/address");
    let fourth = json!({"name": "cni0.100", "mac": mac, "mtu": 1500});
    assert_eq!(result["interfaces"][3], fourth);
    assert_eq!(result["interfaces"][2]["name"], "eth0");
    assert_eq!(result["ips"][0]["interface"], 2);
    assert_eq!(host.addresses("cni0"), [""; 0]);
    let addresses = ["10.1.100.1/24", "fd00:100::1/64"];
    assert_eq!(host.addresses("cni0.100"), addresses);
    let port = port_of(&host, "cni0.100");
    assert_eq!(vlans_of(&host, &port), [(100, "pu")]);
    assert_eq!(host.link_attribute(&port, "/master"), "cni0");
    for link in ["cni0.100", &port] {
        assert_eq!(host.sysctl(&format!("net/ipv6/conf/{link}/accept_ra")), "0");
    }
    c1.ping("10.1.100.1");
    c1.ping("fd00:100::1");

    // A second network on the same bridge, and a second container in the first.
    let (c2, _) = attached(&host, "c2", &gateway(200));
    let (c3, third) = attached(&host, "c3", &gateway(100));
    assert_eq!(third.json()["interfaces"][3], fourth);
    c2.ping("fd00:200::1");
    c3.ping("10.1.100.2");
    // The host routes between the VLANs.
    c1.ping("10.1.200.2");
    host.set_sysctl("net/ipv4/ip_forward", "0");
    assert!(!reaches(&c1, "10.1.200.2"));

    for (container, config) in [
        (&c1, gateway(100)),
        (&c2, gateway(200)),
        (&c3, gateway(100)),
    ] {
        bridge().del(container, &config).expect_ok();
    }
    // The interfaces are kept, as in upstream.
    let links = host.link_names();
    assert!(links.starts_with(&["cni0".into(), "cni0.100".into(), "cni0.200".into()]));
    assert_eq!(host.addresses("cni0.100"), addresses);
    attached(&host, "c4", &gateway(100)).0.ping("10.1.100.1");
}

/// Podman's users cannot choose another name for the bridge.
#[test]
fn the_name_is_shortened_to_fit() {
    needs(&["bridge-vlan-filtering"]);
    let host = Host::new();
    let config = |bridge: &str| {
        let name = format!("net-{bridge}");
        merge(gateway(100), json!({"bridge": bridge, "name": name}))
    };
    let (c1, run) = attached(&host, "c1", &config("cni-podman11"));
    let name = run.json()["interfaces"][3]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(name, "cni-p504ef6.100");
    c1.ping("10.1.100.1");
    // The next container finds it again.
    let (c2, second) = attached(&host, "c2", &config("cni-podman11"));
    assert_eq!(second.json()["interfaces"][3]["name"], name);
    c2.ping("fd00:100::1");
    bridge().del(&c1, &run.with_prev()).expect_ok();
    host.ip(&format!("link set {name} down"));
    let check = bridge().check(&c2, &second.with_prev());
    check
        .expect_error(999)
        .mentions(&format!("Interface {name} is down"));
    // The interface of another bridge whose shortened name is the same is not used.
    host.ip("link add other up type bridge vlan_filtering 1");
    let port = port_of(&host, &name);
    host.ip(&format!("link set {port} master other"));
    let third = bridge().add(&host.container("c3"), &config("cni-podman11"));
    third
        .expect_error(999)
        .mentions(&format!("{name:?} leads to another bridge"));
}

#[test]
fn isolated_containers_reach_the_gateway() {
    needs(&["bridge-vlan-filtering"]);
    let host = Host::new();
    let config = in_vlan(5, json!({"isGateway": true, "portIsolation": true}));
    let (c1, _) = attached(&host, "c1", &config);
    let (c2, _) = attached(&host, "c2", &config);
    c1.ping("fd00:5::1");
    c2.ping("10.1.5.1");
    assert!(!reaches(&c1, "10.1.5.3"));
}

#[test]
fn trunk_and_port_options_are_those_of_the_container_only() {
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
        let (c1, run) = attached(&host, "c1", &in_vlan(5, keys));
        let port = port_of(&host, "cni0.5");
        assert_eq!(vlans_of(&host, &host_end(&run)), container);
        assert_eq!(vlans_of(&host, &port), gateway);
        let hairpin = host.link_attribute(&port, "/linkinfo/info_slave_data/hairpin");
        assert_eq!(hairpin, false);
        c1.ping("10.1.5.1");
    }
}

/// Without `vlan`, the native VLAN of a trunk is that of the bridge itself.
#[test]
fn the_gateway_of_a_trunk_is_on_the_bridge() {
    needs(&["bridge-vlan-filtering"]);
    let host = Host::new();
    let config = dual(json!({"isGateway": true, "vlanTrunk": [{"id": 1}, {"id": 9}]}));
    let (c1, run) = attached(&host, "c1", &config);
    assert_eq!(run.json()["interfaces"].as_array().unwrap().len(), 3);
    assert_eq!(host.addresses("cni0"), ["10.1.0.1/24", "fd00:1::1/64"]);
    c1.ping("fd00:1::1");
}

#[test]
fn the_mtu_is_that_of_the_bridge() {
    needs(&["bridge-vlan-filtering"]);
    let host = Host::new();
    let config = in_vlan(5, json!({"isGateway": true, "mtu": 1400}));
    let (_c1, run) = attached(&host, "c1", &config);
    assert_eq!(host.link_attribute("cni0.5", "/mtu"), 1400);
    assert_eq!(run.json()["interfaces"][3]["mtu"], 1400);
    // An existing bridge keeps its MTU.
    let host = Host::new();
    host.ip("link add cni0 mtu 1450 type bridge vlan_filtering 1");
    attached(&host, "c1", &config);
    assert_eq!(host.link_attribute("cni0.5", "/mtu"), 1450);
    // An automatic MTU is that of the container's interface.
    let host = Host::new();
    default_route(&host, 1380);
    let config = in_vlan(5, json!({"isGateway": true, "mtu": "auto"}));
    let (_c1, run) = attached(&host, "c1", &config);
    for number in 0..4 {
        assert_eq!(run.json()["interfaces"][number]["mtu"], 1380, "{number}");
    }
}

#[test]
fn a_vlan_interface_of_the_administrator_is_used_as_it_is() {
    needs(&["bridge-vlan-filtering", "vlan"]);
    let host = Host::new();
    host.ip("link add cni0 up type bridge vlan_filtering 1");
    namespace::run("bridge vlan add dev cni0 vid 100 self");
    host.ip("link add link cni0 name cni0.100 up type vlan id 100");
    let before = host.link("cni0.100").map(|link| link["ifindex"].clone());
    let (c1, run) = attached(&host, "c1", &gateway(100));
    let now = host.link("cni0.100").map(|link| link["ifindex"].clone());
    assert_eq!(now, before);
    assert_eq!(run.json()["interfaces"][3]["name"], "cni0.100");
    c1.ping("10.1.100.1");
    c1.ping("fd00:100::1");
}

/// As an ADD leaves it that was killed.
#[test]
fn an_incomplete_pair_is_completed() {
    needs(&["bridge-vlan-filtering"]);
    let host = Host::new();
    host.ip("link add cni0 up type bridge vlan_filtering 1");
    host.ip("link add half master cni0 up type veth peer name cni0.100");
    let (c1, _) = attached(&host, "c1", &gateway(100));
    assert_eq!(port_of(&host, "cni0.100"), "half");
    assert_eq!(vlans_of(&host, "half"), [(100, "pu")]);
    c1.ping("10.1.100.1");
}

#[test]
fn a_conflicting_address_is_replaced_with_force_address_only() {
    needs(&["bridge-vlan-filtering"]);
    let host = Host::new();
    let (c1, _) = attached(&host, "c1", &gateway(100));
    host.ip("addr del 10.1.100.1/24 dev cni0.100");
    host.ip("addr add 192.168.0.1/16 dev cni0.100");
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
fn concurrent_adds() {
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
    // Bridge and `lo`, two pairs, and a port for each container.
    assert_eq!(host.link_names().len(), 2 + 2 * 2 + containers.len());
}

#[test]
fn a_failing_add_keeps_an_interface_that_another_add_uses() {
    needs(&["bridge-vlan-filtering"]);
    let host = used_host(&dual(json!({})));
    let (failing, other) = (host.container("c1"), host.container("c2"));
    let mut config = in_vlan(100, json!({"isGateway": true, "enabledad": true}));
    // Duplicate address detection takes longer than ADD waits for it, and the other ADD runs
    // meanwhile.
    failing.set_sysctl("net/ipv6/conf/default/dad_transmits", "100");
    let call = bridge().command("ADD").container(&failing);
    let adding = call.config(&config).start();
    wait_until("the gateway is there", || {
        std::path::Path::new("/proc/sys/net/ipv6/conf/cni0.100").exists()
    });
    config["enabledad"] = false.into();
    let run = bridge().add(&other, &config).expect_ok();
    let error = adding.wait().expect_error(999);
    error.mentions("still has tentative addresses after 5 seconds");
    bridge().check(&other, &run.with_prev()).expect_ok();
    other.ping("10.1.100.1");
    other.ping("fd00:100::1");
}

#[test]
fn a_failing_add_deletes_the_interface_it_created() {
    needs(&["bridge-vlan-filtering"]);
    let host = Host::new();
    let ipam = ScriptedIpam::new(
        &host,
        r#"echo '{"cniVersion": "1.1.0", "ips": [{"address": "10.3.0.9/24"}],
        "routes": [{"dst": "10.9.0.0/16", "gw": "192.0.2.1"}]}'"#,
    );
    let container = host.container("c1");
    let mut config = gateway(100);
    config["ipam"] = json!({"type": SCRIPTED});
    let before = host.snapshot();
    call(&ipam, "ADD", &container, &config)
        .expect_error(999)
        .mentions("failed to add route");
    before.assert_same(&host.snapshot());
    // One that existed before is kept, and down as before.
    host.ip("link add cni0 up type bridge vlan_filtering 1");
    host.ip("link add half master cni0 up type veth peer name cni0.100");
    namespace::run("bridge vlan del dev half vid 1");
    namespace::run("bridge vlan add dev half vid 100 pvid untagged");
    let before = state(&host);
    call(&ipam, "ADD", &container, &config)
        .expect_error(999)
        .mentions("failed to add route");
    assert_restored(&host, &before, "after the failure");
    assert!(!has_flag(&host, "cni0.100", "UP"));
}

#[test]
fn del_whatever_is_left() {
    needs(&["bridge-vlan-filtering"]);
    let host = Host::new();
    let config = gateway(100);
    for gone in ["nothing", "cni0.100", "cni0", "namespace"] {
        let (container, run) = attached(&host, "c1", &config);
        match gone {
            "nothing" => {}
            "namespace" => container.delete(),
            link => drop(host.ip(&format!("link del {link}"))),
        }
        // DEL does not read the VLANs of the configuration.
        let mut broken = run.with_prev();
        broken["vlan"] = json!(5000);
        broken["vlanTrunk"] = json!([null]);
        for _ in 0..2 {
            let del = bridge().del(&container, &broken).expect_ok();
            assert_eq!(del.stderr_text(), "", "{gone}");
        }
        assert_eq!(leases("net100"), [""; 0], "{gone}");
        if gone != "namespace" {
            container.delete();
        }
    }
}
