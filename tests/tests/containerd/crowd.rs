//! Many pods at once.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::thread;

use blackbox::state;

use crate::pods::{NODE, Pod, Pods, list, pod};

/// As many as a node starts after a boot.
const PODS: u16 = 20;

#[track_caller]
fn start_and_stop_at_once(backend: &str) {
    let pods = Pods::new(&list("1.0.0", backend));
    let ids: Vec<String> = thread::scope(|scope| {
        let start = |number| {
            let cri = pods.another_cri();
            let config = pod(&format!("pod{number}"), i32::from(8100 + number));
            scope.spawn(move || cri.run(config).unwrap())
        };
        let running: Vec<_> = (0..PODS).map(start).collect();
        running.into_iter().map(|run| run.join().unwrap()).collect()
    });
    let all: Vec<Pod> = ids.into_iter().map(|id| pods.pod(id)).collect();
    let addresses: BTreeSet<IpAddr> = all.iter().flat_map(|pod| pod.addresses.clone()).collect();
    assert_eq!(addresses.len(), 2 * usize::from(PODS));
    let leases: BTreeSet<IpAddr> = state::leases("pods").into_keys().collect();
    assert_eq!(leases, addresses);
    for (one, port) in all.iter().zip(8100..) {
        for node in NODE {
            pods.seen(one, &pods.client, node, port);
        }
    }
    thread::scope(|scope| {
        for one in &all {
            let cri = pods.another_cri();
            scope.spawn(move || {
                cri.stop(&one.id).unwrap();
                cri.remove(&one.id).unwrap();
            });
        }
    });
    pods.assert_nothing_left();
}

#[test]
fn twenty_with_iptables() {
    start_and_stop_at_once("iptables");
}

#[test]
fn twenty_with_nftables() {
    start_and_stop_at_once("nftables");
}
