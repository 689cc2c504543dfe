//! Processes of a container that are killed.

use blackbox::state;
use serde_json::Value;

use crate::{HOST, NEIGHBOUR, Stage, expect_answer, wait_until};

/// Kills processes of a container, by their keys in the output of `podman inspect`.
fn kill(stage: &Stage, name: &str, keys: &[&str]) {
    let about = stage.podman.inspect(name);
    let ids = keys.iter().map(|key| about["State"][key].to_string());
    let ids: Vec<String> = ids.collect();
    assert!(!ids.contains(&Value::Null.to_string()), "{about}");
    let runtime = &stage.podman.runtime;
    runtime.kill("KILL", &ids.join(" "));
}

#[test]
fn killed_containers_leave_nothing() {
    let stage = Stage::new();
    let podman = &stage.podman;
    stage.dual_network("n", 81);
    let published = format!("{HOST}:8080");
    stage.start("c1", &["--network=n", "--publish=8080:80"]);
    expect_answer(&stage.neighbour, &published, "c1", NEIGHBOUR);
    // conmon notices and has Podman clean up.
    kill(&stage, "c1", &["Pid"]);
    wait_until("the address is free", || state::leases("n").is_empty());
    wait_until("the container has ended", || {
        podman.inspect("c1")["State"]["Status"] == "exited"
    });
    podman.run(&["start", "c1"]);
    expect_answer(&stage.neighbour, &published, "c1", NEIGHBOUR);

    // Without conmon the container goes on.
    kill(&stage, "c1", &["ConmonPid"]);
    expect_answer(&stage.neighbour, &published, "c1", NEIGHBOUR);
    stage.remove("c1");
    assert!(state::leases("n").is_empty());

    // Nobody is left to clean up but the next command.
    stage.start("c2", &["--network=n", "--publish=8080:80"]);
    kill(&stage, "c2", &["ConmonPid", "Pid"]);
    stage.remove("c2");
    assert!(state::leases("n").is_empty());

    stage.start("c3", &["--network=n", "--publish=8080:80"]);
    expect_answer(&stage.neighbour, &published, "c3", NEIGHBOUR);
    stage.end();
}
