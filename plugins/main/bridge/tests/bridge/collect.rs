//! GC and STATUS.

use crate::common::{bridge, call, dual, ipam_calls, layer2, leases, make_veth, script_ipam};
use serde_json::json;
use testkit::{Host, Node};

#[test]
fn gc_releases_what_no_living_attachment_holds() {
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
        assert_eq!(
            (run.stdout_text(), run.stderr_text()),
            (String::new(), String::new())
        );
        assert_eq!(leases(), ["10.1.0.3", "fd00:1::3"]);
    }
    containers[1].ping("10.1.0.1");
}

#[test]
fn gc_without_a_list_collects_nothing() {
    let host = Host::new();
    let container = host.container("c1");
    bridge().add(&container, &dual(json!({}))).expect_ok();
    bridge().gc(&dual(json!({}))).expect_ok();
    assert_eq!(leases(), ["10.1.0.2", "fd00:1::2"]);
    bridge()
        .gc(&dual(json!({"cni.dev/valid-attachments": []})))
        .expect_ok();
    assert_eq!(leases(), [""; 0]);
}

#[test]
fn gc_and_status_hand_down_what_ipam_says() {
    let host = Host::new();
    script_ipam(&host, "scripted", "");
    let config = layer2(json!({"ipam": {"type": "scripted"}, "cni.dev/valid-attachments": []}));
    call(&host, "GC").config(&config).run().expect_ok();
    call(&host, "STATUS").config(&config).run().expect_ok();
    assert_eq!(ipam_calls(&host, "scripted"), ["GC", "STATUS"]);
    host.write(
        "scripted",
        "#!/bin/sh\necho '{\"code\": 51, \"msg\": \"limited\"}'; exit 1\n",
    );
    for verb in ["GC", "STATUS"] {
        let error = call(&host, verb).config(&config).run().expect_error(51);
        assert_eq!(error.msg, "limited");
    }
}

#[test]
fn status_changes_nothing_and_is_content_with_a_bridge_yet_to_come() {
    let host = Host::new();
    let config = dual(json!({"isGateway": true}));
    let before = host.snapshot();
    bridge().status(&config).expect_ok();
    before.assert_same(&host.snapshot());
    bridge().add(&host.container("c1"), &config).expect_ok();
    bridge().status(&config).expect_ok();
}

#[test]
fn status_names_what_stands_in_the_way() {
    let host = Host::new();
    let missing = layer2(json!({"ipam": {"type": "no-such-ipam"}}));
    bridge()
        .status(&missing)
        .expect_error(999)
        .mentions("failed to find plugin \"no-such-ipam\"");
    bridge()
        .status(&layer2(json!({"hairpinMode": true, "promiscMode": true})))
        .expect_error(999)
        .mentions("cannot set hairpin mode and promiscuous mode at the same time");

    let small = dual(json!({
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/30"}]]},
    }));
    bridge().status(&small).expect_ok();
    bridge().add(&host.container("c1"), &small).expect_ok();
    bridge().status(&small).expect_error(50);

    host.command(&["ip", "link", "del", "cni0"]);
    make_veth(&host, "cni0", "other");
    bridge()
        .status(&dual(json!({})))
        .expect_error(50)
        .mentions("\"cni0\" already exists but is not a bridge");
}

#[test]
fn neither_is_known_to_older_versions() {
    let host = Host::new();
    let old = dual(json!({"cniVersion": "1.0.0"}));
    bridge()
        .gc(&old)
        .expect_error(1)
        .mentions("config version does not allow GC");
    bridge()
        .status(&old)
        .expect_error(1)
        .mentions("config version does not allow STATUS");
    drop(host);
}
