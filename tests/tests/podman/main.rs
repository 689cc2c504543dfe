//! Podman with the CNI backend: real containers in networks of the plugins under test.
//!
//! Every test has a Podman of its own, on a private host with a neighbour, and ends with a look at what is left after the
//! containers and networks have been removed.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests end the test by panicking"
)]

mod cache;
mod connect;
mod crowd;
mod dhcp;
mod kill;
mod networks;
mod pods;
mod ports;
mod reload;
mod restart;
mod rootless;
mod swap;

use std::ffi::OsString;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use blackbox::chain::{Chain, kubernetes_plugins};
use blackbox::state;
use serde_json::json;
use testkit::runtime::IMAGE;
use testkit::{Container, Host, Node, Podman, Snapshot, dual_stack, outside, patience};

/// The address of the host in the network outside.
const HOST: &str = "192.0.2.1";
/// The address of the neighbour.
const NEIGHBOUR: &str = "192.0.2.9";

/// A Podman, a neighbour of its host, and the state of the host without any container.
struct Stage {
    podman: Podman,
    neighbour: Container,
    before: Snapshot,
    namespaces: Vec<OsString>,
}

impl Stage {
    fn new() -> Stage {
        Stage::with(|_| ()).0
    }

    /// Also prepares the host before its state is taken. Returns what `prepare` does.
    fn with<T>(prepare: impl FnOnce(&Host) -> T) -> (Stage, T) {
        let podman = Podman::ready();
        let neighbour = outside(&podman.host);
        podman.host.ip_batch(&[
            &format!("route add default via {NEIGHBOUR}"),
            "route add ::/0 via 2001:db8::9",
        ]);
        create_base_chains(&podman.host);
        let prepared = prepare(&podman.host);
        let stage = Stage {
            before: what_is_left(&podman.host),
            namespaces: namespaces(),
            podman,
            neighbour,
        };
        (stage, prepared)
    }

    /// Creates a network with these options.
    #[track_caller]
    fn network(&self, name: &str, options: &[&str]) {
        let create = ["network", "create"];
        self.podman.run(&[&create, options, &[name]].concat());
    }

    /// Creates a network of both families, 10.NUMBER.0.0/24 and fd00:NUMBER::/64.
    #[track_caller]
    fn dual_network(&self, name: &str, number: u8) {
        let subnets = [
            format!("--subnet=10.{number}.0.0/24"),
            format!("--subnet=fd00:{number}::/64"),
        ];
        self.network(name, &["--ipv6", &subnets[0], &subnets[1]]);
    }

    /// Starts a container whose server on port 80 knows it by this name. Returns its ID.
    #[track_caller]
    fn start(&self, name: &str, options: &[&str]) -> String {
        self.podman.run(&start(name, options, &[]))
    }

    /// Removes all containers and networks. Then nothing may be left.
    #[track_caller]
    fn end(self) {
        self.remove_all();
        self.expect_nothing_left();
    }

    /// Removes a container.
    #[track_caller]
    fn remove(&self, name: &str) {
        self.podman.run(&["rm", "--force", "--time", "0", name]);
    }

    /// Removes all containers and networks.
    #[track_caller]
    fn remove_all(&self) {
        self.remove("--all");
        self.podman.run(&["network", "prune", "--force"]);
    }

    /// Demands that the host is as it was before the first container.
    #[track_caller]
    fn expect_nothing_left(&self) {
        let host = &self.podman.host;
        let end = Instant::now() + Duration::from_secs(10) * patience();
        // The kernel deletes the links of a namespace in the background.
        while self.before != what_is_left(host) && Instant::now() < end {
            thread::sleep(Duration::from_millis(20));
        }
        self.before.assert_same(&what_is_left(host));
        assert_eq!(namespaces(), self.namespaces);
    }
}

/// The arguments that start a container with a server on these ports, or on port 80.
fn start<'a>(name: &'a str, options: &[&'a str], ports: &[&'a str]) -> Vec<&'a str> {
    let fixed = ["run", "--detach", "--name", name, "--hostname", name];
    [&fixed, options, &[IMAGE, "/bin/serve"], ports].concat()
}

/// The addresses that a container has in a network, of IPv4 first.
#[track_caller]
fn addresses(network: &str, id: &str) -> Vec<IpAddr> {
    let leases = state::leases(network);
    let own = leases.iter().filter(|(_, owner)| owner.starts_with(id));
    let addresses: Vec<IpAddr> = own.map(|(address, _)| *address).collect();
    assert!(!addresses.is_empty(), "{network} has {leases:?}");
    addresses
}

/// The network namespaces that have a name.
fn namespaces() -> Vec<OsString> {
    let entries = fs::read_dir("/run/netns").unwrap().flatten();
    let mut names: Vec<OsString> = entries.map(|entry| entry.file_name()).collect();
    names.sort();
    names
}

/// The state of the host without empty directories, locks, and what crun forgets of a container that was killed.
fn what_is_left(host: &Host) -> Snapshot {
    let is_file_of_others = |line: &str| line.starts_with("/run/crun/");
    state::of(host).filtered(|line| {
        !line.ends_with('/') && !line.contains("/lock: ") && !is_file_of_others(line)
    })
}

/// Makes the plugins create the tables and base chains that remain when the last container has gone.
fn create_base_chains(host: &Host) {
    for (backend, protocol) in [
        ("iptables", "tcp"),
        ("iptables", "udp"),
        ("nftables", "tcp"),
        ("nftables", "udp"),
    ] {
        let mut plugins = kubernetes_plugins(backend, &dual_stack());
        plugins[1]["runtimeConfig"]["portMappings"] =
            json!([{"hostPort": 1, "containerPort": 1, "protocol": protocol}]);
        let chain = Chain {
            version: "0.4.0",
            network: "first".into(),
            ..Chain::new(plugins)
        };
        let container = host.container("first");
        chain.add(&container);
        chain.del(&container);
    }
    host.ip("link delete cni0");
}

/// The answer of a server.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    /// Its host name.
    server: String,
    /// The client's address as the server sees it.
    client: IpAddr,
}

/// Asks the server at an address and port from `node`.
fn try_ask(node: &impl Node, to: &str) -> Result<Answer, String> {
    let limit = Duration::from_secs(1) * patience();
    let to: SocketAddr = to.parse().map_err(|err| format!("{to}: {err}"))?;
    let exchange = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&to, limit)?;
        stream.set_read_timeout(Some(limit))?;
        stream.write_all(b"GET /cgi-bin/who HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    let text = node.enter(exchange);
    let text = text.map_err(|err| format!("{} to {to}: {err}", node.label()))?;
    let parse = || {
        let (server, client) = text.lines().last()?.split_once(' ')?;
        // An address of IPv4 is shown as one of IPv6.
        let client = client.trim_matches(['[', ']']);
        let client: Ipv6Addr = client.parse().ok()?;
        Some(Answer {
            server: server.to_owned(),
            client: client.to_canonical(),
        })
    };
    parse().ok_or_else(|| format!("{} to {to}: {text:?}", node.label()))
}

/// The same until there is an answer.
#[track_caller]
fn ask(node: &impl Node, to: &str) -> Answer {
    let end = Instant::now() + Duration::from_secs(10) * patience();
    loop {
        match try_ask(node, to) {
            Ok(answer) => return answer,
            Err(err) if Instant::now() > end => panic!("no answer: {err}"),
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Demands an answer of this server, which must see the client as `client`.
#[track_caller]
fn expect_answer(node: &impl Node, to: &str, server: &str, client: &str) {
    let expected = Answer {
        server: server.to_owned(),
        client: client.parse().unwrap(),
    };
    assert_eq!(ask(node, to), expected, "{} to {to}", node.label());
}

/// Demands that there is no answer.
#[track_caller]
fn expect_silence(node: &impl Node, to: &str) {
    if let Ok(answer) = try_ask(node, to) {
        panic!("{} to {to}: {answer:?}", node.label());
    }
}

/// Waits until `done`, with a text for the message if that takes too long.
#[track_caller]
fn wait_until(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20) * patience();
    while !done() {
        assert!(Instant::now() < end, "{what}: not in time");
        thread::sleep(Duration::from_millis(20));
    }
}
