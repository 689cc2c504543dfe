//! The examples of the documentation, run.

use crate::lan::{Daemon, Lan, QUICK, plugin};
use serde_json::Value;
use testkit::examples;

const PAGE: &str = include_str!("../../../../../Documentation/plugins/dhcp.md");

#[test]
fn every_example_works() {
    let lan = Lan::new();
    let _server = lan.dnsmasq("--dhcp-option=option:mtu,1400");
    let _daemon = Daemon::start(QUICK);
    let examples: Vec<Value> = examples(PAGE)
        .into_iter()
        .filter(|example| example["ipam"].get("ipv6").is_none())
        .collect();
    assert!(examples.len() >= 4, "{} examples", examples.len());
    for (number, mut config) in examples.into_iter().enumerate() {
        config["cniVersion"] = "1.1.0".into();
        config["name"] = "example".into();
        if config["ipam"].get("probe").is_some() {
            config["ipam"]["probe"] = "50ms".into();
        }
        plugin().status(&config).expect_ok();
        let container = lan.container(&format!("c{number}"));
        let call = plugin()
            .command("ADD")
            .container(&container)
            .args("IgnoreUnknown=1;K8S_POD_NAME=web");
        let run = call.config(&config).run().expect_ok();
        assert!(!run.json()["ips"].as_array().unwrap().is_empty());
        plugin().check(&container, &run.with_prev()).expect_ok();
        plugin().del(&container, &run.with_prev()).expect_ok();
    }
}
