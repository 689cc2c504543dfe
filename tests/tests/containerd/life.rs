//! Pods from RunPodSandbox to RemovePodSandbox.

use std::fs;

use blackbox::reach;
use runtime_api::messages::PortMapping;
use serde_json::{Value, json};
use testkit::Node as _;

use crate::pods::{GATEWAYS, NODE, Pods, list, pod};

/// A pod has what kubelet asked for, and leaves nothing.
#[track_caller]
fn a_pod_lives(pods: &Pods, host_port: u16) {
    let web = pods.run(pod("web-0", i32::from(host_port)));
    let inside = pods.inside(&web);
    let addresses = inside.addresses("eth0").into_iter();
    let addresses: Vec<String> = addresses
        .map(|cidr| cidr.split('/').next().unwrap_or_default().to_owned())
        .collect();
    let said: Vec<String> = web.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, said, "the CRI says the pod's addresses");
    assert_eq!(said.len(), 2);
    assert_eq!(inside.sysctl("net/core/somaxconn"), "500");
    pods.assert_connected(&web, host_port);

    // The annotations. What the pod receives is shaped at the host's end, what it sends behind a redirection.
    let qdiscs = pods.host.command(&["tc", "qdisc", "show"]);
    for rate in ["rate 10Mbit", "rate 20Mbit"] {
        assert!(qdiscs.contains(rate), "{rate}\n{qdiscs}");
    }
    drop(inside);
    pods.end(&web);
    pods.assert_closed(host_port);
    pods.assert_nothing_left();
}

#[test]
fn iptables() {
    let pods = Pods::new(&list("1.0.0", "iptables"));
    a_pod_lives(&pods, 8080);
}

#[test]
fn nftables() {
    let pods = Pods::new(&list("1.0.0", "nftables"));
    a_pod_lives(&pods, 8080);
    let tables = pods.host.command(&["iptables-save"]);
    assert!(!tables.contains("CNI-"), "iptables is not used\n{tables}");
}

#[test]
fn every_version_of_the_specification_that_containerd_knows() {
    let mut pods = Pods::new(&list("0.3.1", "iptables"));
    for version in ["0.3.1", "0.4.0", "1.0.0"] {
        pods.set_network(&list(version, "iptables"));
        pods.warm_up();
        a_pod_lives(&pods, 8080);
    }
}

/// Kubelet starts a stopped pod anew in another sandbox, with the same ports.
#[test]
fn a_pod_is_started_anew_with_the_same_ports() {
    let pods = Pods::new(&list("1.0.0", "iptables"));
    let first = pods.run(pod("web-0", 8080));
    pods.cri.stop(&first.id).unwrap();
    let mut again = pod("web-0", 8080);
    if let Some(metadata) = &mut again.metadata {
        metadata.attempt = 1;
    }
    let second = pods.run(again);
    assert_ne!(first.id, second.id);
    pods.assert_connected(&second, 8080);
    // The old sandbox is removed when the new one runs already.
    pods.end(&first);
    pods.assert_connected(&second, 8080);
    pods.assert_whole(&second);
    pods.end(&second);
    pods.assert_nothing_left();
}

/// UDP, and mappings of one of the node's addresses only.
#[test]
fn ports_of_one_address_and_of_udp() {
    let mapping = |protocol, host_ip: &str| PortMapping {
        protocol,
        container_port: 80,
        host_port: 5353,
        host_ip: host_ip.to_owned(),
    };
    for backend in ["iptables", "nftables"] {
        let pods = Pods::new(&list("1.0.0", backend));
        let mut config = pod("dns", 8080);
        config.port_mappings = vec![
            mapping(0, NODE[0]),
            mapping(1, NODE[0]),
            mapping(1, NODE[1]),
        ];
        let dns = pods.run(config);
        let inside = pods.inside(&dns);
        for node in NODE {
            reach::udp(&inside, 80, &pods.client, (node, 5353)).unwrap();
        }
        pods.seen(&dns, &pods.client, NODE[0], 5353);
        assert!(!reach::is_open(&pods.client, (NODE[1], 5353)));
        assert!(!reach::is_open(&pods.host, ("127.0.0.1", 5353)));
        drop(inside);
        pods.end(&dns);
        pods.assert_nothing_left();
    }
}

/// The arguments that containerd passes, in any order, and what it caches of a pod.
#[test]
fn what_containerd_passes_is_in_its_cache() {
    let pods = Pods::new(&list("1.0.0", "iptables"));
    let web = pods.run(pod("web-0", 8080));
    let read = |network: &str, link: &str| -> Value {
        let path = format!("/var/lib/cni/results/{network}-{}-{link}", web.id);
        serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap()
    };
    let cached = read("pods", "eth0");
    let arguments = cached["cniArgs"].as_array().unwrap();
    for (key, value) in [
        ("K8S_POD_NAME", "web-0"),
        ("K8S_POD_UID", "uid-web-0"),
        ("K8S_POD_INFRA_CONTAINER_ID", web.id.as_str()),
    ] {
        let pair = json!([key, value]);
        assert!(arguments.contains(&pair), "{pair}\n{cached}");
    }
    let mappings = &cached["capabilityArgs"]["portMappings"];
    assert_eq!(mappings.as_array().map(Vec::len), Some(1), "{cached}");
    assert_eq!(mappings[0]["HostPort"], 8080, "{cached}");
    let gateways: Vec<&str> = cached["result"]["ips"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|ip| ip["gateway"].as_str())
        .collect();
    assert_eq!(gateways, GATEWAYS);
    // lo is attached at the same time as eth0.
    assert_eq!(read("cni-loopback", "lo")["result"]["cniVersion"], "0.3.1");
    pods.inside(&web).ping("127.0.0.1");
    pods.end(&web);
    pods.assert_nothing_left();
}
