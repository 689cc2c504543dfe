//! The examples of the documentation, run.

use crate::common::{dummy, host};
use serde_json::json;
use testkit::{Node, examples};

const PAGE: &str = include_str!("../../../../../Documentation/plugins/dummy.md");

#[test]
fn every_example_works() {
    let examples = examples(PAGE);
    assert!(examples.len() >= 2, "{} examples", examples.len());
    for example in examples {
        // Of a network list, the plugin's own entry.
        let mut config = example.pointer("/plugins/0").unwrap_or(&example).clone();
        let host = host();
        let container = host.container("c1");
        // As a runtime does with one plugin of a list.
        config["cniVersion"] = "1.1.0".into();
        config["name"] = "example".into();
        dummy().status(&config).expect_ok();
        let run = dummy().add(&container, &config).expect_ok();
        dummy().check(&container, &run.with_prev()).expect_ok();
        dummy().del(&container, &run.with_prev()).expect_ok();
        config["cni.dev/valid-attachments"] = json!([]);
        dummy().gc(&config).expect_ok();
        assert_eq!(container.link_names(), ["lo"]);
    }
}
