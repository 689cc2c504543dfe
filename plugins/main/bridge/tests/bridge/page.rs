//! The examples of the plugin's page work.

use crate::common::bridge;
use serde_json::{Value, json};
use testkit::{Host, Node, needs};

const PAGE: &str = include_str!("../../../../../Documentation/plugins/bridge.md");

/// The plugin's entries of the examples, those with or those without VLANs.
fn examples(with_vlans: bool) -> Vec<Value> {
    let all = testkit::examples(PAGE).into_iter();
    let own = all.map(|example| example.pointer("/plugins/0").unwrap_or(&example).clone());
    own.filter(|config| with_vlans != (config["vlan"].is_null() && config["vlanTrunk"].is_null()))
        .collect()
}

fn all_work(examples: &[Value]) {
    for example in examples {
        let mut config = example.clone();
        let host = Host::new();
        let container = host.container("c1");
        // As a runtime does with one plugin of a list.
        config["cniVersion"] = "1.1.0".into();
        config["name"] = "example".into();
        bridge().status(&config).expect_ok();
        let run = bridge().add(&container, &config).expect_ok();
        bridge().check(&container, &run.with_prev()).expect_ok();
        let ips = run.json()["ips"].as_array().cloned().unwrap_or_default();
        for ip in ips
            .iter()
            .filter(|_| config["isGateway"] == true || config["isDefaultGateway"] == true)
        {
            container.ping(ip["gateway"].as_str().unwrap());
        }
        bridge().del(&container, &run.with_prev()).expect_ok();
        let mut gc = config.clone();
        gc["cni.dev/valid-attachments"] = json!([]);
        bridge().gc(&gc).expect_ok();
        assert_eq!(container.link_names(), ["lo"]);
    }
}

#[test]
fn every_example_works() {
    let examples = examples(false);
    assert!(examples.len() >= 8, "{} examples", examples.len());
    all_work(&examples);
}

#[test]
fn every_example_with_vlans_works() {
    needs(&["bridge-vlan-filtering"]);
    let examples = examples(true);
    assert!(examples.len() >= 2, "{} examples", examples.len());
    all_work(&examples);
}
