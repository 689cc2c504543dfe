//! The bridge: created, found, of another kind, and shared by concurrent calls.

use crate::common::{
    bridge, call, dual, give_address, has_flag, host_end, ipv4, layer2, make_veth, scripted,
    used_host,
};
use serde_json::json;
use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;
use testkit::{Host, Node, ScriptedIpam, leases, run_all, state};

#[test]
fn the_default_name() {
    for config in [layer2(json!({})), layer2(json!({"bridge": null}))] {
        let host = Host::new();
        let container = host.container("c1");
        bridge().add(&container, &config).expect_ok();
        assert_eq!(host.link_attribute("cni0", "/linkinfo/info_kind"), "bridge");
        assert!(has_flag(&host, "cni0", "UP"));
    }
}

#[test]
fn an_existing_bridge_is_used_as_it_is() {
    let host = Host::new();
    host.ip("link add br0 type bridge ageing_time 1000");
    make_veth(&host, "uplink", "upstream");
    for link in ["uplink", "upstream"] {
        host.ip(&format!("link set {link} up"));
    }
    host.ip("link set uplink master br0");
    host.ip("link set br0 alias administrator up");
    let container = host.container("c1");
    let before = host.snapshot();
    let config = dual(json!({"bridge": "br0"}));
    let run = bridge().add(&container, &config).expect_ok();
    assert_eq!(host.link_attribute(&host_end(&run), "/master"), "br0");
    let ageing_time = host.link_attribute("br0", "/linkinfo/info_data/ageing_time");
    assert_eq!(ageing_time, 1000);
    bridge().check(&container, &run.with_prev()).expect_ok();
    bridge().del(&container, &config).expect_ok();
    let files = "/var/lib/cni";
    before
        .without(files)
        .assert_same(&host.snapshot().without(files));
}

#[test]
fn a_bridge_that_is_down_is_set_up() {
    let host = Host::new();
    host.ip("link add cni0 type bridge");
    let container = host.container("c1");
    bridge()
        .add(&container, &dual(json!({"isGateway": true})))
        .expect_ok();
    container.ping("10.1.0.1");
}

#[test]
fn a_bridge_is_found_by_an_alternative_name() {
    let host = Host::new();
    host.ip("link add br0 type bridge");
    host.ip("link property add dev br0 altname cni0");
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
fn an_interface_of_another_kind_is_left_alone() {
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
fn invalid_bridge_names() {
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
fn concurrent_calls() {
    let host = Host::new();
    let config = dual(json!({"isDefaultGateway": true, "hairpinMode": true}));
    let containers: Vec<_> = (0..24).map(|n| host.container(&format!("c{n}"))).collect();
    let before = host.snapshot();
    let command = |verb: &str| bridge().command(verb);
    let added = run_all(
        containers
            .iter()
            .map(|c| command("ADD").container(c).config(&config)),
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
    // Gateway address and hardware address are those of every result.
    for check in run_all(pairs().map(|(c, prev)| command("CHECK").container(c).config(prev))) {
        check.expect_ok();
    }
    containers[3].ping("fd00:1::1");
    for del in run_all(pairs().map(|(c, prev)| command("DEL").container(c).config(prev))) {
        del.expect_ok();
    }
    assert_eq!(leases("net"), [""; 0]);
    host.ip("link del cni0");
    host.command(&["rm", "-r", "/var/lib/cni/networks"]);
    before.assert_same(&host.snapshot());
}

#[test]
fn only_an_add_that_succeeds_ends_the_acceptance_of_router_advertisements() {
    let host = Host::new();
    host.ip("link add cni0 up type bridge");
    let key = "net/ipv6/conf/cni0/accept_ra";
    host.set_sysctl(key, "1");
    let container = host.container("c1");
    let ipam = ScriptedIpam::new(&host, r#"echo '{"code": 11, "msg": "later"}'; exit 1"#);
    call(&ipam, "ADD", &container, &scripted(json!({}))).expect_error(11);
    assert_eq!(host.sysctl(key), "1");
    bridge().add(&container, &dual(json!({}))).expect_ok();
    assert_eq!(host.sysctl(key), "0");
}

#[test]
fn a_failing_add_keeps_a_bridge_that_another_add_uses() {
    // The scripted IPAM plugin attaches another container, and then fails.
    let config = dual(json!({"isGateway": true, "promiscMode": true}));
    for exists in [false, true] {
        let host = used_host(&config);
        if exists {
            host.ip("link add cni0 type bridge");
        }
        let (failing, other) = (host.container("c1"), host.container("c2"));
        host.write("config", config.to_string());
        let program = bridge().program().to_owned();
        let ipam = ScriptedIpam::new(
            &host,
            &format!(
                "CNI_CONTAINERID=c2 CNI_NETNS={} {} < {} > {dir}/result\n\
                 echo '{{\"code\": 11, \"msg\": \"try again later\"}}'; exit 1",
                other.netns().display(),
                program.display(),
                host.dir().join("config").display(),
                dir = host.dir().display(),
            ),
        );
        let failing_config = scripted(json!({"isGateway": true, "promiscMode": true}));
        call(&ipam, "ADD", &failing, &failing_config).expect_error(11);

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
fn a_failing_add_keeps_a_gateway_that_another_add_uses() {
    let host = Host::new();
    // Another container has the address that host-local hands out next.
    let holder = host.container("holder");
    bridge().add(&holder, &layer2(json!({}))).expect_ok();
    give_address(&holder, "fd00:1::2/64", "eth0");
    let (failing, other) = (host.container("c1"), host.container("c2"));
    let config = dual(json!({"isGateway": true}));
    let mut detecting = config.clone();
    detecting["enabledad"] = true.into();
    let call = bridge().command("ADD").container(&failing);
    let adding = call.config(&detecting).start();
    // Duplicate address detection takes a second, in which the other ADD runs.
    while host.addresses("cni0").len() < 2 {
        thread::sleep(Duration::from_millis(5));
    }
    let run = bridge().add(&other, &config).expect_ok();
    adding.wait().expect_error(999).mentions("DADFAILED");
    bridge().check(&other, &run.with_prev()).expect_ok();
    other.ping("10.1.0.1");
    other.ping("fd00:1::1");

    // Without a new container the gateway addresses are deleted.
    bridge().del(&other, &config).expect_ok();
    for address in ["10.1.0.1/24", "fd00:1::1/64"] {
        host.ip(&format!("addr del {address} dev cni0"));
    }
    give_address(&holder, "fd00:1::4/64", "eth0");
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
    host.ip("link add cni0 type bridge");
    for address in ["10.9.0.1/24", "10.9.0.2/24", "10.8.0.1/32"] {
        host.ip(&format!("addr add {address} broadcast 10.9.0.77 dev cni0"));
    }
    give_address(&host, "fd00:9::1/64", "cni0");
    host.set_sysctl("net/ipv6/conf/cni0/accept_ra", "1");
    // An IPv6 address that is kept on a link that was set down has no local route.
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
