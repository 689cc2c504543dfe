//! DEL from whatever state there is, and always through to IPAM.

use crate::common::{bridge, call, dual, ipam_calls, layer2, leases, script_ipam, script_result};
use serde_json::{Value, json};
use testkit::{Container, Host, Node};

fn attached(host: &Host) -> (Container, Value) {
    let container = host.container("c1");
    let run = bridge()
        .add(&container, &dual(json!({"isGateway": true})))
        .expect_ok();
    assert_eq!(leases(), ["10.1.0.2", "fd00:1::2"]);
    (container, run.with_prev())
}

#[test]
fn with_the_namespace_gone() {
    let host = Host::new();
    let (container, config) = attached(&host);
    container.delete();
    for _ in 0..2 {
        bridge().del(&container, &config).expect_ok();
        assert_eq!(leases(), [""; 0]);
    }
    // The links go with the last who holds the namespace.
    drop(container);
}

#[test]
fn with_an_empty_namespace_variable() {
    let host = Host::new();
    let (container, config) = attached(&host);
    let call = bridge()
        .command("DEL")
        .container(&container)
        .config(&config);
    call.clone().netns("").run().expect_ok();
    call.without_env("CNI_NETNS").run().expect_ok();
    assert_eq!(leases(), [""; 0]);
}

#[test]
fn with_the_link_gone() {
    let host = Host::new();
    let (container, config) = attached(&host);
    container.command(&["ip", "link", "del", "eth0"]);
    bridge().del(&container, &config).expect_ok();
    assert_eq!(leases(), [""; 0]);
}

#[test]
fn with_the_bridge_gone() {
    let host = Host::new();
    let (container, config) = attached(&host);
    host.command(&["ip", "link", "del", "cni0"]);
    bridge().del(&container, &config).expect_ok();
    assert_eq!(leases(), [""; 0]);
    assert_eq!(host.link_names(), ["lo"]);
}

#[test]
fn without_prev_result() {
    let host = Host::new();
    let (container, mut config) = attached(&host);
    config.as_object_mut().unwrap().remove("prevResult");
    bridge().del(&container, &config).expect_ok();
    assert_eq!(leases(), [""; 0]);
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
        let (container, mut config) = attached(&host);
        config["hairpinMode"] = true.into();
        config[key] = value;
        bridge()
            .command("DEL")
            .container(&container)
            .args("UNKNOWN=1;malformed")
            .config(&config)
            .run()
            .expect_ok();
        assert_eq!(leases(), [""; 0], "{key}");
        assert_eq!(container.link_names(), ["lo"], "{key}");
    }
}

#[test]
fn from_the_hosts_own_namespace_releases_but_unplugs_nothing() {
    let host = Host::new();
    let (container, config) = attached(&host);
    crate::common::make_veth(&host, "eth0", "eth1");
    bridge()
        .command("DEL")
        .container(&container)
        .netns("/proc/self/ns/net")
        .config(&config)
        .run()
        .expect_error(8);
    assert_eq!(leases(), [""; 0]);
    assert!(host.link("eth0").is_some());
}

#[test]
fn an_ipam_that_fails_keeps_its_code_and_the_link_is_gone_all_the_same() {
    let host = Host::new();
    let container = host.container("c1");
    script_result(
        &host,
        "scripted",
        &json!({"cniVersion": "1.1.0", "ips": [{"address": "10.3.0.9/24"}]}),
    );
    let config = layer2(json!({"ipam": {"type": "scripted"}}));
    crate::common::add(&host, &container, &config).expect_ok();
    let failing =
        "#!/bin/sh\necho '{\"code\": 11, \"msg\": \"busy\", \"details\": \"later\"}'\nexit 1\n";
    host.write("scripted", failing);
    let del = || call(&host, "DEL").container(&container).config(&config);
    let error = del().run().expect_error(11);
    assert!(
        error
            .text()
            .starts_with("busy; later; delegate: scripted ("),
        "{error:?}"
    );
    assert_eq!(container.link_names(), ["lo"]);
}

#[test]
fn of_an_attachment_that_never_was() {
    let host = Host::new();
    let container = host.container("c1");
    let before = host.snapshot();
    bridge().del(&container, &dual(json!({}))).expect_ok();
    let files = |line: &str| !line.contains("/var/lib/cni");
    let diff = before.diff(&host.snapshot());
    assert!(
        !diff.lines().any(|l| l.starts_with("  ") && files(l)),
        "{diff}"
    );
}

#[test]
fn the_other_attachments_stay() {
    let host = Host::new();
    let (container, config) = attached(&host);
    let other = host.container("c2");
    let run = bridge()
        .add(&other, &dual(json!({"isGateway": true})))
        .expect_ok();
    bridge().del(&container, &config).expect_ok();
    bridge().check(&other, &run.with_prev()).expect_ok();
    other.ping("fd00:1::1");
    assert_eq!(leases(), ["10.1.0.3", "fd00:1::3"]);
}

#[test]
fn ipam_is_called_once_and_last() {
    let host = Host::new();
    let container = host.container("c1");
    let on_add = "echo '{\"cniVersion\": \"1.1.0\", \"ips\": [{\"address\": \"10.3.0.9/24\"}]}'";
    script_ipam(&host, "scripted", on_add);
    let config = layer2(json!({"ipam": {"type": "scripted"}}));
    let run = crate::common::add(&host, &container, &config).expect_ok();
    for verb in ["CHECK", "DEL", "DEL"] {
        call(&host, verb)
            .container(&container)
            .config(&run.with_prev())
            .run()
            .expect_ok();
    }
    assert_eq!(
        ipam_calls(&host, "scripted"),
        ["ADD", "CHECK", "DEL", "DEL"]
    );
}
