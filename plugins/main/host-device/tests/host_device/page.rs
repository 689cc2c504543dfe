//! The examples of the documentation, run.

use crate::common::{MAC, devices, host_with_device, ip, plugin};
use serde_json::json;
use std::fs;
use testkit::examples;

const PAGE: &str = include_str!("../../../../../Documentation/plugins/host-device.md");

#[test]
fn every_example_works() {
    let examples = examples(PAGE);
    assert!(examples.len() >= 4, "{} examples", examples.len());
    for example in examples {
        // Of a network list, the plugin's own entry.
        let mut config = example.pointer("/plugins/0").unwrap_or(&example).clone();
        let (host, _outside) = host_with_device();
        // The hardware that the example speaks of.
        let name = config["device"].as_str().unwrap_or("ens1").to_owned();
        let mac = config["hwaddr"].as_str().unwrap_or(MAC).to_owned();
        ip(&host, "link set dev0 down");
        ip(&host, &format!("link set dev0 name {name} address {mac}"));
        host.mount_tmpfs("/sys/bus", "size=1m");
        for id in [&config["pciBusID"], &config["runtimeConfig"]["deviceID"]] {
            if let Some(id) = id.as_str() {
                let device = format!("/sys/bus/pci/devices/{id}");
                fs::create_dir_all(format!("{device}/net/{name}")).unwrap();
                std::os::unix::fs::symlink("../drivers/ixgbe", format!("{device}/driver")).unwrap();
            }
        }
        let container = host.container("c1");
        // As a runtime does with one plugin of a list.
        config["cniVersion"] = "1.1.0".into();
        config["name"] = "example".into();
        plugin().status(&config).expect_ok();
        let run = plugin().add(&container, &config).expect_ok();
        assert_eq!(devices(&container), [format!("eth0 ({name}) up")]);
        plugin().check(&container, &run.with_prev()).expect_ok();
        plugin().del(&container, &run.with_prev()).expect_ok();
        config["cni.dev/valid-attachments"] = json!([]);
        plugin().gc(&config).expect_ok();
        assert_eq!(devices(&host), [format!("{name} down")]);
    }
}
