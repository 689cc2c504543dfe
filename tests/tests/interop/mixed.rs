//! The plugin of one side with the IPAM plugin of the other, and attachments whose namespace is gone.

use std::path::PathBuf;

use blackbox::{answer, networks, state};
use serde_json::{Value, json};
use testkit::{Container, Host, Node, Run};

use crate::exchange::VERSIONS;
use crate::side::{BOTH, Side};

const SUBNETS: &[&str] = &["10.30.0.0/24", "fd00:30::/64"];

/// The side of the plugin, and that of its IPAM plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mix(Side, Side);

const MIXES: [Mix; 4] = [
    Mix(Side::Ours, Side::Ours),
    Mix(Side::Ours, Side::Peer),
    Mix(Side::Peer, Side::Ours),
    Mix(Side::Peer, Side::Peer),
];

impl Mix {
    #[track_caller]
    fn run(self, verb: &str, container: &Container, config: &Value) -> Run {
        let path: PathBuf = self.1.dir();
        let call = self.0.call("bridge", verb, container, config);
        call.path(path).run()
    }
}

/// A host on which the bridge and the directories, which outlive attachments, exist.
#[track_caller]
fn used_host(mix: Mix) -> Host {
    let host = Host::new();
    host.set_sysctl("net/ipv6/conf/default/accept_dad", "0");
    let container = host.container("first");
    let config = networks::bridged("1.0.0", SUBNETS);
    for verb in ["ADD", "DEL"] {
        mix.run(verb, &container, &config).expect_ok();
    }
    drop(container);
    host
}

/// One mix runs ADD, the other runs CHECK and DEL.
#[track_caller]
fn exchange(adder: Mix, remover: Mix) {
    let host = used_host(adder);
    for version in &VERSIONS[1..] {
        let container = host.container("c1");
        let before = state::of(&host);
        let config = networks::bridged(version, SUBNETS);
        let added = adder.run("ADD", &container, &config).expect_ok();
        let with_prev = added.with_prev();
        if networks::ordinal(version) >= [0, 4, 0] {
            answer::silent(remover.run("CHECK", &container, &with_prev));
        }
        answer::silent(remover.run("DEL", &container, &with_prev));
        state::assert_back(&before, &host);
    }
}

#[test]
fn bridge_of_one_side_with_ipam_of_the_other() {
    for adder in MIXES {
        for remover in MIXES {
            // The others are cases of bridge.
            if adder.0 != adder.1 || remover.0 != remover.1 {
                exchange(adder, remover);
            }
        }
    }
}

/// DEL of an attachment of the other side after its namespace is gone.
#[test]
fn del_cleans_up_when_the_namespace_is_gone() {
    for (adder, remover) in [(MIXES[0], MIXES[3]), (MIXES[3], MIXES[0])] {
        let host = used_host(adder);
        let config = networks::bridged("1.0.0", SUBNETS);
        let before = state::of(&host);
        let container = host.container("c1");
        let added = adder.run("ADD", &container, &config).expect_ok();
        let call = remover
            .0
            .call("bridge", "DEL", &container, &added.with_prev());
        drop(container);
        answer::silent(call.run());
        state::assert_back(&before, &host);
    }
}

/// Both attach containers to one bridge at the same time, and each reaches each.
#[test]
fn containers_of_both_sides_share_a_bridge() {
    let host = Host::new();
    let containers: Vec<Container> = (1..=4).map(|n| host.container(&format!("c{n}"))).collect();
    let config = networks::bridged("1.0.0", SUBNETS);
    let mut added = Vec::new();
    for (container, side) in containers.iter().zip(BOTH.iter().cycle()) {
        added.push(side.run("bridge", "ADD", container, &config).expect_ok());
    }
    for (own, container) in (2..).zip(&containers) {
        // Its own address is on lo, which is down.
        for last in (1..=5).filter(|last| *last != own) {
            container.ping(&format!("10.30.0.{last}"));
        }
    }
    for ((container, run), side) in containers.iter().zip(&added).zip(BOTH.iter().rev().cycle()) {
        answer::silent(side.run("bridge", "DEL", container, &run.with_prev()));
    }
    assert!(state::veths(&host).is_empty());
    assert_eq!(state::leases("net"), Default::default());
    assert_eq!(json!(host.link_names()), json!(["cni0", "lo"]));
}
