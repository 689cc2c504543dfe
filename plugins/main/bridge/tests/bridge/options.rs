//! Options of the links, and the interfaces of one container.

use crate::common::{bridge, call, dual, has_flag, host_end, ipv4, scripted};
use serde_json::{Value, json};
use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};
use testkit::{Container, Host, Node, ScriptedIpam, leases};

#[test]
fn mtu_is_set_on_both_ends_and_a_new_bridge() {
    let host = Host::new();
    let container = host.container("c1");
    let run = bridge()
        .add(&container, &dual(json!({"mtu": 1400})))
        .expect_ok();
    assert_eq!(container.link_attribute("eth0", "/mtu"), 1400);
    assert_eq!(host.link_attribute(&host_end(&run), "/mtu"), 1400);
    assert_eq!(host.link_attribute("cni0", "/mtu"), 1400);
}

#[test]
fn an_existing_bridge_keeps_its_mtu() {
    let host = Host::new();
    host.ip("link add cni0 type bridge");
    // A bridge whose MTU was set does not follow its ports.
    host.ip("link set cni0 mtu 1450");
    let container = host.container("c1");
    bridge()
        .add(&container, &ipv4(json!({"mtu": 1400})))
        .expect_ok();
    assert_eq!(container.link_attribute("eth0", "/mtu"), 1400);
    assert_eq!(host.link_attribute("cni0", "/mtu"), 1450);
}

#[test]
fn without_an_mtu_the_bridge_follows_its_ports() {
    for mtu in [json!(0), json!(-1), Value::Null] {
        let host = Host::new();
        let container = host.container("c1");
        let run = bridge()
            .add(&container, &ipv4(json!({"mtu": mtu})))
            .expect_ok();
        assert_eq!(container.link_attribute("eth0", "/mtu"), 1500);
        host.ip(&format!("link set {} mtu 1300", host_end(&run)));
        assert_eq!(host.link_attribute("cni0", "/mtu"), 1300);
    }
}

#[test]
fn broadcasts_come_back_through_a_hairpin_port_only() {
    for hairpin in [false, true] {
        let host = Host::new();
        // Without IPv6 there are few other packets.
        host.set_sysctl("net/ipv6/conf/default/disable_ipv6", "1");
        let container = host.container("c1");
        container.set_sysctl("net/ipv6/conf/default/disable_ipv6", "1");
        let config = ipv4(json!({"hairpinMode": hairpin}));
        let run = bridge().add(&container, &config).expect_ok();
        let flag = host.link_attribute(&host_end(&run), "/linkinfo/info_slave_data/hairpin");
        assert_eq!(flag, hairpin);
        let received = || {
            let stats = container.ip_json(&["-s", "link", "show", "dev", "eth0"]);
            stats[0]["stats64"]["rx"]["packets"].as_u64().unwrap()
        };
        let before = received();
        // A bridge floods broadcasts to all other ports.
        container.enter(|| {
            let socket = UdpSocket::bind("10.1.0.2:0").unwrap();
            socket.set_broadcast(true).unwrap();
            for _ in 0..50 {
                socket.send_to(b"?", "10.1.0.255:9").unwrap();
            }
        });
        let came_back = || received() >= before + 50;
        let deadline = Instant::now() + Duration::from_millis(500);
        while !came_back() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(came_back(), hairpin, "hairpin mode {hairpin}");
    }
}

#[test]
fn promiscuous_mode_is_set_on_the_bridge() {
    let host = Host::new();
    let (c1, c2) = (host.container("c1"), host.container("c2"));
    let run = bridge().add(&c1, &ipv4(json!({}))).expect_ok();
    assert!(!has_flag(&host, "cni0", "PROMISC"));
    let promiscuous = bridge()
        .add(&c2, &ipv4(json!({"promiscMode": true})))
        .expect_ok();
    assert!(has_flag(&host, "cni0", "PROMISC"));
    bridge().check(&c2, &promiscuous.with_prev()).expect_ok();
    // A packet capture makes the bridge promiscuous too, so CHECK ignores it.
    bridge().check(&c1, &run.with_prev()).expect_ok();
}

fn mac_of(container: &Container, config: &Value, args: &str) -> String {
    let run = bridge()
        .command("ADD")
        .container(container)
        .args(args)
        .config(config)
        .run();
    let mac = run.expect_ok().json()["interfaces"][2]["mac"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(container.link_attribute("eth0", "/address"), mac.as_str());
    bridge().del(container, config).expect_ok();
    mac
}

#[test]
fn precedence_of_the_hardware_address() {
    let host = Host::new();
    let container = host.container("c1");
    let (first, second, third) = (
        "02:00:00:00:00:01",
        "02:00:00:00:00:02",
        "02:00:00:00:00:03",
    );
    let with = |cni: &str, capability: &str| {
        dual(json!({
            "args": {"cni": {"mac": cni, "other": ["ignored"]}},
            "runtimeConfig": {"mac": capability},
            "capabilities": {"mac": true},
        }))
    };
    let args = format!("IgnoreUnknown=1;K8S_POD_NAME=x;MAC={first}");
    assert_eq!(mac_of(&container, &dual(json!({})), &args), first);
    assert_eq!(mac_of(&container, &with("", ""), &args), first);
    assert_eq!(mac_of(&container, &with(second, ""), &args), second);
    assert_eq!(mac_of(&container, &with(second, third), &args), third);
    assert_eq!(mac_of(&container, &with("", third), ""), third);
    assert_eq!(mac_of(&container, &with(second, ""), ""), second);
    // Other notations; without any of them, a random address.
    assert_eq!(
        mac_of(&container, &with("0200.0000.000A", ""), ""),
        "02:00:00:00:00:0a"
    );
    assert_eq!(
        mac_of(&container, &with("02-00-00-00-00-0b", ""), ""),
        "02:00:00:00:00:0b"
    );
    let (one, other) = (
        mac_of(&container, &dual(json!({})), ""),
        mac_of(&container, &dual(json!({})), ""),
    );
    assert_ne!(one, other);
}

#[test]
fn requested_addresses_are_passed_to_ipam() {
    let host = Host::new();
    let container = host.container("c1");
    let config = dual(json!({
        "capabilities": {"ips": true},
        "runtimeConfig": {"ips": ["10.1.0.77/24", "fd00:1::77"]},
    }));
    bridge().add(&container, &config).expect_ok();
    assert_eq!(
        container.addresses("eth0"),
        ["10.1.0.77/24", "fd00:1::77/64"]
    );

    // Only IPAM reads those of CNI_ARGS: the plugin is told to ignore them.
    let other = host.container("c2");
    let call = bridge()
        .command("ADD")
        .container(&other)
        .config(&ipv4(json!({})));
    let run = call.clone().args("IP=10.1.0.78").run();
    run.expect_error(999)
        .mentions(r#"ARGS: unknown args ["IP=10.1.0.78"]"#);
    call.args("IgnoreUnknown=true;IP=10.1.0.78")
        .run()
        .expect_ok();
    assert_eq!(other.addresses("eth0"), ["10.1.0.78/24"]);
}

#[test]
fn dns_of_the_configuration_replaces_that_of_ipam() {
    let host = Host::new();
    let of_ipam = json!({"nameservers": ["10.1.0.53"], "domain": "ipam.example"});
    let answer = json!({
        "cniVersion": "1.1.0", "ips": [{"address": "10.1.0.5/24"}], "dns": of_ipam,
    });
    let ipam = ScriptedIpam::answering(&host, &answer);
    for (given, expected) in [
        (Value::Null, of_ipam.clone()),
        (json!({}), of_ipam.clone()),
        (json!({"domain": ""}), of_ipam.clone()),
        (json!({"search": null}), of_ipam.clone()),
        (
            json!({"search": ["a.example"]}),
            json!({"search": ["a.example"]}),
        ),
        (
            json!({"domain": "b.example"}),
            json!({"domain": "b.example"}),
        ),
        (
            json!({"options": ["ndots:5"]}),
            json!({"options": ["ndots:5"]}),
        ),
        // An empty list counts as given, and is omitted from the result.
        (json!({"nameservers": []}), Value::Null),
    ] {
        let container = host.container("c1");
        let config = scripted(json!({"dns": given}));
        let run = call(&ipam, "ADD", &container, &config).expect_ok();
        assert_eq!(run.json()["dns"], expected, "{given}");
    }
}

#[test]
fn several_interfaces_of_one_container() {
    let host = Host::new();
    let container = host.container("c1");
    let other = host.container("c2");
    let config = dual(json!({"isGateway": true}));
    let second = dual(json!({
        "name": "second", "bridge": "cni1", "isGateway": true,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.2.0.0/24"}]]},
    }));
    let as_net = |verb: &str, name: &str, config: &Value| {
        bridge()
            .command(verb)
            .ifname(name)
            .container(&container)
            .config(config)
            .run()
            .expect_ok()
    };
    let eth0 = as_net("ADD", "eth0", &config);
    let net1 = as_net("ADD", "net1", &config);
    let net2 = as_net("ADD", "net2", &second);
    assert_eq!(container.link_names(), ["eth0", "lo", "net1", "net2"]);
    assert_eq!(container.addresses("net1"), ["10.1.0.3/24", "fd00:1::3/64"]);
    assert_eq!(container.addresses("net2"), ["10.2.0.2/24"]);
    bridge().add(&other, &config).expect_ok();
    container.ping("10.2.0.1");
    other.ping("10.1.0.2");

    as_net("CHECK", "eth0", &eth0.with_prev());
    as_net("CHECK", "net1", &net1.with_prev());
    as_net("CHECK", "net2", &net2.with_prev());
    as_net("DEL", "net1", &config);
    assert_eq!(container.link_names(), ["eth0", "lo", "net2"]);
    as_net("CHECK", "eth0", &eth0.with_prev());
    assert_eq!(
        leases("net"),
        ["10.1.0.2", "10.1.0.4", "fd00:1::2", "fd00:1::4"]
    );
    as_net("DEL", "net2", &second);
    as_net("DEL", "eth0", &config);
    assert_eq!(container.link_names(), ["lo"]);
}

#[test]
fn sysctls_of_host_and_container() {
    let host = Host::new();
    host.set_sysctl("net/ipv6/conf/default/accept_ra", "1");
    let container = host.container("c1");
    container.set_sysctl("net/ipv6/conf/default/disable_ipv6", "1");
    container.set_sysctl("net/ipv6/conf/lo/disable_ipv6", "1");
    let run = bridge().add(&container, &dual(json!({}))).expect_ok();
    for link in ["cni0", &host_end(&run)] {
        assert_eq!(
            host.sysctl(&format!("net/ipv6/conf/{link}/accept_ra")),
            "0",
            "{link}"
        );
    }
    for (key, value) in [
        ("net/ipv4/conf/eth0/arp_notify", "1"),
        ("net/ipv6/conf/eth0/ndisc_notify", "1"),
        ("net/ipv6/conf/eth0/accept_dad", "0"),
        ("net/ipv6/conf/eth0/disable_ipv6", "0"),
        ("net/ipv6/conf/lo/disable_ipv6", "0"),
        ("net/ipv6/conf/eth0/keep_addr_on_down", "1"),
    ] {
        assert_eq!(container.sysctl(key), value, "{key}");
    }
}

#[test]
fn interface_names_with_dots() {
    let host = Host::new();
    let container = host.container("c1");
    let config = dual(json!({"bridge": "br.100", "isGateway": true}));
    let as_eth = |verb: &str, config: &Value| {
        bridge()
            .command(verb)
            .ifname("eth0.5")
            .container(&container)
            .config(config)
            .run()
    };
    let run = as_eth("ADD", &config).expect_ok();
    assert_eq!(host.sysctl("net/ipv6/conf/br.100/accept_ra"), "0");
    assert_eq!(container.sysctl("net/ipv4/conf/eth0.5/arp_notify"), "1");
    container.ping("fd00:1::1");
    as_eth("CHECK", &run.with_prev()).expect_ok();
    as_eth("DEL", &config).expect_ok();
    assert_eq!(container.link_names(), ["lo"]);
}

#[test]
fn both_ends_have_the_kernels_default_queue_length() {
    let host = Host::new();
    let container = host.container("c1");
    let run = bridge().add(&container, &ipv4(json!({}))).expect_ok();
    assert_eq!(container.link_attribute("eth0", "/txqlen"), 1000);
    assert_eq!(host.link_attribute(&host_end(&run), "/txqlen"), 1000);
}
