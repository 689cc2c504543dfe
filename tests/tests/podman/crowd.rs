//! Many containers at once.

use std::collections::BTreeSet;

use blackbox::state;
use testkit::run_all;

use crate::{HOST, NEIGHBOUR, Stage, expect_answer, start};

/// Their number.
const CROWD: u16 = 12;

#[test]
fn twelve_containers_start_and_end_at_once() {
    let stage = Stage::new();
    let podman = &stage.podman;
    stage.dual_network("n", 81);
    let names: Vec<String> = (0..CROWD).map(|number| format!("c{number}")).collect();
    let calls = names.iter().zip(9000..).map(|(name, port)| {
        let publish = format!("--publish={port}:80");
        podman.call(&start(name, &["--network=n", &publish], &[]))
    });
    let started = run_all(calls);
    started.into_iter().for_each(|run| drop(run.expect_ok()));
    let leases = state::leases("n");
    let owners: BTreeSet<&String> = leases.values().collect();
    assert_eq!((leases.len(), owners.len()), (24, 12), "{leases:?}");
    for (name, port) in names.iter().zip(9000..) {
        expect_answer(&stage.neighbour, &format!("{HOST}:{port}"), name, NEIGHBOUR);
    }
    let remove = ["rm", "--force", "--time", "0"];
    let calls = names
        .iter()
        .map(|name| podman.call(&[&remove[..], &[name.as_str()]].concat()));
    let removed = run_all(calls);
    removed.into_iter().for_each(|run| drop(run.expect_ok()));
    assert!(state::leases("n").is_empty());
    stage.end();
}
