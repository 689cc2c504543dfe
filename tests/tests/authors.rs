//! What authors of plugins read: the example of `Documentation/writing-a-plugin.md` is compiled and works.

use std::fs;
use std::path::Path;

use serde_json::json;
use testkit::{Host, Node, Plugin, bin_dir};

const SYSCTL: &str = "net/ipv4/ip_unprivileged_port_start";

#[test]
fn the_page_shows_the_example_that_is_compiled() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| fs::read_to_string(root.join(path)).expect(path);
    let source = read("crates/cni-core/examples/low-ports.rs");
    let page = read("Documentation/writing-a-plugin.md");
    assert!(page.contains(&format!("```rust\n{source}```")));
}

#[test]
fn the_example_works() {
    let host = Host::new();
    let container = host.container("c1");
    let plugin = Plugin::in_dir(bin_dir().join("examples"), "low-ports");
    let mut config = json!({
        "cniVersion": "1.1.0", "name": "net", "type": "low-ports", "firstPort": 80,
        "prevResult": {"cniVersion": "1.1.0", "ips": [{"address": "10.1.2.3/24"}]}
    });
    assert_eq!(container.sysctl(SYSCTL), "1024");
    let result = plugin.add(&container, &config).expect_ok().json();
    assert_eq!(result["ips"], config["prevResult"]["ips"]);
    assert_eq!(container.sysctl(SYSCTL), "80");
    plugin.check(&container, &config).expect_ok();
    container.set_sysctl(SYSCTL, "90");
    let error = plugin.check(&container, &config).expect_error(999);
    assert!(error.msg.ends_with("is 90"), "{}", error.msg);
    plugin.del(&container, &config).expect_ok();
    plugin.gc(&config).expect_ok();
    plugin.status(&config).expect_ok();
    config["prevResult"] = json!(null);
    let error = plugin.add(&container, &config).expect_error(999);
    assert_eq!(error.msg, "low-ports must follow another plugin");
}
