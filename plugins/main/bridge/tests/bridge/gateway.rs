//! The gateway addresses on the bridge.

use crate::common::{
    assert_restored, bridge, call, dual, give_address, handing_out, host_end, ipv4, ipv6, layer2,
    scripted, used_host,
};
use serde_json::{Value, json};
use testkit::{Host, Node, ScriptedIpam, state};

/// A bridge `cni0` with these addresses.
fn bridge_with(host: &Host, addresses: &[&str]) {
    host.ip("link add cni0 up type bridge");
    for address in addresses {
        give_address(host, address, "cni0");
    }
}

#[test]
fn without_a_gateway_of_ipam_it_is_the_first_address_of_the_network() {
    let host = Host::new();
    let container = host.container("c1");
    let ips = json!([{"address": "10.3.7.9/20"}, {"address": "fd00:3::9/64"}]);
    let ipam = handing_out(&host, ips);
    let config = scripted(json!({"isDefaultGateway": true}));
    let run = call(&ipam, "ADD", &container, &config).expect_ok();
    assert_eq!(
        run.json()["ips"],
        json!([
            {"address": "10.3.7.9/20", "gateway": "10.3.0.1", "interface": 2},
            {"address": "fd00:3::9/64", "gateway": "fd00:3::1", "interface": 2},
        ])
    );
    assert_eq!(host.addresses("cni0"), ["10.3.0.1/20", "fd00:3::1/64"]);
    container.ping("10.3.0.1");
    container.ping("fd00:3::1");
    assert_eq!(container.routes("-4"), ["default via 10.3.0.1 dev eth0"]);
}

#[test]
fn interfaces_in_the_result_of_ipam_are_discarded() {
    let host = Host::new();
    let container = host.container("c1");
    let result = json!({
        "cniVersion": "1.1.0",
        "interfaces": [{"name": "x", "mac": "02:00:00:00:00:01"}],
        "ips": [{"address": "10.3.0.9/24", "interface": 7}],
    });
    let ipam = ScriptedIpam::answering(&host, &result);
    let add = call(&ipam, "ADD", &container, &scripted(json!({})));
    let result = add.expect_ok().json();
    assert_eq!(result["ips"][0]["interface"], 2);
    assert_eq!(result["interfaces"][2]["name"], "eth0");
    assert_eq!(result["interfaces"].as_array().unwrap().len(), 3);
}

#[test]
fn ipam_reads_the_configuration_byte_for_byte() {
    let host = Host::new();
    let container = host.container("c1");
    let ipam = handing_out(&host, json!([{"address": "10.3.0.9/24"}]));
    let text = "{ \"cniVersion\":\"1.1.0\",\t\"name\" : \"net\", \"ipam\":{\"TYPE\":\"scripted\",\"x\":1e0}}\n\n";
    for verb in ["ADD", "DEL"] {
        let call = ipam.command(&bridge(), verb).container(&container);
        call.stdin(text).run().expect_ok();
        let received = std::fs::read_to_string(host.dir().join("stdin")).unwrap();
        assert_eq!(received, text, "{verb}");
    }
}

#[test]
fn addresses_that_have_no_possible_gateway() {
    for (address, gateway, problem) in [
        (
            "10.3.0.1/32",
            Value::Null,
            "network 10.3.0.1/32 leaves no room for a gateway",
        ),
        (
            "fd00::1/128",
            Value::Null,
            "network fd00::1/128 leaves no room for a gateway",
        ),
        (
            "10.3.0.1/24",
            Value::Null,
            "address 10.3.0.1/24 is its own gateway",
        ),
        (
            "10.3.0.5/24",
            json!("10.3.0.5"),
            "address 10.3.0.5/24 is its own gateway",
        ),
        (
            "10.3.0.5/24",
            json!("fd00::1"),
            "gateway fd00::1 is of another family than address 10.3.0.5/24",
        ),
    ] {
        let host = Host::new();
        let container = host.container("c1");
        let ip = json!({"address": address, "gateway": gateway});
        let ipam = handing_out(&host, json!([ip]));
        let before = host.snapshot();
        let config = scripted(json!({"isGateway": true}));
        call(&ipam, "ADD", &container, &config)
            .expect_error(7)
            .mentions(problem);
        before.assert_same(&host.snapshot());
        assert_eq!(ipam.calls(), ["ADD", "DEL"]);
        // Without `isGateway` no gateway is needed.
        if gateway.is_null() {
            call(&ipam, "ADD", &container, &scripted(json!({}))).expect_ok();
        }
    }
}

#[test]
fn a_conflicting_address_is_replaced_with_force_address_only() {
    for (present, config) in [
        ("10.1.0.7/24", ipv4(json!({"isGateway": true}))),
        ("192.168.0.1/16", ipv4(json!({"isGateway": true}))),
        ("10.1.0.1/16", ipv4(json!({"isGateway": true}))),
        ("fd00:1::7/64", ipv6(json!({"isGateway": true}))),
        ("fd00:1::1/48", ipv6(json!({"isGateway": true}))),
        ("fd00:1::1:0/112", ipv6(json!({"isGateway": true}))),
    ] {
        let host = used_host(&config);
        bridge_with(&host, &[present]);
        let container = host.container("c1");
        let before = state(&host);
        let error = bridge().add(&container, &config).expect_error(999);
        let new = match present.contains(':') {
            true => "fd00:1::1/64",
            false => "10.1.0.1/24",
        };
        error.mentions(&format!(
            "failed to set bridge addr: \"cni0\" already has an IP address different from {new}; \
             it has {present}; set forceAddress to replace it"
        ));
        assert_restored(&host, &before, "after the failure");

        let mut forced = config.clone();
        forced["forceAddress"] = true.into();
        let run = bridge().add(&container, &forced).expect_ok();
        assert_eq!(host.addresses("cni0"), [new]);
        container.ping(new.split('/').next().unwrap());
        bridge().check(&container, &run.with_prev()).expect_ok();
    }
}

#[test]
fn all_conflicting_addresses_are_replaced() {
    let config = dual(json!({"isGateway": true, "forceAddress": true}));
    let host = used_host(&config);
    let there = [
        "10.9.0.1/24",
        "10.9.0.2/24",
        "10.8.0.1/24",
        "fd00:1::7/64",
        "fd00:1::8/64",
        "fd00:8::1/64",
    ];
    bridge_with(&host, &there);
    let container = host.container("c1");
    bridge().add(&container, &config).expect_ok();
    let mut now = host.addresses("cni0");
    now.sort();
    // Another IPv6 network is no conflict.
    assert_eq!(now, ["10.1.0.1/24", "fd00:1::1/64", "fd00:8::1/64"]);
}

#[test]
fn gateways_of_one_network_do_not_conflict() {
    let ranges = json!([[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/24"}]]);
    let ipam = json!({"type": "host-local", "ranges": ranges});
    for force in [false, true] {
        let host = Host::new();
        let config = layer2(json!({"ipam": ipam, "isGateway": true, "forceAddress": force}));
        for name in ["c1", "c2"] {
            let container = host.container(name);
            let run = bridge().add(&container, &config).expect_ok();
            assert_eq!(host.addresses("cni0"), ["10.1.0.1/24", "10.2.0.1/24"]);
            container.ping("10.1.0.1");
            container.ping("10.2.0.1");
            bridge().check(&container, &run.with_prev()).expect_ok();
        }
    }
}

#[test]
fn the_gateway_is_kept_when_its_primary_address_is_deleted() {
    let config = ipv4(json!({"isGateway": true, "forceAddress": true}));
    let host = used_host(&config);
    // The kernel deletes the secondary addresses of a network with the primary one.
    bridge_with(&host, &["10.1.0.9/24", "10.1.0.1/24"]);
    let container = host.container("c1");
    bridge().add(&container, &config).expect_ok();
    assert_eq!(host.addresses("cni0"), ["10.1.0.1/24"]);
    container.ping("10.1.0.1");
}

#[test]
fn networks_of_both_families_share_a_bridge() {
    let host = used_host(&dual(json!({})));
    bridge_with(&host, &["10.1.0.1/24", "fd00:9::1/64"]);
    let container = host.container("c1");
    bridge()
        .add(&container, &dual(json!({"isGateway": true})))
        .expect_ok();
    assert_eq!(
        host.addresses("cni0"),
        ["10.1.0.1/24", "fd00:1::1/64", "fd00:9::1/64"]
    );
    container.ping("fd00:1::1");
}

#[test]
fn a_link_local_gateway_does_not_conflict_with_the_kernels_address() {
    let host = Host::new();
    let container = host.container("c1");
    let ip = json!({"address": "fd00:3::9/64", "gateway": "fe80::1"});
    let ipam = handing_out(&host, json!([ip]));
    let config = scripted(json!({"isDefaultGateway": true}));
    call(&ipam, "ADD", &container, &config).expect_ok();
    // By now the kernel has given the bridge an address of fe80::/64.
    let second = host.container("c2");
    let ip = json!({"address": "fd00:3::a/64", "gateway": "fe80::1"});
    let ipam = handing_out(&host, json!([ip]));
    let run = call(&ipam, "ADD", &second, &config).expect_ok();
    call(&ipam, "CHECK", &second, &run.with_prev()).expect_ok();
    for container in [&container, &second] {
        let routes = container.routes("-6");
        assert_eq!(
            routes,
            ["default via fe80::1 dev eth0 metric 1024 pref medium"]
        );
        container.ping("fe80::1%eth0");
    }
}

#[test]
fn the_hardware_address_of_a_gateway_does_not_follow_its_ports() {
    let host = Host::new();
    let config = dual(json!({"isGateway": true}));
    let first = host.container("c1");
    let run = bridge().add(&first, &config).expect_ok();
    let mac = host.link_attribute("cni0", "/address");
    assert_eq!(run.json()["interfaces"][0]["mac"], mac);
    // An unpinned bridge takes the lowest address of its ports.
    host.ip(&format!(
        "link set {} address 00:00:00:00:00:02",
        host_end(&run)
    ));
    let second = host.container("c2");
    bridge().add(&second, &config).expect_ok();
    assert_eq!(host.link_attribute("cni0", "/address"), mac);
    bridge().del(&second, &config).expect_ok();
    let run = bridge().add(&second, &config).expect_ok();
    bridge().check(&second, &run.with_prev()).expect_ok();
    for container in [&first, &second] {
        bridge().del(container, &config).expect_ok();
    }
    assert_eq!(host.link_attribute("cni0", "/address"), mac);
}

#[test]
fn a_bridge_that_lost_its_last_port_becomes_a_gateway() {
    let host = Host::new();
    let container = host.container("c1");
    bridge().add(&container, &layer2(json!({}))).expect_ok();
    bridge().del(&container, &layer2(json!({}))).expect_ok();
    assert_eq!(host.link_attribute("cni0", "/address"), "00:00:00:00:00:00");
    let run = bridge()
        .add(&container, &dual(json!({"isGateway": true})))
        .expect_ok();
    let mac = host.link_attribute("cni0", "/address");
    assert_ne!(mac, "00:00:00:00:00:00");
    assert_eq!(run.json()["interfaces"][0]["mac"], mac);
    container.ping("fd00:1::1");
    bridge().check(&container, &run.with_prev()).expect_ok();
}
