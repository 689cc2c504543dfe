//! What can be set on the links beyond upstream, and what results tell of them.

use crate::common::{attribute, bridge, dual, host_end, ipv4, layer2, make_veth};
use serde_json::{Value, json};
use testkit::{Container, Host, Node};

fn command(host: &Host, line: &str) {
    host.command(&line.split(' ').collect::<Vec<_>>());
}

/// A host whose default route leads by a link with an MTU of 1380.
fn host_with_a_way_out() -> Host {
    let host = Host::new();
    command(&host, "ip link add out mtu 1380 type veth peer name far");
    command(&host, "ip addr add 192.0.2.2/24 dev out");
    for link in ["out", "far"] {
        command(&host, &format!("ip link set {link} up"));
    }
    command(&host, "ip route add default via 192.0.2.1");
    host
}

/// Returns the MTU of both ends after an ADD with "auto", which CHECK agrees with, and the
/// container.
fn automatic(host: &Host, name: &str) -> (Value, Container) {
    let container = host.container(name);
    let run = bridge()
        .add(&container, &layer2(json!({"mtu": "auto"})))
        .expect_ok();
    let result = run.json();
    let mtu = attribute(&container, "eth0", "/mtu");
    assert_eq!(mtu, attribute(host, &host_end(&run), "/mtu"));
    assert_eq!(result["interfaces"][1]["mtu"], mtu);
    assert_eq!(result["interfaces"][2]["mtu"], mtu);
    let of_bridge = attribute(host, "cni0", "/mtu");
    assert_eq!(result["interfaces"][0]["mtu"], of_bridge);
    bridge().check(&container, &run.with_prev()).expect_ok();
    // What was recorded counts.
    container.command(&["ip", "link", "set", "eth0", "mtu", "1250"]);
    let words = format!("configured MTU of eth0 is {mtu}, current value is 1250");
    let check = bridge().check(&container, &run.with_prev());
    check.expect_error(999).mentions(&words);
    (mtu, container)
}

#[test]
fn mtu_of_the_way_out() {
    let host = host_with_a_way_out();
    assert_eq!(automatic(&host, "c1").0, 1380);
    assert_eq!(attribute(&host, "cni0", "/mtu"), 1380);
    command(&host, "ip route change default via 192.0.2.1 mtu 1300");
    assert_eq!(automatic(&host, "c2").0, 1300);
    // It goes on following its ports.
    assert_eq!(attribute(&host, "cni0", "/mtu"), 1300);
}

#[test]
fn mtu_of_the_ports() {
    let host = host_with_a_way_out();
    command(&host, "ip link add cni0 type bridge");
    make_veth(&host, "uplink", "upstream");
    command(&host, "ip link set uplink mtu 1330 master cni0 up");
    let (mtu, _container) = automatic(&host, "c1");
    assert_eq!(mtu, 1330);
    command(&host, "ip link set uplink nomaster");
    // The first container's own end counts too.
    assert_eq!(automatic(&host, "c2").0, 1330);
}

#[test]
fn mtu_without_a_way_out_is_the_kernels() {
    assert_eq!(automatic(&Host::new(), "c1").0, 1500);
}

#[test]
fn further_keys_are_for_both_ends() {
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
        assert_eq!(attribute(&container, "eth0", pointer), value, "{pointer}");
        assert_eq!(attribute(&host, &veth, pointer), value, "{pointer}");
    }
    bridge().check(&container, &run.with_prev()).expect_ok();
    for (inside, name, words) in [
        (true, "eth0", "Interface eth0 has 5 where txQueueLen is 77"),
        (false, veth.as_str(), "has 5 where txQueueLen is 77"),
    ] {
        let set = |value| {
            let argv = ["ip", "link", "set", name, "txqueuelen", value];
            match inside {
                true => container.command(&argv),
                false => host.command(&argv),
            }
        };
        set("5");
        let check = bridge().check(&container, &run.with_prev());
        check.expect_error(999).mentions(words);
        set("77");
    }
    bridge().check(&container, &run.with_prev()).expect_ok();
}

#[test]
fn results_tell_the_mtu_where_there_is_a_place_for_it() {
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
