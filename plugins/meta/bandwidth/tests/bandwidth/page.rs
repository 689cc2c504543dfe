//! Runs the examples of the documentation.

use crate::common::{bandwidth, host};
use serde_json::{Value, json};
use testkit::examples;

const PAGE: &str = include_str!("../../../../../Documentation/plugins/bandwidth.md");

#[test]
fn every_example_works() {
    let examples = examples(PAGE);
    assert!(examples.len() >= 4, "{} examples", examples.len());
    for example in examples {
        let (host, container) = host();
        // The plugin's entry of a network list.
        let plugins = example["plugins"].as_array();
        let entry = plugins.and_then(|all| all.iter().find(|p| p["type"] == "bandwidth"));
        let mut config = entry.unwrap_or(&example).clone();
        // The keys that a runtime adds for a plugin of a list.
        config["cniVersion"] = "1.1.0".into();
        config["name"] = "example".into();
        if config["capabilities"]["bandwidth"] == true && config["runtimeConfig"].is_null() {
            config["runtimeConfig"] = json!({"bandwidth": {
                "ingressRate": 10_000_000, "ingressBurst": 4_294_967_295u64,
                "egressRate": 10_000_000, "egressBurst": 4_294_967_295u64,
            }});
        }
        config["prevResult"] = crate::common::bare(json!({}))["prevResult"].clone();
        // The tests of options cover kernels without fair queues.
        let has_queue = |queue: &Value| {
            let queue = queue.as_str().unwrap_or("fifo");
            let probe = ["tc", "qdisc", "add", "dev", "lo", "root", queue];
            let found = queue == "fifo" || testkit::Node::try_command(&host, &probe).is_ok();
            let _ = testkit::Node::try_command(&host, &["tc", "qdisc", "del", "dev", "lo", "root"]);
            found
        };
        if !has_queue(&config["queue"]) {
            config["queue"] = Value::Null;
        }
        let before = host.snapshot();
        bandwidth().status(&config).expect_ok();
        let run = bandwidth().add(&container, &config).expect_ok();
        assert!(host.snapshot() != before, "{config}");
        bandwidth().check(&container, &run.with_prev()).expect_ok();
        bandwidth().del(&container, &run.with_prev()).expect_ok();
        config["cni.dev/valid-attachments"] = json!([]);
        bandwidth().gc(&config).expect_ok();
        before.assert_same(&host.snapshot());
    }
}
