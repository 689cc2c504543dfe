//! Containers that are stopped, started and restarted.

use blackbox::state;

use crate::{HOST, NEIGHBOUR, Stage, addresses, expect_answer, expect_silence, wait_until};

#[test]
fn a_restarted_container_is_attached_again() {
    let stage = Stage::new();
    let podman = &stage.podman;
    stage.dual_network("n", 81);
    let fixed = ["--network=n", "--ip=10.81.0.9", "--publish=8080:80"];
    let id = stage.start("c1", &fixed);
    stage.start("c2", &["--network=n", "--publish=8090:80"]);
    let of_c1 = format!("{HOST}:8080");
    expect_answer(&stage.neighbour, &of_c1, "c1", NEIGHBOUR);
    for _ in 0..2 {
        podman.run(&["restart", "--time", "5", "c1"]);
        expect_answer(&stage.neighbour, &of_c1, "c1", NEIGHBOUR);
        let addresses = addresses("n", &id);
        assert_eq!(addresses[0].to_string(), "10.81.0.9");
        assert_eq!(addresses.len(), 2);
    }

    podman.run(&["stop", "--time", "5", "--all"]);
    assert!(state::leases("n").is_empty());
    wait_until("the links are gone", || {
        // That of the neighbour.
        state::veths(&podman.host) == ["out0"]
    });
    expect_silence(&stage.neighbour, &of_c1);

    podman.run(&["start", "--all"]);
    expect_answer(&stage.neighbour, &of_c1, "c1", NEIGHBOUR);
    expect_answer(&stage.neighbour, &format!("{HOST}:8090"), "c2", NEIGHBOUR);
    stage.end();
}
