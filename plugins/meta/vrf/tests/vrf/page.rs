//! The examples of the documentation, run.

use crate::common::{assert_same, attached, prev, state, vrf};
use serde_json::json;
use testkit::examples;

const PAGE: &str = include_str!("../../../../../Documentation/plugins/vrf.md");

#[test]
fn every_example_works() {
    let examples = examples(PAGE);
    assert!(examples.len() >= 2, "{} examples", examples.len());
    for example in examples {
        // Of a network list, the plugin's own entry.
        let mut config = example.pointer("/plugins/1").unwrap_or(&example).clone();
        let (host, container) = attached();
        let before = state(&host, &container);
        // As a runtime does with one plugin of a list.
        config["cniVersion"] = "1.1.0".into();
        config["name"] = "example".into();
        vrf().status(&config).expect_ok();
        config["prevResult"] = prev("1.1.0");
        let run = vrf().add(&container, &config).expect_ok();
        vrf().check(&container, &run.with_prev()).expect_ok();
        vrf().del(&container, &run.with_prev()).expect_ok();
        config["cni.dev/valid-attachments"] = json!([]);
        vrf().gc(&config).expect_ok();
        assert_same(&before, &state(&host, &container));
    }
}
