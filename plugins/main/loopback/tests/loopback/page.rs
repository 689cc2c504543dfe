//! The examples of the documentation, run.

use serde_json::Value;
use testkit::{Host, Node, Plugin};

const PAGE: &str = include_str!("../../../../../Documentation/plugins/loopback.md");

#[test]
fn every_example_works() {
    let loopback = Plugin::new("loopback");
    let mut examples = 0;
    for block in PAGE.split("```json\n").skip(1) {
        let text = block.split("```").next().unwrap();
        let list: Value = serde_json::from_str(text).expect(text);
        // As a runtime does with one plugin of a list.
        let mut config = list["plugins"][0].clone();
        config["cniVersion"] = list["cniVersion"].clone();
        config["name"] = list["name"].clone();
        let host = Host::new();
        let container = host.container("c1");
        loopback.status(&config).expect_ok();
        let run = loopback.add(&container, &config).expect_ok();
        container.ping("::1");
        loopback.check(&container, &run.with_prev()).expect_ok();
        loopback.del(&container, &run.with_prev()).expect_ok();
        loopback.gc(&config).expect_ok();
        examples += 1;
    }
    assert!(examples > 0);
}
