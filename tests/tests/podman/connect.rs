//! Containers with several networks, connected and disconnected while they run.

use blackbox::state;
use testkit::{Node as _, Podman};

use crate::{HOST, NEIGHBOUR, Stage, addresses, expect_answer, expect_silence};

/// The links of a container, without `lo`.
fn links(podman: &Podman, name: &str) -> Vec<String> {
    let mut names = podman.container(name).link_names();
    names.retain(|name| name != "lo");
    names
}

#[test]
fn networks_come_and_go_while_a_container_runs() {
    let stage = Stage::new();
    let (podman, host) = (&stage.podman, &stage.podman.host);
    stage.dual_network("one", 81);
    stage.dual_network("two", 82);
    let one = "--network=one:ip=10.81.0.10,ip=fd00:81::10,mac=02:00:00:00:81:10";
    let id = stage.start("c1", &[one, "--network=two", "--publish=8080:80"]);
    assert_eq!(links(podman, "c1"), ["eth0", "eth1"]);
    let c1 = podman.container("c1");
    let first = (0..2).map(|number| format!("eth{number}"));
    let of_one = first
        .clone()
        .find(|link| c1.addresses(link) == ["10.81.0.10/24", "fd00:81::10/64"]);
    let of_one = of_one.expect("the addresses that were asked for");
    assert_eq!(c1.link_attribute(&of_one, "/address"), "02:00:00:00:81:10");
    expect_answer(host, "10.81.0.10:80", "c1", "10.81.0.1");
    expect_answer(host, "[fd00:81::10]:80", "c1", "fd00:81::1");
    expect_answer(
        host,
        &format!("{}:80", addresses("two", &id)[0]),
        "c1",
        "10.82.0.1",
    );
    let published = format!("{HOST}:8080");
    expect_answer(&stage.neighbour, &published, "c1", NEIGHBOUR);

    // The port moves to the other network.
    podman.run(&["network", "disconnect", "one", "c1"]);
    assert_eq!(links(podman, "c1").len(), 1);
    assert!(state::leases("one").is_empty());
    expect_answer(&stage.neighbour, &published, "c1", NEIGHBOUR);

    let connect = ["network", "connect", "--ip=10.81.0.77", "--ip6=fd00:81::77"];
    let mac = "--mac-address=02:00:00:00:81:77";
    podman.run(&[&connect[..], &[mac, "one", "c1"]].concat());
    expect_answer(host, "10.81.0.77:80", "c1", "10.81.0.1");
    expect_answer(host, "[fd00:81::77]:80", "c1", "fd00:81::1");

    podman.run(&["network", "disconnect", "two", "c1"]);
    podman.run(&["network", "rm", "two"]);
    expect_answer(&stage.neighbour, &published, "c1", NEIGHBOUR);
    podman.run(&["network", "disconnect", "one", "c1"]);
    assert!(links(podman, "c1").is_empty());
    expect_silence(&stage.neighbour, &published);
    stage.end();
}

#[test]
fn an_address_that_is_taken_is_refused() {
    let stage = Stage::new();
    let podman = &stage.podman;
    stage.network("n", &["--subnet=10.81.0.0/24"]);
    stage.start("c1", &["--network=n", "--ip=10.81.0.9"]);
    let options = ["--network=n", "--ip=10.81.0.9", "--publish=8080:80"];
    let run = podman.call(&crate::start("c2", &options, &[])).run();
    assert!(!run.is_ok());
    let error = run.stderr_text();
    assert!(error.contains("10.81.0.9"), "{error}");
    assert_eq!(state::leases("n").len(), 1);
    stage.remove("c1");
    // Podman has kept the container.
    podman.run(&["start", "c2"]);
    expect_answer(&stage.neighbour, &format!("{HOST}:8080"), "c2", NEIGHBOUR);
    stage.end();
}
