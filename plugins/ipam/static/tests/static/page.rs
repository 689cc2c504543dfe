//! The examples of the documentation, run.

use crate::common::{call, plugin};
use testkit::examples;

const PAGE: &str = include_str!("../../../../../Documentation/plugins/static.md");

#[test]
fn every_example_works() {
    let examples = examples(PAGE);
    assert!(examples.len() >= 3, "{} examples", examples.len());
    for mut config in examples {
        config["cniVersion"] = "1.1.0".into();
        config["name"] = "example".into();
        plugin().status(&config).expect_ok();
        let run = call(&plugin(), "ADD", &config).run().expect_ok();
        assert!(!run.json()["ips"].as_array().unwrap().is_empty());
        call(&plugin(), "CHECK", &run.with_prev()).run().expect_ok();
        call(&plugin(), "DEL", &run.with_prev()).run().expect_ok();
    }
}
