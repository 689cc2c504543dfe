//! GC and STATUS.

use crate::common::{bridge, dual, layer2, make_veth, scripted};
use serde_json::json;
use testkit::{Host, Node, SCRIPTED, ScriptedIpam, leases};

#[test]
fn gc_releases_leases_of_attachments_that_are_not_valid() {
    let host = Host::new();
    let containers: Vec<_> = ["c1", "c2", "c3"].map(|name| host.container(name)).into();
    let config = dual(json!({"isGateway": true}));
    for container in &containers {
        bridge().add(container, &config).expect_ok();
    }
    containers[0].delete();
    let valid = json!([
        {"containerID": "c2", "ifname": "eth0"}, {"containerID": "c3", "ifname": "net1"}
    ]);
    let gc = dual(json!({"isGateway": true, "cni.dev/valid-attachments": valid}));
    for _ in 0..2 {
        let run = bridge().gc(&gc).expect_ok();
        assert_eq!((run.stdout_text(), run.stderr_text()), Default::default());
        assert_eq!(leases("net"), ["10.1.0.3", "fd00:1::3"]);
    }
    containers[1].ping("10.1.0.1");
}

#[test]
fn gc_without_a_list_releases_nothing() {
    let host = Host::new();
    let container = host.container("c1");
    bridge().add(&container, &dual(json!({}))).expect_ok();
    bridge().gc(&dual(json!({}))).expect_ok();
    assert_eq!(leases("net"), ["10.1.0.2", "fd00:1::2"]);
    bridge()
        .gc(&dual(json!({"cni.dev/valid-attachments": []})))
        .expect_ok();
    assert_eq!(leases("net"), [""; 0]);
}

#[test]
fn errors_of_ipam_are_those_of_gc_and_status() {
    let host = Host::new();
    let ipam = ScriptedIpam::new(&host, "");
    let config = scripted(json!({"cni.dev/valid-attachments": []}));
    let run = |verb| ipam.command(&bridge(), verb).config(&config).run();
    run("GC").expect_ok();
    run("STATUS").expect_ok();
    assert_eq!(ipam.calls(), ["GC", "STATUS"]);
    host.write(
        SCRIPTED,
        "#!/bin/sh\necho '{\"code\": 51, \"msg\": \"limited\"}'; exit 1\n",
    );
    for verb in ["GC", "STATUS"] {
        assert_eq!(run(verb).expect_error(51).msg, "limited");
    }
}

#[test]
fn status_succeeds_without_a_bridge_and_changes_nothing() {
    let host = Host::new();
    let config = dual(json!({"isGateway": true}));
    let before = host.snapshot();
    bridge().status(&config).expect_ok();
    before.assert_same(&host.snapshot());
    let container = host.container("c1");
    bridge().add(&container, &config).expect_ok();
    bridge().status(&config).expect_ok();
}

#[test]
fn status_names_why_add_would_fail() {
    let host = Host::new();
    let missing = layer2(json!({"ipam": {"type": "no-such-ipam"}}));
    bridge()
        .status(&missing)
        .expect_error(50)
        .mentions("failed to find plugin \"no-such-ipam\"");
    bridge()
        .status(&layer2(json!({"hairpinMode": true, "promiscMode": true})))
        .expect_error(999)
        .mentions("cannot set hairpin mode and promiscuous mode at the same time");

    let small = dual(json!({
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/30"}]]},
    }));
    bridge().status(&small).expect_ok();
    // It must exist until STATUS has looked: host-local reclaims the address of a container that is gone.
    let c1 = host.container("c1");
    bridge().add(&c1, &small).expect_ok();
    bridge().status(&small).expect_error(50);

    host.ip("link del cni0");
    make_veth(&host, "cni0", "other");
    bridge()
        .status(&dual(json!({})))
        .expect_error(50)
        .mentions("\"cni0\" already exists but is not a bridge");
}

#[test]
fn older_versions_have_neither_gc_nor_status() {
    let _host = Host::new();
    let old = dual(json!({"cniVersion": "1.0.0"}));
    bridge()
        .gc(&old)
        .expect_error(1)
        .mentions("config version does not allow GC");
    bridge()
        .status(&old)
        .expect_error(1)
        .mentions("config version does not allow STATUS");
}
