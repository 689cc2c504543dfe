//! The examples of the documentation, run.

use crate::common::{host_with, vlan};
use serde_json::json;
use testkit::{Node, examples};

const PAGE: &str = include_str!("../../../../../Documentation/plugins/vlan.md");

#[test]
fn every_example_works() {
    let examples = examples(PAGE);
    assert!(examples.len() >= 3, "{} examples", examples.len());
    for example in examples {
        // Of a network list, the plugin's own entry.
        let mut config = example.pointer("/plugins/0").unwrap_or(&example).clone();
        let (host, _router) = host_with("ens1");
        let container = host.container("c1");
        if config["linkInContainer"] == true {
            host.command(&[
                "ip", "link", "set", "ens1", "netns", "c1", "name", "up0", "up",
            ]);
        }
        // As a runtime does with one plugin of a list.
        config["cniVersion"] = "1.1.0".into();
        config["name"] = "example".into();
        let before = container.link_names();
        vlan().status(&config).expect_ok();
        let run = vlan().add(&container, &config).expect_ok();
        vlan().check(&container, &run.with_prev()).expect_ok();
        vlan().del(&container, &run.with_prev()).expect_ok();
        config["cni.dev/valid-attachments"] = json!([]);
        vlan().gc(&config).expect_ok();
        assert_eq!(container.link_names(), before);
    }
}
