//! Runs the examples of the documentation.

use crate::common::{assert_same, attached, call, prev, sbr, state};
use serde_json::json;
use testkit::examples;

const PAGE: &str = include_str!("../../../../../Documentation/plugins/sbr.md");

#[test]
fn every_example_works() {
    let examples = examples(PAGE);
    assert!(examples.len() >= 4, "{} examples", examples.len());
    for example in examples {
        // The plugin's entry of a network list.
        let mut config = example.pointer("/plugins/1").unwrap_or(&example).clone();
        let (host, container) = attached();
        let before = state(&host, &container);
        // The keys that a runtime adds for a plugin of a list.
        config["cniVersion"] = "1.1.0".into();
        config["name"] = "example".into();
        sbr().status(&config).expect_ok();
        config["prevResult"] = prev("1.1.0");
        let run = call(&sbr(), "ADD", &container, &config).expect_ok();
        call(&sbr(), "CHECK", &container, &run.with_prev()).expect_ok();
        call(&sbr(), "DEL", &container, &run.with_prev()).expect_ok();
        config["cni.dev/valid-attachments"] = json!([]);
        sbr().gc(&config).expect_ok();
        assert_same(&before, &state(&host, &container));
    }
}
