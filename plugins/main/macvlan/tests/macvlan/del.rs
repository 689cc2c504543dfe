//! DEL and GC find everything gone already, and always reach IPAM.

use crate::common::{dual, host, ipv4, layer2, macvlan};
use serde_json::{Value, json};
use testkit::{Container, Host, Node, ScriptedIpam, del_from_anywhere, leases};

#[test]
fn from_anywhere() {
    let broken = [
        json!({"mode": "nonsense"}),
        json!({"mtu": "nonsense"}),
        json!({"master": "gone"}),
        json!({"master": null}),
        json!({"mac": "nonsense", "runtimeConfig": 7}),
        json!({"prevResult": "nonsense"}),
    ]
    .map(ipv4);
    del_from_anywhere(&macvlan(), &ipv4(json!({})), &broken, host);
}

#[test]
fn arguments_that_add_would_refuse() {
    let (_host, _router, container, config) = attached();
    let call = macvlan().command("DEL").container(&container);
    call.args("nonsense").config(&config).run().expect_ok();
    assert_eq!(container.link_names(), ["lo"]);
}

fn attached() -> (Host, Container, Container, Value) {
    let (host, router) = host();
    let container = host.container("c1");
    let run = macvlan().add(&container, &ipv4(json!({}))).expect_ok();
    assert_eq!(leases("net"), ["10.1.0.10"]);
    (host, router, container, run.with_prev())
}

#[test]
fn something_else_is_at_the_namespaces_path() {
    let (host, _router, _container, config) = attached();
    let file = host.write("file", "");
    let call = macvlan()
        .command("DEL")
        .id("c1")
        .ifname("eth0")
        .netns(&file);
    call.config(&config)
        .run()
        .expect_error(999)
        .mentions("unknown FS magic");
    assert_eq!(leases("net"), [""; 0]);
}

#[test]
fn one_failure_does_not_stop_the_other_step() {
    let (host, _router) = host();
    let result = json!({"cniVersion": "1.1.0", "ips": [{"address": "10.1.0.9/24"}]});
    let ipam = ScriptedIpam::answering(&host, &result);
    let container = host.container("c1");
    let config = layer2(json!({"ipam": {"type": "scripted"}}));
    let call = |verb| {
        ipam.command(&macvlan(), verb)
            .container(&container)
            .config(&config)
    };
    call("ADD").run().expect_ok();
    host.write("scripted", "#!/bin/sh\nexit 3\n");
    call("DEL")
        .run()
        .expect_error(0)
        .mentions("netplugin failed with no error message");
    assert_eq!(container.link_names(), ["lo"]);
}

/// A DHCP client says goodbye through the interface.
#[test]
fn ipam_goes_first() {
    let (host, _router) = host();
    let container = host.container("c1");
    let script = "if [ \"$CNI_COMMAND\" = DEL ]; then ip -n c1 link show eth0 > /run/testkit/seen; fi\n\
                  echo '{\"cniVersion\": \"1.1.0\", \"ips\": [{\"address\": \"10.1.0.9/24\"}]}'";
    let ipam = ScriptedIpam::new(&host, script);
    // The script runs its commands on ADD only.
    let text = std::fs::read_to_string(host.dir().join("scripted")).unwrap();
    host.write("scripted", text.replace("= ADD ]", "!= CHECK ]"));
    let config = layer2(json!({"ipam": {"type": "scripted"}}));
    let call = |verb| {
        ipam.command(&macvlan(), verb)
            .container(&container)
            .config(&config)
    };
    call("ADD").run().expect_ok();
    call("DEL").run().expect_ok();
    let seen = std::fs::read_to_string(host.dir().join("seen")).unwrap();
    assert!(seen.contains("eth0"), "{seen}");
    assert_eq!(ipam.calls(), ["ADD", "DEL"]);
}

#[test]
fn collecting_releases_what_nobody_holds() {
    let (host, _router, container, _) = attached();
    let lost = host.container("lost");
    macvlan().add(&lost, &ipv4(json!({}))).expect_ok();
    lost.delete();
    assert_eq!(leases("net"), ["10.1.0.10", "10.1.0.11"]);
    let mut config = ipv4(json!({}));
    // The runtime does not say who is alive: nothing is known to be dead.
    macvlan().gc(&config).expect_ok();
    assert_eq!(leases("net").len(), 2);
    config["cni.dev/valid-attachments"] = json!([{"containerID": "c1", "ifname": "eth0"}]);
    macvlan().gc(&config).expect_ok();
    assert_eq!(leases("net"), ["10.1.0.10"]);
    assert_eq!(container.link_names(), ["eth0", "lo"]);
    let mut without = layer2(json!({}));
    without["cni.dev/valid-attachments"] = json!([]);
    macvlan().gc(&without).expect_ok();
}

#[test]
fn the_rest_of_the_host_is_as_before() {
    let (host, _router) = host();
    let container = host.container("c1");
    let config = dual(json!({}));
    macvlan().add(&container, &config).expect_ok();
    macvlan().del(&container, &config).expect_ok();
    let before = testkit::state(&host);
    macvlan().add(&container, &config).expect_ok();
    macvlan().del(&container, &config).expect_ok();
    before.assert_same(&testkit::state(&host));
}
