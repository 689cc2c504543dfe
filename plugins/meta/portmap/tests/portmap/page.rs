//! The examples of the plugin's page.

use serde_json::json;
use testkit::{Node, examples};

use crate::common::{Net, attached, is_mapped, portmap};

const PAGE: &str = include_str!("../../../../../Documentation/plugins/portmap.md");

#[test]
fn every_example_works() {
    let examples = examples(PAGE);
    assert!(examples.len() >= 4, "{} examples", examples.len());
    for example in examples {
        // The plugin's own entry of a network list.
        let mut config = example.pointer("/plugins/1").unwrap_or(&example).clone();
        let net = Net::new();
        net.host
            .command(&["iptables", "-t", "nat", "-N", "KUBE-MARK-MASQ"]);
        // A runtime adds these.
        config["cniVersion"] = "1.1.0".into();
        config["name"] = "example".into();
        config["prevResult"] = attached(&net.container, &["10.1.0.2/24"]);
        portmap().status(&config).expect_ok();
        portmap().add(&net.container, &config).expect_ok();
        portmap().check(&net.container, &config).expect_ok();
        assert_eq!(is_mapped(&net.host), !config["runtimeConfig"].is_null());
        portmap().del(&net.container, &config).expect_ok();
        assert!(!is_mapped(&net.host));
        config["cni.dev/valid-attachments"] = json!([]);
        portmap().gc(&config).expect_ok();
    }
}
