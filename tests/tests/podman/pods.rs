//! Pods: containers that share a network namespace.

use blackbox::state;
use testkit::runtime::IMAGE;

use crate::{HOST, NEIGHBOUR, Stage, ask, expect_answer, wait_until};

#[test]
fn the_containers_of_a_pod_share_its_attachment() {
    let stage = Stage::new();
    let podman = &stage.podman;
    stage.dual_network("n", 81);
    let pod = ["pod", "create", "--name=p1", "--hostname=p1", "--network=n"];
    let infra = ["--publish=8080:80", "--infra-image", IMAGE];
    podman.run(&[&pod[..], &infra].concat());
    for (name, port) in [("web", "80"), ("other", "81")] {
        let run = ["run", "--detach", "--pod=p1", "--name", name];
        podman.run(&[&run[..], &[IMAGE, "/bin/serve", port]].concat());
    }
    let published = format!("{HOST}:8080");
    expect_answer(&stage.neighbour, &published, "p1", NEIGHBOUR);
    let web = podman.container("web");
    expect_answer(&web, "127.0.0.1:81", "p1", "127.0.0.1");
    assert_eq!(state::leases("n").len(), 2);
    let attached = state::leases("n");

    // The attachment is the pod's, not that of a container.
    stage.remove("web");
    assert_eq!(state::leases("n"), attached);
    assert_eq!(ask(&web, "127.0.0.1:81").server, "p1");
    drop(web);

    podman.run(&["pod", "stop", "--time", "5", "p1"]);
    wait_until("the address is free", || state::leases("n").is_empty());
    podman.run(&["pod", "start", "p1"]);
    assert_eq!(state::leases("n").len(), 2);
    let run = ["run", "--detach", "--pod=p1", IMAGE, "/bin/serve"];
    podman.run(&run);
    expect_answer(&stage.neighbour, &published, "p1", NEIGHBOUR);
    podman.run(&["pod", "rm", "--force", "--time", "0", "p1"]);
    stage.end();
}
