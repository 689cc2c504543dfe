//! A node changes from upstream's binaries to ours, or back, while containers run: what the ones ADDed, the
//! others CHECK and DEL, and both keep the same account of addresses.
//!
//! The peer is Debian's `containernetworking-plugins` 1.1.1 in /usr/lib/cni. It knows the specification up to
//! 1.0.0; GC and STATUS it does not know.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use blackbox::{answer, networks, state};
use serde_json::{Value, json};
use testkit::{Container, Host, Invocation, Node, Plugin, Run, bin_dir, peer_dir};

const V4: &[&str] = &["10.30.0.0/24"];
const V6: &[&str] = &["fd00:30::/64"];
const DUAL: &[&str] = &["10.30.0.0/24", "fd00:30::/64"];

/// One of the two sides. For `bridge` the IPAM plugin may be of the other side: `ipam` says where it is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Side {
    ours: bool,
    our_ipam: bool,
}

const OURS: Side = Side {
    ours: true,
    our_ipam: true,
};
const PEER: Side = Side {
    ours: false,
    our_ipam: false,
};
const MIXED: [Side; 2] = [
    Side {
        ours: true,
        our_ipam: false,
    },
    Side {
        ours: false,
        our_ipam: true,
    },
];

impl Side {
    fn call(self, plugin: &str, verb: &str, container: &Container, config: &Value) -> Invocation {
        let program = if self.ours {
            Plugin::new(plugin)
        } else {
            Plugin::peer(plugin)
        };
        let path: PathBuf = if self.our_ipam { bin_dir() } else { peer_dir() };
        program
            .command(verb)
            .path(path)
            .container(container)
            .config(config)
    }

    fn run(self, plugin: &str, verb: &str, container: &Container, config: &Value) -> Run {
        self.call(plugin, verb, container, config).run()
    }
}

/// A result's value without what differs by chance, and without an empty `dns`: the peer prints one in 1.0.0,
/// newer releases of its library and ours do not.
fn comparable(run: &Run) -> Value {
    let mut value: Value =
        serde_json::from_str(&answer::normalised(run)).expect("normalised text is JSON still");
    if value["dns"] == json!({}) {
        value
            .as_object_mut()
            .expect("a result is an object")
            .remove("dns");
    }
    value
}

/// Each side ADDs, another CHECKs and DELs, in every version that both know.
#[track_caller]
fn exchange(adder: Side, remover: Side, subnets: &[&str]) {
    let host = Host::new();
    // The bridge and the directories stay for good, and both sides make them alike.
    let container = host.container("first");
    let config = networks::bridged("1.0.0", subnets);
    adder.run("bridge", "ADD", &container, &config).expect_ok();
    state::wait_for_addresses(&host);
    adder.run("bridge", "DEL", &container, &config).expect_ok();
    for version in ["0.2.0", "0.3.1", "0.4.0", "1.0.0"] {
        let container = host.container("c1");
        let before = state::of(&host);
        let config = networks::bridged(version, subnets);
        let added = adder.run("bridge", "ADD", &container, &config).expect_ok();
        let with_prev = added.with_prev();
        if networks::ordinal(version) >= [0, 4, 0] {
            answer::silent(remover.run("bridge", "CHECK", &container, &with_prev));
        }
        answer::silent(remover.run("bridge", "DEL", &container, &with_prev));
        state::assert_back(&before, &host);
    }
}

#[test]
fn bridge_ipv4() {
    exchange(OURS, PEER, V4);
    exchange(PEER, OURS, V4);
}

#[test]
fn bridge_ipv6() {
    exchange(OURS, PEER, V6);
    exchange(PEER, OURS, V6);
}

#[test]
fn bridge_dual_stack() {
    exchange(OURS, PEER, DUAL);
    exchange(PEER, OURS, DUAL);
}

/// Half of the binaries exchanged: bridge of the one side, IPAM plugin of the other.
#[test]
fn bridge_of_one_side_with_ipam_of_the_other() {
    for mixed in MIXED {
        for pure in [OURS, PEER] {
            exchange(mixed, pure, DUAL);
            exchange(pure, mixed, DUAL);
        }
        exchange(mixed, mixed, DUAL);
    }
}

/// DEL of what the other side ADDed when the namespace is gone already.
#[test]
fn the_namespace_is_gone() {
    for (adder, remover) in [(OURS, PEER), (PEER, OURS)] {
        let host = Host::new();
        let config = networks::bridged("1.0.0", DUAL);
        let container = host.container("first");
        adder.run("bridge", "ADD", &container, &config).expect_ok();
        state::wait_for_addresses(&host);
        adder.run("bridge", "DEL", &container, &config).expect_ok();
        drop(container);
        let before = state::of(&host);
        let container = host.container("c1");
        let added = adder.run("bridge", "ADD", &container, &config).expect_ok();
        let del = remover.call("bridge", "DEL", &container, &added.with_prev());
        drop(container);
        answer::silent(del.run());
        state::assert_back(&before, &host);
    }
}

/// Both build the same result and the same kernel state.
#[test]
fn both_build_the_same() {
    for subnets in [V4, V6, DUAL] {
        for version in ["0.3.1", "0.4.0", "1.0.0"] {
            let config = networks::bridged(version, subnets);
            let look = |side: Side| {
                let host = Host::new();
                let container = host.container("c1");
                let added = side.run("bridge", "ADD", &container, &config).expect_ok();
                let kinds = |node: &dyn Fn(&[&str]) -> Value| -> Vec<Value> {
                    let links = node(&["-d", "link", "show"]);
                    links
                        .as_array()
                        .into_iter()
                        .flatten()
                        .map(|l| l["linkinfo"]["info_kind"].clone())
                        .collect()
                };
                let eth0 = container.link("eth0").expect("eth0 is there");
                let port = host
                    .link(&state::veths(&host)[0])
                    .expect("the host's end is there");
                (
                    comparable(&added),
                    [
                        container.addresses("eth0"),
                        container.routes("-4"),
                        container.routes("-6"),
                    ],
                    [host.addresses("cni0"), host.routes("-4"), host.routes("-6")],
                    [
                        kinds(&|args| container.ip_json(args)),
                        kinds(&|args| host.ip_json(args)),
                    ],
                    [
                        eth0["mtu"].clone(),
                        port["mtu"].clone(),
                        port["master"].clone(),
                    ],
                    port["linkinfo"]["info_slave_data"]["hairpin"].clone(),
                    [
                        host.sysctl("net/ipv4/ip_forward"),
                        host.sysctl("net/ipv6/conf/all/forwarding"),
                        host.sysctl("net/ipv6/conf/cni0/accept_ra"),
                        container.sysctl("net/ipv4/conf/eth0/arp_notify"),
                    ],
                )
            };
            assert_eq!(look(OURS), look(PEER), "{version} {subnets:?}");
        }
    }
}

/// The account of addresses: same files, names and content, whoever wrote them.
#[test]
fn leases_are_the_same_files() {
    let config = networks::bridged("1.0.0", DUAL);
    let look = |side: Side| {
        let host = Host::new();
        let (c1, c2) = (host.container("c1"), host.container("c2"));
        for container in [&c1, &c2] {
            side.run("host-local", "ADD", container, &config)
                .expect_ok();
        }
        side.run("host-local", "DEL", &c1, &config).expect_ok();
        let mut files: Vec<(String, String)> = Vec::new();
        for file in fs::read_dir(Path::new(state::LEASES).join("net"))
            .expect("read")
            .flatten()
        {
            let name = file.file_name().to_string_lossy().into_owned();
            // Ours alone, and nothing upstream would trip over.
            if name == ".index" {
                continue;
            }
            // Only ours: the peer's files are readable for all, later releases' no longer.
            if side == OURS {
                let mode = file.metadata().expect("metadata").permissions().mode() & 0o7777;
                assert_eq!(mode, if name == "lock" { 0o750 } else { 0o600 }, "{name}");
            }
            files.push((name, fs::read_to_string(file.path()).expect("a text")));
        }
        files.sort();
        let dir = fs::metadata(Path::new(state::LEASES).join("net")).expect("metadata");
        (files, dir.permissions().mode() & 0o7777)
    };
    assert_eq!(look(OURS), look(PEER));
}

/// Taking turns, both hand out the next address, never one twice, and each gives back the other's.
#[test]
fn host_local_takes_turns() {
    let host = Host::new();
    let config = networks::bridged("1.0.0", DUAL);
    let containers: Vec<Container> = (0..20).map(|n| host.container(&format!("c{n}"))).collect();
    let turn = |n: usize| if n.is_multiple_of(2) { OURS } else { PEER };
    for (n, container) in containers.iter().enumerate() {
        let result = turn(n)
            .run("host-local", "ADD", container, &config)
            .expect_ok()
            .json();
        assert_eq!(result["ips"][0]["address"], format!("10.30.0.{}/24", n + 2));
        assert_eq!(
            result["ips"][1]["address"],
            format!("fd00:30::{:x}/64", n + 2)
        );
    }
    for (n, container) in containers.iter().enumerate() {
        for side in [OURS, PEER] {
            answer::silent(side.run("host-local", "CHECK", container, &config));
            // Both know that it holds an address already.
            let error = answer::failure(side.run("host-local", "ADD", container, &config));
            assert!(
                error.msg.contains("duplicate allocation is not allowed"),
                "{}",
                error.msg
            );
        }
        assert_eq!(state::leases("net").len(), 2 * (20 - n));
        answer::silent(turn(n + 1).run("host-local", "DEL", container, &config));
        for side in [OURS, PEER] {
            answer::failure(side.run("host-local", "CHECK", container, &config));
        }
    }
    assert_eq!(state::leases("net").len(), 0);
    // And on from where the last one was handed out.
    for (n, container) in containers.iter().enumerate() {
        let result = turn(n)
            .run("host-local", "ADD", container, &config)
            .expect_ok()
            .json();
        assert_eq!(
            result["ips"][0]["address"],
            format!("10.30.0.{}/24", n + 22)
        );
    }
}

/// A range that is nearly used up: both find the last address, and agree that there is no more.
#[test]
fn host_local_agrees_on_the_end() {
    let host = Host::new();
    // .1 is the gateway's, .7 the broadcast address: five are left.
    let config = networks::bridged("1.0.0", &["10.30.0.0/29"]);
    let containers: Vec<Container> = (0..6).map(|n| host.container(&format!("c{n}"))).collect();
    for round in [OURS, PEER, OURS] {
        for (n, container) in containers[..5].iter().enumerate() {
            let side = if n.is_multiple_of(2) { PEER } else { OURS };
            side.run("host-local", "ADD", container, &config)
                .expect_ok();
        }
        for side in [OURS, PEER] {
            let error = answer::failure(side.run("host-local", "ADD", &containers[5], &config));
            let text = "failed to allocate for range 0: no IP addresses available in range set: 10.30.0.1-10.30.0.6";
            assert!(error.msg.starts_with(text), "{}", error.msg);
        }
        for container in &containers {
            answer::silent(round.run("host-local", "DEL", container, &config));
        }
        assert_eq!(state::leases("net").len(), 0);
    }
}

/// A requested address; both refuse it to a second one.
#[test]
fn host_local_agrees_on_requested_addresses() {
    let host = Host::new();
    let config = networks::bridged("1.0.0", V4);
    let (c1, c2) = (host.container("c1"), host.container("c2"));
    for (first, second) in [(OURS, PEER), (PEER, OURS)] {
        let add = |side: Side, container| {
            side.call("host-local", "ADD", container, &config)
                .args("IP=10.30.0.77")
                .run()
        };
        let result = add(first, &c1).expect_ok().json();
        assert_eq!(result["ips"][0]["address"], "10.30.0.77/24");
        let text =
            "requested IP address 10.30.0.77 is not available in range set 10.30.0.1-10.30.0.254";
        assert!(answer::failure(add(second, &c2)).msg.contains(text));
        answer::silent(second.run("host-local", "DEL", &c1, &config));
    }
}

/// Files of very old releases hold the container's ID alone.
#[test]
fn leases_of_old_releases_count() {
    let config = networks::bridged("1.0.0", V4);
    let host = Host::new();
    let container = host.container("c1");
    let dir = Path::new(state::LEASES).join("net");
    fs::create_dir_all(&dir).expect("make the network's directory");
    for side in [OURS, PEER] {
        fs::write(dir.join("10.30.0.2"), "c1").expect("write a lease");
        answer::silent(side.run("host-local", "CHECK", &container, &config));
        let error = answer::failure(side.run("host-local", "ADD", &container, &config));
        assert!(
            error.msg.contains("duplicate allocation is not allowed"),
            "{}",
            error.msg
        );
        answer::silent(side.run("host-local", "DEL", &container, &config));
        assert_eq!(state::leases("net").len(), 0);
    }
}

#[test]
fn loopback() {
    for (adder, remover) in [(OURS, PEER), (PEER, OURS)] {
        for version in ["0.2.0", "0.3.1", "0.4.0", "1.0.0"] {
            let host = Host::new();
            let container = host.container("c1");
            let config = networks::loopback(version);
            let run = |side: Side, verb: &str, config: &Value| {
                side.call("loopback", verb, &container, config)
                    .ifname("lo")
                    .run()
            };
            let before = state::of(&host);
            let added = run(adder, "ADD", &config).expect_ok();
            container.ping("127.0.0.1");
            if networks::ordinal(version) >= [0, 4, 0] {
                answer::silent(run(remover, "CHECK", &added.with_prev()));
            }
            answer::silent(run(remover, "DEL", &config));
            state::assert_back(&before, &host);
        }
    }
}

/// In 1.0.0 both report the same. Not so below: there the peer prints the shape of 1.0.0 whatever the version.
#[test]
fn loopback_reports_the_same() {
    let host = Host::new();
    let config = networks::loopback("1.0.0");
    let results: Vec<Value> = [OURS, PEER]
        .map(|side| {
            let container = host.container("c1");
            let run = side
                .call("loopback", "ADD", &container, &config)
                .ifname("lo")
                .run();
            comparable(&run)
        })
        .into();
    assert_eq!(results[0], results[1]);
}
