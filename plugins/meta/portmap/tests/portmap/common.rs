//! Shared by the tests: a host with a bridge and containers, networks outside, packets.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::{Container, Host, Node, Plugin, merge, wire};

/// The plugin under test.
pub(crate) fn portmap() -> Plugin {
    Plugin::new("portmap")
}

/// A host with its containers and the machines outside.
pub(crate) struct Net {
    pub(crate) host: Host,
    /// On the bridge, 10.1.0.2 and fd00:1::2.
    pub(crate) container: Container,
    /// On the bridge, 10.1.0.3 and fd00:1::3.
    pub(crate) neighbour: Container,
    /// A machine on ens1, where the host is 192.0.2.1 and .9, 2001:db8::1 and ::9.
    pub(crate) outside: Container,
    /// A machine on ens2, 198.51.100.2 and 2001:db8:9::2.
    pub(crate) far: Container,
}

impl Net {
    pub(crate) fn new() -> Net {
        let host = Host::new();
        let run = |words: &str| {
            let words: Vec<&str> = words.split(' ').collect();
            host.command(&words)
        };
        host.set_sysctl("net/ipv4/ip_forward", "1");
        host.set_sysctl("net/ipv6/conf/all/forwarding", "1");
        // Otherwise answers to neighbours pass the host's filters, too.
        for family in ["ip", "ip6"] {
            let key = format!("net/bridge/bridge-nf-call-{family}tables");
            if std::fs::exists(format!("/proc/sys/{key}")).unwrap() {
                host.set_sysctl(&key, "0");
            }
        }
        let outside = wire(
            &host,
            "ens1",
            "outside",
            &["192.0.2.2/24", "2001:db8::2/64"],
        );
        let far = wire(
            &host,
            "ens2",
            "far",
            &["198.51.100.2/24", "2001:db8:9::2/64"],
        );
        run("ip link add cni0 type bridge");
        run("ip link set cni0 addrgenmode none up");
        for (link, address) in [
            ("ens1", "192.0.2.1/24"),
            ("ens1", "192.0.2.9/24"),
            ("ens1", "2001:db8::1/64"),
            ("ens1", "2001:db8::9/64"),
            ("ens2", "198.51.100.1/24"),
            ("ens2", "2001:db8:9::1/64"),
            ("cni0", "10.1.0.1/24"),
            ("cni0", "fd00:1::1/64"),
            // The source of the host's neighbour solicitations.
            ("ens1", "fe80::1/64"),
            ("ens2", "fe80::1/64"),
            ("cni0", "fe80::1/64"),
        ] {
            let nodad = if address.contains(':') { " nodad" } else { "" };
            run(&format!("ip addr add {address} dev {link}{nodad}"));
        }
        let container = wire(&host, "veth1", "c1", &["10.1.0.2/24", "fd00:1::2/64"]);
        let neighbour = wire(&host, "veth2", "c2", &["10.1.0.3/24", "fd00:1::3/64"]);
        for port in ["veth1", "veth2"] {
            run(&format!("ip link set {port} master cni0"));
            run(&format!("bridge link set dev {port} hairpin on"));
        }
        for (node, v4, v6) in [
            (&outside, "192.0.2.1", "2001:db8::1"),
            (&far, "198.51.100.1", "2001:db8:9::1"),
            (&container, "10.1.0.1", "fd00:1::1"),
            (&neighbour, "10.1.0.1", "fd00:1::1"),
        ] {
            for via in [v4, v6] {
                node.command(&["ip", "route", "add", "default", "via", via]);
            }
        }
        Net {
            host,
            container,
            neighbour,
            outside,
            far,
        }
    }
}

/// The result of the plugins before portmap.
pub(crate) fn attached(container: &Container, addresses: &[&str]) -> Value {
    let ips: Vec<Value> = addresses
        .iter()
        .map(|address| json!({"interface": 1, "address": address}))
        .collect();
    json!({
        "cniVersion": "1.1.0",
        "interfaces": [
            {"name": "cni0", "mac": "02:00:00:00:00:01"},
            {"name": "eth0", "mac": "02:00:00:00:00:02", "sandbox": container.netns()},
        ],
        "ips": ips,
    })
}

/// A configuration of network `net` with these mappings and further keys, chained behind
/// a bridge that gave `container` its addresses.
pub(crate) fn config(container: &Container, mappings: &Value, extra: &Value) -> Value {
    let base = json!({
        "cniVersion": "1.0.0", "name": "net", "type": "portmap",
        "runtimeConfig": {"portMappings": mappings},
        "prevResult": attached(container, &["10.1.0.2/24", "fd00:1::2/64"]),
    });
    let mut config = merge(base, extra);
    config["prevResult"]["cniVersion"] = config["cniVersion"].clone();
    config
}

/// TCP port 8080 to 80.
pub(crate) fn web() -> Value {
    json!([{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}])
}

/// Limits on the wait for an answer that is expected, and for one that is not.
pub(crate) const LONG: Duration = Duration::from_secs(2);
pub(crate) const SHORT: Duration = Duration::from_millis(150);

/// A server of both protocols and families on one port.
pub(crate) struct Server {
    tcp: TcpListener,
    udp: UdpSocket,
}

impl Server {
    pub(crate) fn new(node: &impl Node, port: u16) -> Server {
        let any = SocketAddr::new("::".parse().unwrap(), port);
        node.enter(|| {
            let server = Server {
                tcp: TcpListener::bind(any).unwrap(),
                udp: UdpSocket::bind(any).unwrap(),
            };
            server.tcp.set_nonblocking(true).unwrap();
            server.udp.set_nonblocking(true).unwrap();
            server
        })
    }

    /// Returns the source address of a client in `node` that connects to `to`; `None` if
    /// this server does not get the connection.
    pub(crate) fn tcp(&self, node: &impl Node, to: SocketAddr) -> Option<IpAddr> {
        self.tcp_within(node, to, LONG)
    }

    /// The same with another limit.
    pub(crate) fn tcp_within(
        &self,
        node: &impl Node,
        to: SocketAddr,
        patience: Duration,
    ) -> Option<IpAddr> {
        let connected = node.enter(|| TcpStream::connect_timeout(&to, patience));
        let _stream = connected.ok()?;
        let end = Instant::now() + patience;
        while Instant::now() < end {
            if let Ok((_, client)) = self.tcp.accept() {
                return Some(client.ip().to_canonical());
            }
            sleep(Duration::from_millis(1));
        }
        None
    }

    /// The same with a datagram and its answer.
    pub(crate) fn udp(&self, node: &impl Node, to: SocketAddr) -> Option<IpAddr> {
        let client = datagram_socket(node, to)?;
        self.answers_within(&client, LONG)
    }

    /// Sends from `client`, and answers it.
    pub(crate) fn answers_within(&self, client: &UdpSocket, patience: Duration) -> Option<IpAddr> {
        let mut buffer = [0; 16];
        while self.udp.recv_from(&mut buffer).is_ok() {}
        client.send(b"question").ok()?;
        let end = Instant::now() + patience;
        let mut seen = None;
        while Instant::now() < end {
            if let Ok((_, from)) = self.udp.recv_from(&mut buffer) {
                seen = Some(from.ip().to_canonical());
                let _ = self.udp.send_to(b"answer", from);
            }
            match client.recv(&mut buffer) {
                Ok(_) => return seen,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
            sleep(Duration::from_millis(1));
        }
        None
    }
}

/// A socket of `node` that sends to `to` and does not block.
pub(crate) fn datagram_socket(node: &impl Node, to: SocketAddr) -> Option<UdpSocket> {
    let any: IpAddr = if to.is_ipv4() { "0.0.0.0" } else { "::" }.parse().unwrap();
    node.enter(|| {
        let socket = UdpSocket::bind(SocketAddr::new(any, 0)).unwrap();
        socket.connect(to).ok()?;
        socket.set_nonblocking(true).unwrap();
        Some(socket)
    })
}

/// The keys for each backend and layout.
pub(crate) fn backends() -> [Value; 3] {
    [
        json!({"backend": "iptables"}),
        json!({"backend": "nftables"}),
        json!({"backend": "nftables", "rules": "map"}),
    ]
}

/// The same, and conditions for `nft`.
pub(crate) fn all_keys() -> Vec<Value> {
    let with_sets = json!({
        "backend": "nftables",
        "conditionsV4": ["ip", "daddr", "!=", "{ 127.0.0.0/8, 198.19.254.254 }"],
        "conditionsV6": ["ip6 saddr != { 2001:db8:7::/48, 2001:db8::7 }"],
    });
    let mut keys = Vec::from(backends());
    keys.push(with_sets);
    keys
}

/// All rules of the host. `nft` does not show all options of iptables' rules.
pub(crate) fn ruleset(host: &Host) -> String {
    let mut rules = host.command(&["nft", "list", "ruleset"]);
    for (table, command) in [
        ("table ip nat ", "iptables-save"),
        ("table ip6 nat ", "ip6tables-save"),
    ] {
        if rules.contains(table) {
            rules += &host.command(&[command, "-t", "nat"]);
        }
    }
    rules
}

/// The lines of the host's rules that contain `what`.
pub(crate) fn rules_of(host: &Host, what: &str) -> Vec<String> {
    let rules = ruleset(host);
    let lines = rules.lines().map(str::trim);
    let found = lines.filter(|line| line.contains(what));
    found.map(str::to_owned).collect()
}

/// Whether any rule or element contains the container's addresses.
pub(crate) fn is_mapped(host: &Host) -> bool {
    ["10.1.0.2", "fd00:1::2"]
        .iter()
        .any(|address| !rules_of(host, address).is_empty())
}
