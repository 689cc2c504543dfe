//! Both implementations on the same leases of host-local, in turns.

use std::fs;
use std::path::Path;

use blackbox::{answer, networks, state};
use testkit::{Container, Host};

use crate::side::{BOTH, Side};

const V4: &[&str] = &["10.30.0.0/24"];
const DUAL: &[&str] = &["10.30.0.0/24", "fd00:30::/64"];

/// The implementation whose turn it is.
fn turn(n: usize) -> Side {
    BOTH[n % 2]
}

/// Both sides in turns allocate the next address, never one twice, and release the addresses of the other.
#[test]
fn both_allocate_and_release_in_turns() {
    let host = Host::new();
    let config = networks::bridged("1.0.0", DUAL);
    let containers: Vec<Container> = (0..20).map(|n| host.container(&format!("c{n}"))).collect();
    for (n, container) in containers.iter().enumerate() {
        let run = turn(n).run("host-local", "ADD", container, &config);
        let result = run.expect_ok().json();
        assert_eq!(result["ips"][0]["address"], format!("10.30.0.{}/24", n + 2));
        let ipv6 = format!("fd00:30::{:x}/64", n + 2);
        assert_eq!(result["ips"][1]["address"], ipv6);
    }
    for (n, container) in containers.iter().enumerate() {
        for side in BOTH {
            answer::silent(side.run("host-local", "CHECK", container, &config));
            // Both notice that it has an address already.
            let error = answer::failure(side.run("host-local", "ADD", container, &config));
            let text = "duplicate allocation is not allowed";
            assert!(error.msg.contains(text), "{}", error.msg);
        }
        assert_eq!(state::leases("net").len(), 2 * (20 - n));
        answer::silent(turn(n + 1).run("host-local", "DEL", container, &config));
        for side in BOTH {
            answer::failure(side.run("host-local", "CHECK", container, &config));
        }
    }
    assert_eq!(state::leases("net").len(), 0);
    // Allocation continues after the last address.
    for (n, container) in containers.iter().enumerate() {
        let run = turn(n).run("host-local", "ADD", container, &config);
        let result = run.expect_ok().json();
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
    for round in [Side::Ours, Side::Peer, Side::Ours] {
        for (n, container) in containers[..5].iter().enumerate() {
            let run = turn(n).run("host-local", "ADD", container, &config);
            run.expect_ok();
        }
        for side in BOTH {
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
    for (first, second) in [(Side::Ours, Side::Peer), (Side::Peer, Side::Ours)] {
        let add = |side: Side, container| {
            let call = side.call("host-local", "ADD", container, &config);
            call.args("IP=10.30.0.77").run()
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
    for side in BOTH {
        fs::write(dir.join("10.30.0.2"), "c1").expect("write a lease");
        answer::silent(side.run("host-local", "CHECK", &container, &config));
        let error = answer::failure(side.run("host-local", "ADD", &container, &config));
        let text = "duplicate allocation is not allowed";
        assert!(error.msg.contains(text), "{}", error.msg);
        answer::silent(side.run("host-local", "DEL", &container, &config));
        assert_eq!(state::leases("net").len(), 0);
    }
}
