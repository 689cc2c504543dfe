//! The examples of the documentation, run.

use crate::common::{DUAL, flannel, host};
use serde_json::json;
use testkit::{Node, examples};

const PAGE: &str = include_str!("../../../../../Documentation/plugins/flannel.md");

#[test]
fn every_example_works() {
    let examples = examples(PAGE);
    assert!(examples.len() >= 3, "{} examples", examples.len());
    for example in examples {
        // Of a network list, the plugin's own entry.
        let mut config = example.pointer("/plugins/0").unwrap_or(&example).clone();
        let host = host(DUAL);
        let container = host.container("c1");
        // As a runtime does with one plugin of a list.
        config["cniVersion"] = "1.1.0".into();
        config["name"] = "example".into();
        flannel().status(&config).expect_ok();
        let run = flannel().add(&container, &config).expect_ok();
        assert!(container.link("eth0").is_some());
        flannel().check(&container, &run.with_prev()).expect_ok();
        flannel().del(&container, &run.with_prev()).expect_ok();
        config["cni.dev/valid-attachments"] = json!([]);
        flannel().gc(&config).expect_ok();
        assert_eq!(container.link_names(), ["lo"]);
    }
}
