//! Links on the host of attachments that got no DEL while their namespaces live on.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use blackbox::chain::{Chain, kubernetes_plugins};
use blackbox::{answer, state};
use serde_json::{Value, json};
use testkit::{Container, Host, Node, Plugin, Running, merge};

use crate::{VALID, ipam};

/// Networks whose plugins leave links on the host.
fn networks() -> [Chain; 2] {
    let ptp = json!({"type": "ptp", "ipMasq": true, "ipMasqBackend": "nftables", "ipam": ipam()});
    let shaped = json!({"type": "bandwidth", "ingressRate": 5_000_000, "ingressBurst": 500_000,
                        "egressRate": 5_000_000, "egressBurst": 500_000});
    [
        Chain::new(kubernetes_plugins("nftables", &ipam())),
        Chain::new(vec![ptp, shaped]),
    ]
}

/// The aliases of the host's links.
fn aliases(host: &Host) -> Vec<String> {
    let links = host.ip_json(&["link", "show"]);
    let links = links.as_array().cloned().unwrap_or_default();
    let aliases = links.iter().filter_map(|link| link["ifalias"].as_str());
    let mut aliases: Vec<String> = aliases.map(String::from).collect();
    aliases.sort_unstable();
    aliases
}

/// The number of links of the test's own namespace, without starting a process.
fn count_links() -> usize {
    let table = fs::read_to_string("/proc/thread-self/net/dev").expect("read the list of links");
    table.lines().count()
}

/// Kills the plugin and its delegate as soon as the host has another link.
fn kill_at_new_link(mut adding: Running, links: usize) {
    while count_links() == links && !adding.has_ended() {
        thread::sleep(Duration::from_micros(100));
    }
    adding.kill();
    adding.wait();
}

/// Attaches the container `neighbour`, which must not be affected.
fn neighbour(host: &Host, network: &Chain) -> (Container, Chain) {
    let neighbour = host.container("neighbour");
    let living = Chain {
        container_id: "neighbour".to_owned(),
        ..network.clone()
    };
    living.add(&neighbour);
    (neighbour, living)
}

#[test]
fn links_of_an_interrupted_add_are_deleted() {
    for network in networks() {
        let host = Host::new();
        let (neighbour, living) = neighbour(&host, &network);
        let valid = json!([{"containerID": "neighbour", "ifname": "eth0"}]);
        let mut had_link = 0;
        for n in 0..8 {
            let container = host.container(&format!("c{n}"));
            let chain = Chain {
                container_id: format!("c{n}"),
                ..network.clone()
            };
            let before = state::of(&host);
            let links = count_links();
            // The first plugin is interrupted in each other run, else the second one.
            let calls = chain.calls("ADD", container.netns(), &Value::Null);
            let mut calls = calls.into_iter();
            let first = calls.next().expect("a plugin");
            match n % 2 {
                0 => kill_at_new_link(first.start(), links),
                _ => {
                    answer::result(&first.run());
                }
            }
            had_link += usize::from(count_links() > links);
            living.gc_with(&json!({VALID: valid}));
            state::assert_back(&before, &host);
            assert!(container.link("eth0").is_none());
        }
        assert!(had_link >= 4, "only {had_link} of 8 left a link");
        living.check(&neighbour);
        living.del(&neighbour);
    }
}

/// Both networks have the same bridge, and the container an interface in each.
#[test]
fn networks_on_one_bridge_are_told_apart() {
    let host = Host::new();
    let container = host.container("c1");
    let bridge = json!({"type": "bridge", "isGateway": true, "ipam": ipam()});
    let of = |network: &str, if_name: &str, ipam: &str| Chain {
        network: network.to_owned(),
        if_name: if_name.to_owned(),
        ..Chain::new(vec![merge(
            bridge.clone(),
            &json!({"ipam": {"ranges": [[{"subnet": ipam}]]}, "forceAddress": true}),
        )])
    };
    let (red, blue) = (
        of("red", "eth0", "10.60.0.0/24"),
        of("red-blue", "eth1", "10.61.0.0/24"),
    );
    red.add(&container);
    blue.add(&container);
    assert_eq!(aliases(&host), ["cni:red-blue/c1/eth1", "cni:red/c1/eth0"]);
    red.gc(false);
    assert_eq!(aliases(&host), ["cni:red-blue/c1/eth1"]);
    blue.check(&container);
    // The same container, another interface.
    let other = json!([{"containerID": "c1", "ifname": "eth0"}]);
    blue.gc_with(&json!({VALID: other}));
    assert!(aliases(&host).is_empty() && state::veths(&host).is_empty());
}

#[test]
fn aliases_name_attachments_and_fit_the_kernel() {
    let host = Host::new();
    for network in networks() {
        let container = host.container("c1");
        network.add(&container);
        assert_eq!(aliases(&host), ["cni:net/c1/eth0", "cni:net/c1/eth0"]);
        network.del(&container);
        assert!(aliases(&host).is_empty());

        let long = Chain {
            network: "n".repeat(120),
            container_id: "c".repeat(120),
            ..network.clone()
        };
        long.add(&container);
        let found = aliases(&host);
        assert_eq!(found.len(), 2);
        assert!(
            found[0].starts_with("cni:~") && found[0].ends_with("/eth0"),
            "{found:?}"
        );
        long.gc(true);
        assert_eq!(aliases(&host), found);
        long.check(&container);
        long.gc(false);
        assert!(aliases(&host).is_empty());
    }
}

/// Links that no alias names are not touched, whatever their names.
#[test]
fn links_without_alias_are_kept() {
    let host = Host::new();
    host.ip("link add veth00000001 type veth peer name mine");
    host.ip("link add veth00000002 alias elsewhere type veth peer name mine2");
    host.command(&["ip", "link", "set", "mine2", "alias", "cni:net/c9/eth0"]);
    host.ip("link add bwp000000000001 type ifb");
    let before = state::of(&host);
    for network in networks() {
        network.gc(false);
        before.assert_same(&state::of(&host));
    }
}

/// The IPAM plugin, the first step, was removed from the host.
#[test]
fn gc_goes_on_after_errors() {
    for network in networks() {
        let host = Host::new();
        let container = host.container("c1");
        network.add(&container);
        let table = ["nft", "list", "table", "inet", "cni_plugins_masquerade"];
        let rules = || host.command(&table);
        assert!(rules().contains("id: c1"), "{}", rules());
        let keys =
            json!({"cniVersion": "1.1.0", "name": "net", "ipam": {"type": "nosuch"}, VALID: []});
        let config = merge(network.plugins[0].clone(), &keys);
        let plugin = Plugin::new(config["type"].as_str().expect("a type"));
        let error = plugin.gc(&config).expect_error(999);
        assert!(error.msg.contains("nosuch"), "{}", error.text());
        assert!(container.link("eth0").is_none() && state::veths(&host).is_empty());
        assert!(!rules().contains("id: c1"), "{}", rules());
        assert_eq!(state::leases("net").len(), 2);
        // The next GC collects what is left.
        network.gc(false);
        assert!(state::leases("net").is_empty());
    }
}

/// The runtime does not know the namespace any more, or its path is gone, but a process keeps it.
#[test]
fn del_without_a_namespace_deletes_the_link() {
    for network in networks() {
        let host = Host::new();
        let (neighbour, _) = neighbour(&host, &network);
        let before = aliases(&host);
        for (netns, with_result) in [("", true), ("", false), ("/run/netns/none", true)] {
            let container = host.container("c1");
            let result = network.add(&container);
            assert!(aliases(&host).len() > before.len());
            let result = if with_result { result } else { Value::Null };
            for call in network.calls("DEL", Path::new(netns), &result) {
                answer::silent(call.run());
            }
            assert_eq!(aliases(&host), before, "{netns:?}, {with_result}");
        }
        neighbour.ping("10.60.0.1");
    }
}
