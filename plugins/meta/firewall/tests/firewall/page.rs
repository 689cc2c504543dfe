//! The examples of the plugin's page.

use crate::common::{bridged, mentions};
use serde_json::{Value, json};
use testkit::{Host, Plugin, examples};

const PAGE: &str = include_str!("../../../../../Documentation/plugins/firewall.md");

#[test]
fn every_example_works() {
    let examples = examples(PAGE);
    assert!(examples.len() >= 4, "{} examples", examples.len());
    for example in examples {
        let host = Host::new();
        let c1 = host.container("c1");
        let list = example["plugins"].as_array().cloned();
        let mut result = bridged("1.1.0", "cni0", 2);
        let mut config = example.clone();
        for part in list.into_iter().flatten() {
            config = part;
            config["cniVersion"] = "1.1.0".into();
            config["name"] = "example".into();
            let kind = config["type"].as_str().unwrap();
            if kind != "firewall" {
                let plugin = Plugin::new(kind);
                result = plugin.add(&c1, &config).expect_ok().json();
            }
        }
        assert_eq!(config["type"], "firewall");
        config["cniVersion"] = "1.1.0".into();
        config["name"] = "example".into();
        config["prevResult"] = result.clone();
        if config["backend"] == "firewalld" {
            crate::common::firewall()
                .add(&c1, &config)
                .expect_error(999)
                .mentions("firewalld");
            continue;
        }
        let firewall = Plugin::new("firewall");
        firewall.status(&config).expect_ok();
        assert_eq!(firewall.add(&c1, &config).expect_ok().json(), result);
        firewall.check(&c1, &config).expect_ok();
        let address = result["ips"][0]["address"].as_str().unwrap();
        let address = address.split('/').next().unwrap();
        assert!(mentions(&host, address));
        firewall.del(&c1, &config).expect_ok();
        assert!(!mentions(&host, address));
        config["prevResult"] = Value::Null;
        config["cni.dev/valid-attachments"] = json!([]);
        firewall.gc(&config).expect_ok();
    }
}
