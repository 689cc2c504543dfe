//! Link options that upstream does not have, and the MTU in results.

use crate::common::{bridge, dual, host_end, ipv4, layer2, make_veth};
use serde_json::{Value, json};
use testkit::{Container, Host, Node, default_route};

/// ADD and CHECK with the MTU "auto". Returns the MTU of both ends, and the container.
fn automatic(host: &Host, name: &str) -> (Value, Container) {
    let container = host.container(name);
    let run = bridge()
        .add(&container, &layer2(json!({"mtu": "auto"})))
        .expect_ok();
    let result = run.json();
    let mtu = container.link_attribute("eth0", "/mtu");
    assert_eq!(mtu, host.link_attribute(&host_end(&run), "/mtu"));
    assert_eq!(result["interfaces"][1]["mtu"], mtu);
    assert_eq!(result["interfaces"][2]["mtu"], mtu);
    let of_bridge = host.link_attribute("cni0", "/mtu");
    assert_eq!(result["interfaces"][0]["mtu"], of_bridge);
    bridge().check(&container, &run.with_prev()).expect_ok();
    // CHECK compares with the recorded MTU.
    container.ip("link set eth0 mtu 1250");
    let words = format!("configured MTU of eth0 is {mtu}, current value is 1250");
    let check = bridge().check(&container, &run.with_prev());
    check.expect_error(999).mentions(&words);
    (mtu, container)
}

#[test]
fn automatic_mtu_is_that_of_the_default_route() {
    let host = Host::new();
    default_route(&host, 1380);
    assert_eq!(automatic(&host, "c1").0, 1380);
    assert_eq!(host.link_attribute("cni0", "/mtu"), 1380);
    host.ip("route change default via 192.0.2.1 mtu 1300");
    assert_eq!(automatic(&host, "c2").0, 1300);
    // The bridge still follows its ports.
    assert_eq!(host.link_attribute("cni0", "/mtu"), 1300);
}

#[test]
fn automatic_mtu_is_the_lowest_of_the_ports() {
    let host = Host::new();
    default_route(&host, 1380);
    host.ip("link add cni0 type bridge");
    make_veth(&host, "uplink", "upstream");
    host.ip("link set uplink mtu 1330 master cni0 up");
    let (mtu, _container) = automatic(&host, "c1");
    assert_eq!(mtu, 1330);
    host.ip("link set uplink nomaster");
    // The host's end of the first container is a port too.
    assert_eq!(automatic(&host, "c2").0, 1330);
}

#[test]
fn automatic_mtu_without_a_default_route_is_the_kernels() {
    assert_eq!(automatic(&Host::new(), "c1").0, 1500);
}

#[test]
fn link_options_apply_to_both_ends() {
    let host = Host::new();
    let container = host.container("c1");
    let keys = json!({
        "txQueueLen": 77, "numQueues": 3, "gsoMaxSize": 30000, "groMaxSize": 20000,
    });
    let run = bridge().add(&container, &ipv4(keys)).expect_ok();
    let veth = host_end(&run);
    let attributes = [
        ("/txqlen", 77),
        ("/num_tx_queues", 3),
        ("/num_rx_queues", 3),
        ("/gso_max_size", 30000),
        ("/gro_max_size", 20000),
    ];
    for (pointer, value) in attributes {
        assert_eq!(
            container.link_attribute("eth0", pointer),
            value,
            "{pointer}"
        );
        assert_eq!(host.link_attribute(&veth, pointer), value, "{pointer}");
    }
    bridge().check(&container, &run.with_prev()).expect_ok();
    for (inside, name, words) in [
        (true, "eth0", "Interface eth0 has 5 where txQueueLen is 77"),
        (false, veth.as_str(), "has 5 where txQueueLen is 77"),
    ] {
        let set = |value| {
            let command = format!("link set {name} txqueuelen {value}");
            match inside {
                true => container.ip(&command),
                false => host.ip(&command),
            }
        };
        set(5);
        let check = bridge().check(&container, &run.with_prev());
        check.expect_error(999).mentions(words);
        set(77);
    }
    bridge().check(&container, &run.with_prev()).expect_ok();
}

#[test]
fn results_have_the_mtu_since_1_1_0() {
    for (version, there) in [("0.4.0", false), ("1.0.0", false), ("1.1.0", true)] {
        let host = Host::new();
        let container = host.container("c1");
        let config = dual(json!({"cniVersion": version, "isGateway": true, "mtu": 1400}));
        let run = bridge().add(&container, &config).expect_ok();
        for interface in run.json()["interfaces"].as_array().unwrap() {
            let mtu = match there {
                true => json!(1400),
                false => Value::Null,
            };
            assert_eq!(interface["mtu"], mtu, "{version}");
        }
        bridge().check(&container, &run.with_prev()).expect_ok();
    }
}
