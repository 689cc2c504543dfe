//! The examples of the documentation, run.

use crate::common::{MAC, devices, host_with_device, plugin};
use std::fs;
use testkit::{Node, examples_work};

const PAGE: &str = include_str!("../../../../../Documentation/plugins/host-device.md");

#[test]
fn every_example_works() {
    examples_work(&plugin(), PAGE, 4, |config| {
        let (host, outside) = host_with_device();
        // The device that the example names.
        let name = config["device"].as_str().unwrap_or("ens1").to_owned();
        let mac = config["hwaddr"].as_str().unwrap_or(MAC).to_owned();
        host.ip("link set dev0 down");
        host.ip(&format!("link set dev0 name {name} address {mac}"));
        host.mount_tmpfs("/sys/bus", "size=1m");
        for id in [&config["pciBusID"], &config["runtimeConfig"]["deviceID"]] {
            if let Some(id) = id.as_str() {
                let device = format!("/sys/bus/pci/devices/{id}");
                fs::create_dir_all(format!("{device}/net/{name}")).unwrap();
                std::os::unix::fs::symlink("../drivers/ixgbe", format!("{device}/driver")).unwrap();
            }
        }
        assert_eq!(devices(&host), [format!("{name} down")]);
        (host.container("c1"), (host, outside))
    });
}
