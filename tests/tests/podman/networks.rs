//! Networks of every kind.

use std::fs;

use blackbox::state;
use serde_json::{Value, json};
use testkit::{Listener, Node as _, Podman};

use crate::{HOST, NEIGHBOUR, Stage, addresses, expect_answer, expect_silence, start, wait_until};

#[test]
fn a_bridge_connects_containers_the_host_and_the_outside() {
    let stage = Stage::new();
    let (podman, host) = (&stage.podman, &stage.podman.host);
    stage.dual_network("both", 81);
    let ids = ["c1", "c2"].map(|name| stage.start(name, &["--network=both"]));
    let [first, second] = ids.map(|id| addresses("both", &id));
    assert_eq!(first[0].to_string(), "10.81.0.2");
    let c2 = podman.container("c2");
    let gateways = ["10.81.0.1", "fd00:81::1"];
    let neighbours = [NEIGHBOUR, "2001:db8::9"];
    let own = [HOST, "2001:db8::1"];
    for family in 0..2 {
        let server = std::net::SocketAddr::new(first[family], 80).to_string();
        expect_answer(&c2, &server, "c1", &second[family].to_string());
        expect_answer(host, &server, "c1", gateways[family]);
        expect_answer(&stage.neighbour, &server, "c1", neighbours[family]);
        // Masqueraded.
        let outside = Listener::new(&stage.neighbour, neighbours[family]);
        let expected = own[family].parse().ok();
        wait_until("a datagram arrives outside", || {
            outside.sees(&c2) == expected
        });
    }
    stage.end();
}

#[test]
fn an_internal_network_has_no_way_out() {
    let stage = Stage::new();
    let host = &stage.podman.host;
    stage.network(
        "inner",
        &[
            "--internal",
            "--subnet=10.82.0.0/24",
            "--ip-range=10.82.0.128/25",
        ],
    );
    stage.start("c1", &["--network=inner", "--publish=8080:80"]);
    stage.start("c2", &["--network=inner"]);
    let c2 = stage.podman.container("c2");
    expect_answer(&c2, "10.82.0.129:80", "c1", "10.82.0.130");
    assert_eq!(c2.routes("-4"), [""; 0]);
    assert_eq!(host.addresses("cni-podman1"), [""; 0]);
    expect_silence(&stage.neighbour, "10.82.0.129:80");
    expect_silence(&stage.neighbour, &format!("{HOST}:8080"));
    stage.end();
}

#[test]
fn macvlan_containers_are_neighbours_of_the_host() {
    let stage = Stage::new();
    stage.network(
        "lan",
        &[
            "--driver=macvlan",
            "--opt=parent=out0",
            "--opt=mtu=1400",
            "--ipv6",
            "--subnet=192.0.2.0/24",
            "--gateway=192.0.2.9",
            "--subnet=2001:db8::/64",
            "--gateway=2001:db8::9",
        ],
    );
    let fixed = ["--network=lan", "--ip=192.0.2.50", "--ip6=2001:db8::50"];
    stage.start("c1", &fixed);
    stage.start("c2", &["--network=lan", "--ip=192.0.2.51"]);
    let neighbour = &stage.neighbour;
    expect_answer(neighbour, "192.0.2.50:80", "c1", NEIGHBOUR);
    expect_answer(neighbour, "[2001:db8::50]:80", "c1", "2001:db8::9");
    let c2 = stage.podman.container("c2");
    expect_answer(&c2, "192.0.2.50:80", "c1", "192.0.2.51");
    assert_eq!(c2.link_attribute("eth0", "/linkinfo/info_kind"), "macvlan");
    assert_eq!(c2.link_attribute("eth0", "/mtu"), 1400);
    stage.end();
}

#[test]
fn a_network_without_ipv4() {
    let stage = Stage::new();
    stage.network("six", &["--subnet=fd00:86::/64"]);
    stage.start("c1", &["--network=six", "--publish=8080:80"]);
    stage.start("c2", &["--network=six", "--ip6=fd00:86::77"]);
    let c2 = stage.podman.container("c2");
    assert_eq!(c2.addresses("eth0"), ["fd00:86::77/64"]);
    expect_answer(&c2, "[fd00:86::2]:80", "c1", "fd00:86::77");
    let published = "[2001:db8::1]:8080";
    expect_answer(&stage.neighbour, published, "c1", "2001:db8::9");
    expect_silence(&stage.neighbour, &format!("{HOST}:8080"));
    stage.end();
}

/// Writes a network that Podman did not make.
fn by_hand(podman: &Podman, name: &str, version: &str, plugins: &Value) {
    let list = json!({"cniVersion": version, "name": name, "plugins": plugins});
    let file = podman.path("net.d").join(format!("{name}.conflist"));
    fs::write(file, list.to_string()).unwrap();
}

fn ipam(subnet: &str) -> Value {
    json!({"type": "host-local", "ranges": [[{"subnet": subnet}]], "routes": [{"dst": "0.0.0.0/0"}]})
}

#[test]
fn a_list_with_ptp_and_bandwidth() {
    let stage = Stage::new();
    let host = &stage.podman.host;
    let plugins = json!([
        {"type": "ptp", "ipMasq": true, "ipam": ipam("10.83.0.0/24")},
        {"type": "portmap", "capabilities": {"portMappings": true}},
        {"type": "firewall"},
        {"type": "bandwidth", "ingressRate": 8_000_000, "ingressBurst": 800_000},
    ]);
    by_hand(&stage.podman, "wire", "0.4.0", &plugins);
    stage.start("c1", &["--network=wire", "--publish=8080:80"]);
    stage.start("c2", &["--network=wire"]);
    expect_answer(&stage.neighbour, &format!("{HOST}:8080"), "c1", NEIGHBOUR);
    let c2 = stage.podman.container("c2");
    // Forwarded by the host.
    wait_until("c2 reaches c1", || {
        crate::try_ask(&c2, "10.83.0.2:80").is_ok()
    });
    let shaped = host
        .command(&["tc", "qdisc", "show"])
        .matches("qdisc tbf")
        .count();
    assert_eq!(shaped, 2);
    stage.end();
}

#[test]
fn a_list_with_sbr_and_tuning_on_nftables() {
    let stage = Stage::new();
    let plugins = json!([
        {"type": "bridge", "bridge": "hand0", "isGateway": true, "ipMasq": true, "ipMasqBackend": "nftables",
         "hairpinMode": true, "ipam": ipam("10.84.0.0/24")},
        {"type": "tuning", "sysctl": {"net.core.somaxconn": "500"}, "mtu": 1400, "capabilities": {"mac": true}},
        {"type": "sbr"},
        {"type": "portmap", "backend": "nftables", "snat": true, "capabilities": {"portMappings": true}},
        {"type": "firewall", "backend": "nftables"},
    ]);
    by_hand(&stage.podman, "hand", "1.0.0", &plugins);
    let mac = "02:00:00:00:84:01";
    let options = ["--network=hand", "--publish=8080:80", "--mac-address", mac];
    stage.start("c1", &options);
    expect_answer(&stage.neighbour, &format!("{HOST}:8080"), "c1", NEIGHBOUR);
    let c1 = stage.podman.container("c1");
    assert_eq!(c1.sysctl("net/core/somaxconn"), "500");
    assert_eq!(c1.link_attribute("eth0", "/address"), mac);
    assert_eq!(c1.link_attribute("eth0", "/mtu"), 1400);
    assert!(c1.ip("rule show").contains("from 10.84.0.2 lookup 100"));
    stage.end();
}

#[test]
fn a_device_of_the_host_returns() {
    let (stage, _) = Stage::with(|host| host.ip("link add spare0 type veth peer name spare1"));
    let host = &stage.podman.host;
    let plugins = json!([{
        "type": "host-device", "device": "spare0",
        "ipam": {"type": "static", "addresses": [{"address": "10.85.0.2/24"}]},
    }]);
    by_hand(&stage.podman, "device", "0.4.0", &plugins);
    host.ip_batch(&["addr add 10.85.0.1/24 dev spare1", "link set spare1 up"]);
    stage.start("c1", &["--network=device"]);
    expect_answer(host, "10.85.0.2:80", "c1", "10.85.0.1");
    assert!(host.link("spare0").is_none());
    host.ip_batch(&[
        "addr delete 10.85.0.1/24 dev spare1",
        "link set spare1 down",
    ]);
    stage.end();
}

#[test]
fn a_plugin_that_fails_late_leaves_nothing() {
    let stage = Stage::new();
    let plugins = json!([
        {"type": "bridge", "bridge": "late0", "isGateway": true, "ipMasq": true, "ipam": ipam("10.87.0.0/24")},
        {"type": "portmap", "capabilities": {"portMappings": true}},
        {"type": "firewall"},
        {"type": "tuning", "sysctl": {"net.core.no_such_thing": "1"}},
    ]);
    by_hand(&stage.podman, "late", "1.0.0", &plugins);
    let options = ["--network=late", "--publish=8080:80"];
    let run = stage.podman.call(&start("c1", &options, &[])).run();
    assert!(!run.is_ok());
    let error = run.stderr_text();
    assert!(error.contains("no_such_thing"), "{error}");
    assert!(state::leases("late").is_empty());
    expect_silence(&stage.neighbour, &format!("{HOST}:8080"));
    stage.end();
}
