//! Runs the examples of the documentation.

use crate::common::{assert_same, attached, prev, state, tuning};
use serde_json::json;
use testkit::examples;

const PAGE: &str = include_str!("../../../../../Documentation/plugins/tuning.md");

#[test]
fn every_example_works() {
    let examples = examples(PAGE);
    assert!(examples.len() >= 4, "{} examples", examples.len());
    for example in examples {
        // The plugin's entry of a network list.
        let mut config = example.pointer("/plugins/1").unwrap_or(&example).clone();
        let (host, container) = attached();
        // The keys that a runtime adds for a plugin of a list.
        config["cniVersion"] = "1.1.0".into();
        config["name"] = "example".into();
        tuning().status(&config).expect_ok();
        config["prevResult"] = prev("1.1.0");
        let before = state(&host, &container);
        let run = tuning().add(&container, &config).expect_ok();
        tuning().check(&container, &run.with_prev()).expect_ok();
        tuning().del(&container, &run.with_prev()).expect_ok();
        config["cni.dev/valid-attachments"] = json!([]);
        tuning().gc(&config).expect_ok();
        assert_same(&before, &state(&host, &container));
    }
}
