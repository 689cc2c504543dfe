//! Packets are routed by their source.

use crate::common::{add, attached, config, del, ip, sbr};
use serde_json::json;
use testkit::Node;

#[test]
fn replies_use_the_interface_of_the_request() {
    let (host, container) = attached();
    // A host behind each router, in the same network.
    for (router, far) in [("r1", "10.8.0.1"), ("r2", "10.8.0.2")] {
        host.command(&[
            "ip",
            "-n",
            router,
            "addr",
            "add",
            &format!("{far}/32"),
            "dev",
            "lo",
        ]);
        host.command(&[
            "ip",
            "-n",
            router,
            "addr",
            "add",
            "fd00:8::1/128",
            "dev",
            "lo",
            "nodad",
        ]);
    }
    let from = |source: &str, to: &str| {
        let argv = ["ping", "-n", "-c", "1", "-W", "1", "-I", source, to];
        container.try_command(&argv).is_ok()
    };
    ip(&container, "route del default dev net1");
    let config = add(&container, json!({}));
    assert!(from("10.1.0.5", "10.8.0.1") && !from("10.1.0.5", "10.8.0.2"));
    assert!(from("10.2.0.5", "10.8.0.2") && !from("10.2.0.5", "10.8.0.1"));
    assert!(from("fd00:1::5", "fd00:8::1") && from("fd00:2::5", "fd00:8::1"));
    del(&container, &config);
    assert!(!from("10.2.0.5", "10.8.0.2"));
}

/// CHECK of the interface plugin finds its routes in the tables.
#[test]
fn check_of_the_interface_plugin() {
    let (host, container) = attached();
    let ipam = json!({"type": "host-local", "subnet": "10.9.0.0/24", "routes": [{"dst": "0.0.0.0/0"}, {"dst": "10.90.0.0/16"}]});
    let bridge = json!({"cniVersion": "1.1.0", "name": "lan", "type": "bridge", "bridge": "br0", "isGateway": true, "ipam": ipam});
    let plugin = testkit::Plugin::new("bridge");
    let call = |plugin: &testkit::Plugin, verb: &str, config: &serde_json::Value| {
        let call = plugin.command(verb).container(&container).ifname("net2");
        call.config(config).run().expect_ok()
    };
    let run = call(&plugin, "ADD", &bridge);
    let mut apart = config(json!({"name": "lan"}));
    apart["prevResult"] = run.json();
    let result = call(&sbr(), "ADD", &apart);
    assert_eq!(result.stdout_text(), run.stdout_text());
    for (plugin, config) in [(&plugin, run.with_prev()), (&sbr(), apart.clone())] {
        call(plugin, "CHECK", &config);
    }
    // A route in no table is missing.
    ip(&container, "route del 10.90.0.0/16 table 100");
    let check = plugin.command("CHECK").container(&container).ifname("net2");
    check
        .config(&run.with_prev())
        .run()
        .expect_error(999)
        .mentions("10.90.0.0");
    for (plugin, config) in [(&sbr(), apart), (&plugin, run.with_prev())] {
        call(plugin, "DEL", &config);
    }
    drop(host);
}
