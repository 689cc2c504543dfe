//! DEL whatever is left of the attachment; IPAM is always called.

use crate::common::{attached, bridge, call, dual, handing_out, make_veth, scripted};
use serde_json::{Value, json};
use testkit::{Container, Host, Node, SCRIPTED, leases};

fn dual_stack(host: &Host) -> (Container, Value) {
    let (container, run) = attached(host, "c1", &dual(json!({"isGateway": true})));
    assert_eq!(leases("net"), ["10.1.0.2", "fd00:1::2"]);
    (container, run.with_prev())
}

#[test]
fn without_the_namespace() {
    let host = Host::new();
    let (container, config) = dual_stack(&host);
    container.delete();
    for _ in 0..2 {
        bridge().del(&container, &config).expect_ok();
        assert_eq!(leases("net"), [""; 0]);
    }
}

#[test]
fn with_cni_netns_empty_or_unset() {
    let host = Host::new();
    let (container, config) = dual_stack(&host);
    let call = bridge()
        .command("DEL")
        .container(&container)
        .config(&config);
    call.clone().netns("").run().expect_ok();
    call.without_env("CNI_NETNS").run().expect_ok();
    assert_eq!(leases("net"), [""; 0]);
}

#[test]
fn without_the_link() {
    let host = Host::new();
    let (container, config) = dual_stack(&host);
    container.ip("link del eth0");
    bridge().del(&container, &config).expect_ok();
    assert_eq!(leases("net"), [""; 0]);
}

#[test]
fn without_the_bridge() {
    let host = Host::new();
    let (container, config) = dual_stack(&host);
    host.ip("link del cni0");
    bridge().del(&container, &config).expect_ok();
    assert_eq!(leases("net"), [""; 0]);
    assert_eq!(host.link_names(), ["lo"]);
}

#[test]
fn without_prev_result() {
    let host = Host::new();
    let (container, mut config) = dual_stack(&host);
    config.as_object_mut().unwrap().remove("prevResult");
    bridge().del(&container, &config).expect_ok();
    assert_eq!(leases("net"), [""; 0]);
    assert_eq!(container.link_names(), ["lo"]);
}

#[test]
fn with_a_configuration_that_add_would_refuse() {
    for (key, value) in [
        ("bridge", json!("")),
        ("mtu", json!("big")),
        ("vlan", json!(9999)),
        ("vlanTrunk", json!([{"minID": 5}])),
        ("ipMasq", json!(true)),
        ("macspoofchk", json!(true)),
        ("runtimeConfig", json!({"mac": "none"})),
        ("promiscMode", json!(true)),
        ("prevResult", json!({"cniVersion": "9.9.9", "ips": 7})),
        ("dns", json!([])),
    ] {
        let host = Host::new();
        let (container, mut config) = dual_stack(&host);
        config["hairpinMode"] = true.into();
        config[key] = value;
        bridge()
            .command("DEL")
            .container(&container)
            .args("UNKNOWN=1;malformed")
            .config(&config)
            .run()
            .expect_ok();
        assert_eq!(leases("net"), [""; 0], "{key}");
        assert_eq!(container.link_names(), ["lo"], "{key}");
    }
}

#[test]
fn in_the_hosts_namespace_the_lease_is_released_and_no_link_deleted() {
    let host = Host::new();
    let (container, config) = dual_stack(&host);
    make_veth(&host, "eth0", "eth1");
    bridge()
        .command("DEL")
        .container(&container)
        .netns("/proc/self/ns/net")
        .config(&config)
        .run()
        .expect_error(8);
    assert_eq!(leases("net"), [""; 0]);
    assert!(host.link("eth0").is_some());
}

#[test]
fn the_link_is_deleted_though_ipam_fails() {
    let host = Host::new();
    let container = host.container("c1");
    let ipam = handing_out(&host, json!([{"address": "10.3.0.9/24"}]));
    let config = scripted(json!({}));
    call(&ipam, "ADD", &container, &config).expect_ok();
    let failing =
        "#!/bin/sh\necho '{\"code\": 11, \"msg\": \"busy\", \"details\": \"later\"}'\nexit 1\n";
    host.write(SCRIPTED, failing);
    let error = call(&ipam, "DEL", &container, &config).expect_error(11);
    assert!(
        error
            .text()
            .starts_with("busy; later; delegate: scripted ("),
        "{error:?}"
    );
    assert_eq!(container.link_names(), ["lo"]);
}

#[test]
fn of_an_attachment_that_never_existed() {
    let host = Host::new();
    let container = host.container("c1");
    let before = host.snapshot();
    bridge().del(&container, &dual(json!({}))).expect_ok();
    let files = "/var/lib/cni";
    before
        .without(files)
        .assert_same(&host.snapshot().without(files));
}

#[test]
fn other_attachments_are_left_alone() {
    let host = Host::new();
    let (container, config) = dual_stack(&host);
    let other = host.container("c2");
    let run = bridge()
        .add(&other, &dual(json!({"isGateway": true})))
        .expect_ok();
    bridge().del(&container, &config).expect_ok();
    bridge().check(&other, &run.with_prev()).expect_ok();
    other.ping("fd00:1::1");
    assert_eq!(leases("net"), ["10.1.0.3", "fd00:1::3"]);
}

#[test]
fn ipam_is_called_once_for_each_call() {
    let host = Host::new();
    let container = host.container("c1");
    let ipam = handing_out(&host, json!([{"address": "10.3.0.9/24"}]));
    let run = call(&ipam, "ADD", &container, &scripted(json!({}))).expect_ok();
    for verb in ["CHECK", "DEL", "DEL"] {
        call(&ipam, verb, &container, &run.with_prev()).expect_ok();
    }
    assert_eq!(ipam.calls(), ["ADD", "CHECK", "DEL", "DEL"]);
}
