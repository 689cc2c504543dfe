//! Interoperability with upstream's binaries, which may be replaced while containers run: each side checks and deletes
//! what the other added, and both use the same leases.
//!
//! The peer is Debian's `containernetworking-plugins` 1.1.1 in /usr/lib/cni. It supports the specification up to 1.0.0,
//! without GC and STATUS.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use blackbox::{answer, networks, state};
use serde_json::{Value, json};
use testkit::{Container, Host, Invocation, Node, Plugin, Run, bin_dir, peer_dir};

const V4: &[&str] = &["10.30.0.0/24"];
const V6: &[&str] = &["fd00:30::/64"];
const DUAL: &[&str] = &["10.30.0.0/24", "fd00:30::/64"];

/// An implementation of the plugin, and one of its IPAM plugin.
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

/// Returns a result without values that differ from run to run, and without an empty `dns`: the peer prints one in
/// 1.0.0, unlike newer releases of its library.
fn comparable(run: &Run) -> Value {
    let mut value: Value =
        serde_json::from_str(&answer::normalised(run)).expect("normalised text is JSON");
    if value["dns"] == json!({}) {
        value
            .as_object_mut()
            .expect("a result is an object")
            .remove("dns");
    }
    value
}

/// One side runs ADD, the other runs CHECK and DEL, in every version that both support.
#[track_caller]
fn exchange(adder: Side, remover: Side, subnets: &[&str]) {
    let host = Host::new();
    // The bridge and the directories outlive attachments. Both sides create the same.
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

/// The bridge plugin of one side runs the IPAM plugin of the other.
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

/// DEL of an attachment of the other side after its namespace is gone.
#[test]
fn del_cleans_up_when_the_namespace_is_gone() {
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

/// Both sides print the same result and create the same kernel state.
#[test]
fn results_and_kernel_state_are_the_same() {
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

/// Lease files have the same names and contents on both sides.
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
            // Only ours has it, and upstream ignores it.
            if name == ".index" {
                continue;
            }
            // Only of ours: the peer's files are readable by all, those of later releases are not.
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

/// Both sides in turns allocate the next address, never one twice, and release the addresses of the other.
#[test]
fn both_allocate_and_release_in_turns() {
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
            // Both notice that it has an address already.
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
    // Allocation continues after the last address.
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

/// Both sides allocate the last address of a range, and report that there is no other.
#[test]
fn both_exhaust_a_range() {
    let host = Host::new();
    // .1 is the gateway, .7 the broadcast address: five are left.
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

/// Both sides allocate a requested address, and refuse it to another container.
#[test]
fn both_allocate_requested_addresses() {
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

/// Lease files of very old releases contain only the container ID.
#[test]
fn leases_of_old_releases_are_valid() {
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

/// In 1.0.0 both sides print the same. In older versions the peer prints the form of 1.0.0 all the same.
#[test]
fn results_of_loopback_are_the_same() {
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
