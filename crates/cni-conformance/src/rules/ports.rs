//! Port mappings, as packets see them.

use serde_json::{Value, json};
use testkit::{Container, Node, merge, outside};

use super::support::del;
use super::traffic::{Server, udp_client};
use crate::demand;
use crate::rig::{Attached, Rig};
use crate::rule::{Only, Rule, runtime};

const PODMAN: &str = "Podman, kubelet: hostPort";
const PORTMAP: &[Only] = &[Only::Since("0.3.0"), Only::Plugins(&["portmap"])];

pub(crate) const RULES: &[Rule] = &[
    runtime(
        "ports.tcp",
        PODMAN,
        "A TCP port of the host leads to the container",
        tcp,
    )
    .only(PORTMAP),
    runtime(
        "ports.tcp-ipv6",
        PODMAN,
        "A TCP port of the host's IPv6 address leads to the container",
        tcp6,
    )
    .only(PORTMAP),
    runtime(
        "ports.udp",
        PODMAN,
        "A UDP port of the host leads to the container",
        udp,
    )
    .only(PORTMAP),
    runtime(
        "ports.from-host",
        PODMAN,
        "The port is reached from the host by the host's address",
        from_host,
    )
    .only(PORTMAP),
    runtime(
        "ports.from-localhost",
        PODMAN,
        "The port is reached from the host by 127.0.0.1",
        from_localhost,
    )
    .only(PORTMAP),
    runtime(
        "ports.hairpin",
        PODMAN,
        "The container reaches itself by the port of the host",
        hairpin,
    )
    .only(PORTMAP),
    runtime(
        "ports.from-neighbour",
        PODMAN,
        "Another container reaches the port of the host",
        from_neighbour,
    )
    .only(PORTMAP),
    runtime(
        "ports.source-address",
        PODMAN,
        "The container sees the address of the client",
        source_address,
    )
    .only(PORTMAP),
    runtime(
        "ports.source-address-ipv6",
        PODMAN,
        "The container sees the IPv6 address of the client",
        source_address6,
    )
    .only(PORTMAP),
    runtime(
        "ports.several",
        PODMAN,
        "Each of several mappings leads to its port",
        several,
    )
    .only(PORTMAP),
    runtime(
        "ports.host-ip",
        "kubelet: hostIP",
        "A mapping with hostIP is for this address of the host only",
        host_ip,
    )
    .only(PORTMAP),
    runtime(
        "ports.other-ports",
        PODMAN,
        "A port without a mapping leads nowhere",
        other_ports,
    )
    .only(PORTMAP),
    runtime(
        "ports.forwarded",
        "CVE-2025-67499",
        "Packets to the same port of other hosts are left alone",
        forwarded,
    )
    .only(PORTMAP),
    runtime(
        "ports.udp-flow",
        "reference portmap",
        "A mapping works for UDP clients that sent before ADD",
        udp_flow,
    )
    .only(PORTMAP),
    runtime(
        "ports.closed-by-del",
        PODMAN,
        "After DEL the port leads nowhere",
        closed_by_del,
    )
    .only(PORTMAP),
    runtime(
        "ports.others-stay-open",
        PODMAN,
        "DEL of another container closes no port",
        others_stay_open,
    )
    .only(PORTMAP),
    runtime(
        "ports.without-mappings",
        "reference portmap",
        "Without mappings ADD and DEL succeed and change nothing on the host",
        without_mappings,
    )
    .only(PORTMAP),
    runtime(
        "ports.invalid",
        "reference portmap",
        "A mapping without a valid port is refused and changes nothing",
        invalid,
    )
    .only(PORTMAP),
];

/// The port of the host.
const PORT: u16 = 8081;

/// The keys for mappings.
fn mappings(list: &Value) -> Value {
    json!({"runtimeConfig": {"portMappings": list}})
}

fn mapping(host: u16, container: u16, protocol: &str) -> Value {
    json!({"hostPort": host, "containerPort": container, "protocol": protocol})
}

/// An attachment with a TCP and a UDP mapping of [`PORT`] to port 81, a server there, and a client beyond the host.
struct Stage {
    attached: Attached,
    server: Server,
    outside: Container,
}

/// Makes the host a router between its containers and the network beyond.
pub(super) fn router(rig: &Rig) -> Container {
    let outside = outside(&rig.host);
    rig.host.set_sysctl("net/ipv4/ip_forward", "1");
    rig.host.set_sysctl("net/ipv6/conf/all/forwarding", "1");
    // The kernel sends neighbour solicitations for forwarded packets only from a link-local address.
    for name in rig.host.link_names() {
        if name == "conf" {
            rig.host.ip("addr add fe80::2/64 dev conf nodad");
        }
    }
    outside
}

fn stage(rig: &Rig) -> Stage {
    stage_with(
        rig,
        &json!([mapping(PORT, 81, "tcp"), mapping(PORT, 81, "udp")]),
    )
}

fn stage_with(rig: &Rig, list: &Value) -> Stage {
    let pod = rig.pod("c1");
    let outside = router(rig);
    let config = merge(pod.config(rig), &mappings(list));
    let attached = rig.attach_pod(pod, config);
    Stage {
        server: Server::new(attached.container(), 81),
        attached,
        outside,
    }
}

const HOST4: &str = "192.0.2.1:8081";
const HOST6: &str = "[2001:db8::1]:8081";

fn tcp(rig: &Rig) {
    let stage = stage(rig);
    stage.server.sees(&stage.outside, HOST4);
}

fn tcp6(rig: &Rig) {
    let stage = stage(rig);
    stage.server.sees(&stage.outside, HOST6);
}

fn udp(rig: &Rig) {
    let stage = stage(rig);
    let client = udp_client(&stage.outside, "0.0.0.0:0");
    stage.server.receives(&client, HOST4);
}

fn from_host(rig: &Rig) {
    stage(rig).server.sees(&rig.host, HOST4);
}

fn from_localhost(rig: &Rig) {
    stage(rig).server.sees(&rig.host, "127.0.0.1:8081");
}

fn hairpin(rig: &Rig) {
    let stage = stage(rig);
    // Packets come back by the port of the bridge on which they arrived.
    let ports = rig.host.ip_json(&["link", "show", "master", "conf"]);
    for port in ports.as_array().into_iter().flatten() {
        let name = port["ifname"].as_str().unwrap_or_default();
        rig.host
            .command(&["bridge", "link", "set", "dev", name, "hairpin", "on"]);
    }
    stage.server.sees(stage.attached.container(), HOST4);
}

fn from_neighbour(rig: &Rig) {
    let stage = stage(rig);
    let neighbour = rig.pod("c2");
    stage.server.sees(&neighbour.container, HOST4);
}

fn source_address(rig: &Rig) {
    let stage = stage(rig);
    assert_eq!(stage.server.sees(&stage.outside, HOST4), "192.0.2.9");
}

fn source_address6(rig: &Rig) {
    let stage = stage(rig);
    assert_eq!(stage.server.sees(&stage.outside, HOST6), "2001:db8::9");
}

fn several(rig: &Rig) {
    let list: Vec<Value> = (0..20).map(|n| mapping(9000 + n, 81 + n, "tcp")).collect();
    let stage = stage_with(rig, &json!(list));
    let last = Server::new(stage.attached.container(), 100);
    stage.server.sees(&stage.outside, "192.0.2.1:9000");
    last.sees(&stage.outside, "192.0.2.1:9019");
}

fn host_ip(rig: &Rig) {
    let one = merge(mapping(PORT, 81, "tcp"), &json!({"hostIP": "192.0.2.1"}));
    rig.host.ip("link add other0 type bridge");
    rig.host.ip("addr add 203.0.113.1/24 dev other0");
    rig.host.ip("link set other0 up");
    let stage = stage_with(rig, &json!([one]));
    stage.server.sees(&stage.outside, HOST4);
    stage.server.misses(&stage.outside, "203.0.113.1:8081");
}

fn other_ports(rig: &Rig) {
    let stage = stage(rig);
    stage.server.misses(&stage.outside, "192.0.2.1:81");
    stage.server.misses(&stage.outside, "192.0.2.1:8082");
}

fn forwarded(rig: &Rig) {
    let stage = stage(rig);
    let other = Server::new(&stage.outside, PORT);
    let neighbour = rig.pod("c2");
    let source = other.sees(&neighbour.container, "192.0.2.9:8081");
    assert!(source.starts_with("10.8.0."), "{source}");
}

fn udp_flow(rig: &Rig) {
    let pod = rig.pod("c1");
    let outside = router(rig);
    let client = udp_client(&outside, "0.0.0.0:5000");
    for _ in 0..2 {
        // The kernel remembers this flow as one to the host.
        let _ = client.send_to(b"early", HOST4);
    }
    let config = merge(
        pod.config(rig),
        &mappings(&json!([mapping(PORT, 81, "udp")])),
    );
    let attached = rig.attach_pod(pod, config);
    let server = Server::new(attached.container(), 81);
    server.receives(&client, HOST4);
}

fn closed_by_del(rig: &Rig) {
    let stage = stage(rig);
    stage.server.sees(&stage.outside, HOST4);
    del(rig, &stage.attached);
    for from in [HOST4, HOST6] {
        stage.server.misses(&stage.outside, from);
    }
}

fn others_stay_open(rig: &Rig) {
    let stage = stage(rig);
    let pod = rig.pod("c2");
    let config = merge(
        pod.config(rig),
        &mappings(&json!([mapping(9000, 81, "tcp")])),
    );
    let other = rig.attach_pod(pod, config);
    del(rig, &other);
    stage.server.sees(&stage.outside, HOST4);
    stage.server.sees(&stage.outside, HOST6);
}

fn without_mappings(rig: &Rig) {
    let pod = rig.pod("c1");
    for list in [json!([]), Value::Null] {
        let mut config = pod.config(rig);
        config["runtimeConfig"] = json!({"portMappings": list});
        rig.unchanged(|| {
            let run = rig.add(&pod.container, &config);
            demand::result(&run);
            demand::success(rig.del(&pod.container, &run.with_prev()))
        });
    }
}

fn invalid(rig: &Rig) {
    rig.warmed_up();
    let pod = rig.pod("c1");
    for wrong in [
        mapping(0, 80, "tcp"),
        mapping(8080, 0, "tcp"),
        json!({"hostPort": "http", "containerPort": 80}),
    ] {
        let config = merge(
            pod.config(rig),
            &mappings(&json!([mapping(9000, 81, "tcp"), wrong])),
        );
        rig.unchanged(|| demand::error(rig.add(&pod.container, &config)));
    }
}
