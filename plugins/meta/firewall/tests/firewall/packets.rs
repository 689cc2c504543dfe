//! Which containers and machines reach each other, with a chain of bridge and firewall.

use crate::common::firewall;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::thread::spawn;
use std::time::Duration;
use testkit::{Container, Host, Node, Plugin, reach, wire};

/// Limit on the wait for an answer; a refused connection counts as one.
const WAIT: Duration = Duration::from_secs(1);

/// A host that forwards, with three networks and a machine outside.
struct Site {
    host: Host,
    outside: Container,
    containers: Vec<(&'static str, Container, Value)>,
    _listeners: Vec<TcpListener>,
}

/// The implementation and backend under test.
#[derive(Clone, Copy, Debug)]
struct Maker {
    plugin: fn() -> Plugin,
    backend: &'static str,
}

const IPTABLES: Maker = Maker {
    plugin: firewall,
    backend: "iptables",
};
const NFTABLES: Maker = Maker {
    plugin: firewall,
    backend: "nftables",
};
const PEER: Maker = Maker {
    plugin: || Plugin::peer("firewall"),
    backend: "iptables",
};

const PORT: u16 = 8080;

/// The containers with their bridges and network numbers.
const PLACES: [(&str, &str, u8); 4] = [
    ("a1", "br-a", 1),
    ("a2", "br-a", 1),
    ("b1", "br-b", 2),
    ("c1", "br-c", 3),
];

impl Site {
    /// `policies`: of the networks on br-a, br-b and br-c.
    fn new(maker: Maker, policies: [&str; 3]) -> Site {
        let host = Host::new();
        let outside = wire(&host, "up0", "outside", &["192.0.2.9/24", "2001:db8::9/64"]);
        host.command(&["ip", "addr", "add", "192.0.2.1/24", "dev", "up0"]);
        host.command(&["ip", "addr", "add", "2001:db8::1/64", "dev", "up0", "nodad"]);
        // The source of the host's neighbour solicitations.
        host.command(&["ip", "addr", "add", "fe80::1/64", "dev", "up0", "nodad"]);
        outside.command(&["ip", "route", "add", "default", "via", "192.0.2.1"]);
        outside.command(&["ip", "route", "add", "default", "via", "2001:db8::1"]);
        // Bridged frames pass the filters, as in Kubernetes.
        for key in ["iptables", "ip6tables"] {
            host.set_sysctl(&format!("net/bridge/bridge-nf-call-{key}"), "1");
        }
        let mut site = Site {
            host,
            outside,
            containers: Vec::new(),
            _listeners: Vec::new(),
        };
        for (name, bridge, number) in PLACES {
            let container = site.host.container(name);
            let result = plug(&container, bridge, number);
            // The network is usable before there are any rules.
            for address in ["192.0.2.9", "2001:db8::9"] {
                let address = address.parse().unwrap();
                assert!(
                    container.can_reach(address, Duration::from_secs(10)),
                    "{name} {address}"
                );
            }
            let config = json!({
                "cniVersion": "1.0.0", "name": bridge, "type": "firewall", "backend": maker.backend,
                "ingressPolicy": policies[usize::from(number) - 1], "prevResult": result,
            });
            (maker.plugin)().add(&container, &config).expect_ok();
            (maker.plugin)().check(&container, &config).expect_ok();
            site.containers.push((name, container, config));
        }
        let listen = |node: &Container| {
            node.enter(|| {
                let any: IpAddr = "::".parse().unwrap();
                TcpListener::bind(SocketAddr::new(any, PORT)).unwrap()
            })
        };
        site._listeners = site.containers.iter().map(|(_, c, _)| listen(c)).collect();
        site._listeners.push(listen(&site.outside));
        site
    }

    /// Drops forwarded packets that no container's rule accepts.
    fn drop_by_default(&self, maker: Maker) {
        if maker.backend == "nftables" {
            let policy = "{ policy drop; }";
            self.host.command(&[
                "nft",
                "add",
                "chain",
                "inet",
                "cni_firewall",
                "forward",
                policy,
            ]);
        } else {
            for command in ["iptables", "ip6tables"] {
                self.host.command(&[command, "-P", "FORWARD", "DROP"]);
            }
        }
    }

    fn addresses(&self, name: &str) -> [IpAddr; 2] {
        let text = if name == "outside" {
            ["192.0.2.9".to_owned(), "2001:db8::9".to_owned()]
        } else {
            let (_, _, config) = self.containers.iter().find(|(n, ..)| *n == name).unwrap();
            let ips = &config["prevResult"]["ips"];
            [0, 1].map(|number: usize| {
                let address = ips[number]["address"].as_str().unwrap();
                address.split('/').next().unwrap().to_owned()
            })
        };
        text.map(|address| address.parse().unwrap())
    }

    fn node(&self, name: &str) -> &Container {
        let found = self.containers.iter().find(|(n, ..)| *n == name);
        found.map_or(&self.outside, |(_, container, _)| container)
    }

    /// Returns whom each node reaches, over IPv4 and IPv6. All pairs are tried at once,
    /// because most of the time is spent on waiting.
    fn matrix(&self) -> BTreeMap<String, Vec<String>> {
        let mut tries = Vec::new();
        for (from, to) in pairs() {
            for address in self.addresses(to) {
                let family = if address.is_ipv4() { "4" } else { "6" };
                // A thread is where the one was that started it.
                let (tcp, udp) = self.node(from).enter(|| {
                    let tcp = spawn(move || connects(address));
                    (tcp, spawn(move || reach(address, WAIT)))
                });
                tries.push((from, to, format!("t{family}"), tcp));
                tries.push((from, to, format!("u{family}"), udp));
            }
        }
        let mut found: BTreeMap<(&str, &str), String> = BTreeMap::new();
        for (from, to, by, reached) in tries {
            if reached.join().unwrap() {
                *found.entry((from, to)).or_default() += &by;
            }
        }
        let mut matrix: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (from, to) in pairs() {
            let row = matrix.entry(from.to_owned()).or_default();
            row.extend(found.get(&(from, to)).map(|by| format!("{to}:{by}")));
        }
        matrix
    }
}

/// All pairs of nodes.
fn pairs() -> impl Iterator<Item = (&'static str, &'static str)> {
    const ALL: [&str; 5] = ["a1", "a2", "b1", "c1", "outside"];
    ALL.into_iter()
        .flat_map(|from| ALL.into_iter().map(move |to| (from, to)))
        .filter(|(from, to)| from != to)
}

/// Runs ADD of the bridge plugin and returns its result.
fn plug(container: &Container, bridge: &str, number: u8) -> Value {
    let ranges = json!([
        [{"subnet": format!("10.{number}.0.0/24")}],
        [{"subnet": format!("fd00:{number}::/64")}],
    ]);
    let config = json!({
        "cniVersion": "1.0.0", "name": bridge, "type": "bridge", "bridge": bridge,
        "isDefaultGateway": true,
        "ipam": {"type": "host-local", "ranges": ranges},
    });
    Plugin::new("bridge")
        .add(container, &config)
        .expect_ok()
        .json()
}

fn connects(address: IpAddr) -> bool {
    // The neighbour may still be unresolved, or its entry failed.
    for _ in 0..2 {
        match TcpStream::connect_timeout(&SocketAddr::new(address, PORT), WAIT) {
            Ok(_) => return true,
            Err(error) if error.kind() == ErrorKind::TimedOut => return false,
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
    false
}

/// All pairs except those that `cut` selects.
fn expected(cut: impl Fn(&str, &str) -> bool) -> BTreeMap<String, Vec<String>> {
    let mut matrix: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (from, to) in pairs() {
        let row = matrix.entry(from.to_owned()).or_default();
        row.extend((!cut(from, to)).then(|| format!("{to}:t4u4t6u6")));
    }
    matrix
}

fn network(name: &str) -> &str {
    &name[..1]
}

fn on_bridge(name: &str) -> bool {
    name != "outside"
}

#[test]
fn open() {
    for maker in [IPTABLES, NFTABLES, PEER] {
        let site = Site::new(maker, ["open", "", "open"]);
        assert_eq!(site.matrix(), expected(|_, _| false), "{maker:?}");
        // No new connections from outside; all others are accepted.
        site.drop_by_default(maker);
        assert_eq!(
            site.matrix(),
            expected(|from, _| from == "outside"),
            "{maker:?}"
        );
    }
}

#[test]
fn same_bridge() {
    for maker in [IPTABLES, NFTABLES, PEER] {
        let site = Site::new(maker, ["same-bridge"; 3]);
        let apart =
            |from: &str, to: &str| on_bridge(from) && on_bridge(to) && network(from) != network(to);
        assert_eq!(site.matrix(), expected(apart), "{maker:?}");
        site.drop_by_default(maker);
        let dropped = |from: &str, to: &str| apart(from, to) || from == "outside";
        assert_eq!(site.matrix(), expected(dropped), "{maker:?}");
    }
}

#[test]
fn isolated() {
    for maker in [IPTABLES, NFTABLES] {
        let site = Site::new(maker, ["isolated"; 3]);
        let alone = |from: &str, to: &str| on_bridge(from) && on_bridge(to);
        assert_eq!(site.matrix(), expected(alone), "{maker:?}");
    }
}

/// One network with each policy: networks with a policy are isolated from each other.
#[test]
fn mixed() {
    for maker in [IPTABLES, NFTABLES] {
        let site = Site::new(maker, ["isolated", "same-bridge", "open"]);
        let apart = |from: &str, to: &str| {
            let strict = |name: &str| matches!(network(name), "a" | "b");
            strict(from) && strict(to)
        };
        assert_eq!(site.matrix(), expected(apart), "{maker:?}");
    }
    for maker in [IPTABLES, NFTABLES, PEER] {
        let site = Site::new(maker, ["same-bridge", "same-bridge", "open"]);
        let apart =
            |from: &str, to: &str| matches!((network(from), network(to)), ("a", "b") | ("b", "a"));
        assert_eq!(site.matrix(), expected(apart), "{maker:?}");
    }
}

#[test]
fn the_administrators_chain_comes_first() {
    for maker in [IPTABLES, NFTABLES] {
        let site = Site::new(maker, ["open"; 3]);
        let a1 = site.addresses("a1");
        if maker.backend == "nftables" {
            for (family, address) in ["ip", "ip6"].iter().zip(a1) {
                let rule = format!("{family} saddr {address} drop");
                site.host.command(&[
                    "nft",
                    "add",
                    "rule",
                    "inet",
                    "cni_firewall",
                    "CNI-ADMIN",
                    &rule,
                ]);
            }
        } else {
            for (command, address) in ["iptables", "ip6tables"].iter().zip(a1) {
                let address = address.to_string();
                site.host
                    .command(&[command, "-A", "CNI-ADMIN", "-s", &address, "-j", "DROP"]);
            }
        }
        // It applies to answers and bridged frames, too.
        let muted = |from: &str, to: &str| from == "a1" || to == "a1";
        assert_eq!(site.matrix(), expected(muted), "{maker:?}");
        let (_, container, config) = &site.containers[1];
        firewall().del(container, config).expect_ok();
        firewall().add(container, config).expect_ok();
        assert_eq!(site.matrix(), expected(muted), "{maker:?}");
    }
}
