//! The bridge itself: new, found, not one, and shared by many at once.

use crate::common::{
    attribute, bridge, call, dual, give_address, has_flag, host_end, ipv4, layer2, leases,
    make_veth, script_ipam, state, used_host,
};
use serde_json::json;
use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;
use testkit::{Host, Node, run_all};

#[test]
fn the_default_name() {
    for config in [layer2(json!({})), layer2(json!({"bridge": null}))] {
        let host = Host::new();
        bridge().add(&host.container("c1"), &config).expect_ok();
        assert_eq!(attribute(&host, "cni0", "/linkinfo/info_kind"), "bridge");
        assert!(has_flag(&host, "cni0", "UP"));
    }
}

#[test]
fn an_existing_one_is_used_as_it_is() {
    let host = Host::new();
    host.command(&[
        "ip",
        "link",
        "add",
        "br0",
        "type",
        "bridge",
        "ageing_time",
        "1000",
    ]);
    make_veth(&host, "uplink", "upstream");
    for link in ["uplink", "upstream"] {
        host.command(&["ip", "link", "set", link, "up"]);
    }
    host.command(&["ip", "link", "set", "uplink", "master", "br0"]);
    host.command(&[
        "ip",
        "link",
        "set",
        "br0",
        "alias",
        "of the administrator",
        "up",
    ]);
    let container = host.container("c1");
    let before = host.snapshot();
    let config = dual(json!({"bridge": "br0"}));
    let run = bridge().add(&container, &config).expect_ok();
    assert_eq!(attribute(&host, &host_end(&run), "/master"), "br0");
    let ageing_time = attribute(&host, "br0", "/linkinfo/info_data/ageing_time");
    assert_eq!(ageing_time, 1000);
    bridge().check(&container, &run.with_prev()).expect_ok();
    bridge().del(&container, &config).expect_ok();
    let files = "/var/lib/cni";
    before
        .without(files)
        .assert_same(&host.snapshot().without(files));
}

#[test]
fn one_that_is_down_is_brought_up() {
    let host = Host::new();
    host.command(&["ip", "link", "add", "cni0", "type", "bridge"]);
    let container = host.container("c1");
    bridge()
        .add(&container, &dual(json!({"isGateway": true})))
        .expect_ok();
    container.ping("10.1.0.1");
}

#[test]
fn one_found_by_an_alternative_name() {
    let host = Host::new();
    host.command(&["ip", "link", "add", "br0", "type", "bridge"]);
    host.command(&[
        "ip", "link", "property", "add", "dev", "br0", "altname", "cni0",
    ]);
    host.set_sysctl("net/ipv6/conf/br0/accept_ra", "1");
    let container = host.container("c1");
    let run = bridge()
        .add(&container, &dual(json!({"isGateway": true})))
        .expect_ok();
    assert_eq!(run.json()["interfaces"][0]["name"], "br0");
    assert_eq!(host.sysctl("net/ipv6/conf/br0/accept_ra"), "0");
    bridge().check(&container, &run.with_prev()).expect_ok();
}

#[test]
fn another_interface_of_that_name_is_not_touched() {
    let host = Host::new();
    make_veth(&host, "cni0", "other");
    host.set_sysctl("net/ipv6/conf/cni0/accept_ra", "1");
    let container = host.container("c1");
    let before = host.snapshot();
    for config in [
        dual(json!({"isGateway": true})),
        layer2(json!({"promiscMode": true})),
    ] {
        bridge()
            .add(&container, &config)
            .expect_error(999)
            .mentions(
                "failed to create bridge \"cni0\": \"cni0\" already exists but is not a bridge",
            );
        before.assert_same(&host.snapshot());
        assert_eq!(host.sysctl("net/ipv6/conf/cni0/accept_ra"), "1");
    }
}

#[test]
fn names_that_no_interface_can_have() {
    let host = Host::new();
    let container = host.container("c1");
    let before = host.snapshot();
    for name in ["", ".", "..", "a/b", "a b", "a:b", "sixteen-letters-"] {
        bridge()
            .add(&container, &dual(json!({"bridge": name})))
            .expect_error(7)
            .mentions(&format!("invalid bridge name {name:?}; interface name"));
    }
    before.assert_same(&host.snapshot());
    bridge()
        .add(&container, &dual(json!({"bridge": "fifteen-letters"})))
        .expect_ok();
}

#[test]
fn many_at_once() {
    let host = Host::new();
    let config = dual(json!({"isDefaultGateway": true, "hairpinMode": true}));
    let containers: Vec<_> = (0..24).map(|n| host.container(&format!("c{n}"))).collect();
    let before = host.snapshot();
    let call = |verb: &str| bridge().command(verb);
    let added = run_all(
        containers
            .iter()
            .map(|c| call("ADD").container(c).config(&config)),
    );
    let mut addresses = BTreeSet::new();
    let mut previous = Vec::new();
    for run in added {
        let run = run.expect_ok();
        for ip in run.json()["ips"].as_array().unwrap() {
            assert!(
                addresses.insert(ip["address"].to_string()),
                "{ip} was handed out twice"
            );
        }
        previous.push(run.with_prev());
    }
    assert_eq!(addresses.len(), 2 * containers.len());
    let pairs = || containers.iter().zip(&previous);
    // The first gateway address, the pinned hardware address and all ports: as each was told.
    for check in run_all(pairs().map(|(c, prev)| call("CHECK").container(c).config(prev))) {
        check.expect_ok();
    }
    containers[3].ping("fd00:1::1");
    for del in run_all(pairs().map(|(c, prev)| call("DEL").container(c).config(prev))) {
        del.expect_ok();
    }
    assert_eq!(leases(), [""; 0]);
    host.command(&["ip", "link", "del", "cni0"]);
    host.command(&["rm", "-r", "/var/lib/cni/networks"]);
    before.assert_same(&host.snapshot());
}

#[test]
fn a_failing_add_does_not_take_the_bridge_from_one_that_came_meanwhile() {
    // The scripted IPAM plugs another container in, and then fails.
    let config = dual(json!({"isGateway": true, "promiscMode": true}));
    for there in [false, true] {
        let host = used_host(&config);
        if there {
            host.command(&["ip", "link", "add", "cni0", "type", "bridge"]);
        }
        let (failing, other) = (host.container("c1"), host.container("c2"));
        host.write("config", config.to_string());
        let program = bridge().program().to_owned();
        script_ipam(
            &host,
            "scripted",
            &format!(
                "CNI_CONTAINERID=c2 CNI_NETNS={} {} < {} > {dir}/result\n\
                 echo '{{\"code\": 11, \"msg\": \"try again later\"}}'; exit 1",
                other.netns().display(),
                program.display(),
                host.dir().join("config").display(),
                dir = host.dir().display(),
            ),
        );
        let mut failing_config = config.clone();
        failing_config["ipam"] = json!({"type": "scripted"});
        call(&host, "ADD")
            .container(&failing)
            .config(&failing_config)
            .run()
            .expect_error(11);

        assert_eq!(failing.link_names(), ["lo"]);
        other.ping("10.1.0.1");
        other.ping("fd00:1::1");
        let mut previous = config.clone();
        let result = std::fs::read_to_string(host.dir().join("result")).unwrap();
        previous["prevResult"] = serde_json::from_str(&result).unwrap();
        bridge().check(&other, &previous).expect_ok();
    }
}

#[test]
fn a_failing_add_leaves_the_gateway_to_one_that_came_meanwhile() {
    let host = Host::new();
    // Somebody has the address that is going to be handed out.
    let squatter = host.container("squatter");
    bridge().add(&squatter, &layer2(json!({}))).expect_ok();
    give_address(&squatter, "fd00:1::2/64", "eth0");
    let (failing, other) = (host.container("c1"), host.container("c2"));
    let config = dual(json!({"isGateway": true}));
    let mut detecting = config.clone();
    detecting["enabledad"] = true.into();
    let call = bridge().command("ADD").container(&failing);
    let adding = call.config(&detecting).start();
    // Duplicate address detection gives the other one a second to come.
    while host.addresses("cni0").len() < 2 {
        thread::sleep(Duration::from_millis(5));
    }
    let run = bridge().add(&other, &config).expect_ok();
    adding.wait().expect_error(999).mentions("DADFAILED");
    bridge().check(&other, &run.with_prev()).expect_ok();
    other.ping("10.1.0.1");
    other.ping("fd00:1::1");

    // With nobody new there, it does go.
    bridge().del(&other, &config).expect_ok();
    for address in ["10.1.0.1/24", "fd00:1::1/64"] {
        host.command(&["ip", "addr", "del", address, "dev", "cni0"]);
    }
    give_address(&squatter, "fd00:1::4/64", "eth0");
    bridge()
        .add(&failing, &detecting)
        .expect_error(999)
        .mentions("DADFAILED");
    assert_eq!(host.addresses("cni0"), [""; 0]);
}

#[test]
fn a_failing_add_restores_the_bridge_it_found() {
    let mut config = ipv4(json!({
        "isGateway": true, "forceAddress": true, "promiscMode": true,
    }));
    let host = used_host(&config);
    config["ipam"]["routes"] = json!([{"dst": "10.9.0.0/16", "gw": "192.0.2.1"}]);
    let container = host.container("c1");
    host.command(&["ip", "link", "add", "cni0", "type", "bridge"]);
    for address in ["10.9.0.1/24", "10.9.0.2/24", "10.8.0.1/32"] {
        host.command(&[
            "ip",
            "addr",
            "add",
            address,
            "broadcast",
            "10.9.0.77",
            "dev",
            "cni0",
        ]);
    }
    give_address(&host, "fd00:9::1/64", "cni0");
    host.set_sysctl("net/ipv6/conf/cni0/accept_ra", "1");
    // An IPv6 address of a link that has been down is in no table until it is up.
    let state = || state(&host).without("dst=fd00:9::1 ");
    let before = state();
    bridge()
        .add(&container, &config)
        .expect_error(999)
        .mentions("failed to add route");
    before.assert_same(&state());
    assert_eq!(host.sysctl("net/ipv6/conf/cni0/accept_ra"), "1");
    assert_eq!(host.sysctl("net/ipv6/conf/cni0/keep_addr_on_down"), "0");
}
