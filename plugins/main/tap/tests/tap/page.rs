//! The examples of the documentation, run.

use crate::common::tap;
use serde_json::json;
use testkit::{Host, Node, examples};

const PAGE: &str = include_str!("../../../../../Documentation/plugins/tap.md");

#[test]
fn every_example_works() {
    let examples = examples(PAGE);
    assert!(examples.len() >= 3, "{} examples", examples.len());
    for example in examples {
        // Of a network list, the plugin's own entry.
        let mut config = example.pointer("/plugins/0").unwrap_or(&example).clone();
        let host = Host::new();
        let container = host.container("c1");
        // As a runtime does with one plugin of a list.
        config["cniVersion"] = "1.1.0".into();
        config["name"] = "example".into();
        if let Some(bridge) = config["bridge"].as_str() {
            container.command(&["ip", "link", "add", bridge, "type", "bridge"]);
        }
        tap().status(&config).expect_ok();
        let run = tap().add(&container, &config).expect_ok();
        tap().check(&container, &run.with_prev()).expect_ok();
        assert!(container.link("eth0").is_some());
        tap().del(&container, &run.with_prev()).expect_ok();
        config["cni.dev/valid-attachments"] = json!([]);
        tap().gc(&config).expect_ok();
        assert!(container.link("eth0").is_none());
    }
}
