//! The examples of the documentation, run.

use crate::common::bridge;
use serde_json::{Value, json};
use testkit::{Host, Node};

const PAGE: &str = include_str!("../../../../../Documentation/plugins/bridge.md");

/// The blocks of JSON of a page.
fn examples(page: &str) -> Vec<Value> {
    let blocks = page.split("```json\n").skip(1);
    let texts = blocks.map(|rest| rest.split("```").next().expect("a text before the fence"));
    texts
        .map(|text| serde_json::from_str(text).expect(text))
        .collect()
}

#[test]
fn every_example_works() {
    let examples = examples(PAGE);
    assert!(examples.len() >= 5, "{} examples", examples.len());
    for example in examples {
        // Of a network list, the plugin's own entry.
        let mut config = example.pointer("/plugins/0").unwrap_or(&example).clone();
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
