//! The examples of the documentation, run.

use crate::common::{ptp, reaches};
use serde_json::json;
use testkit::{Host, Node, examples};

const PAGE: &str = include_str!("../../../../../Documentation/plugins/ptp.md");

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
        ptp().status(&config).expect_ok();
        let run = ptp().add(&container, &config).expect_ok();
        ptp().check(&container, &run.with_prev()).expect_ok();
        for ip in run.json()["ips"].as_array().unwrap() {
            reaches(&container, ip["gateway"].as_str().unwrap());
        }
        ptp().del(&container, &run.with_prev()).expect_ok();
        config["cni.dev/valid-attachments"] = json!([]);
        ptp().gc(&config).expect_ok();
        assert_eq!(container.link_names(), ["lo"]);
    }
}
