//! Devices that are found in sysfs. The tests mount their own `/sys/bus`.

use crate::common::{MAC, device, devices, host_with_device, plugin};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use testkit::{Container, Host};

const PCI: &str = "0000:03:00.1";

/// A host where `dev0` is the link of a PCI device, driven by `driver`, and of an
/// auxiliary device.
fn host_with_buses(driver: Option<&str>, link_below: &str) -> (Host, Container) {
    let (host, outside) = host_with_device();
    host.mount_tmpfs("/sys/bus", "size=1m");
    for (bus, name) in [("pci", PCI), ("auxiliary", "mlx5_core.sf.4")] {
        let directory = Path::new("/sys/bus").join(bus).join("devices").join(name);
        fs::create_dir_all(&directory).unwrap();
        if !link_below.is_empty() {
            fs::create_dir_all(directory.join(link_below).join("dev0")).unwrap();
            fs::create_dir_all(directory.join(link_below).join("zzz9")).unwrap();
        }
        if let Some(driver) = driver {
            symlink(
                format!("../../../drivers/{driver}"),
                directory.join("driver"),
            )
            .unwrap();
        }
    }
    (host, outside)
}

#[track_caller]
fn moves(host: &Host, selector: Value) -> Value {
    let container = host.container("c1");
    let config = device(selector);
    let run = plugin().add(&container, &config).expect_ok();
    assert_eq!(devices(&container), ["eth0 (dev0) up"]);
    plugin().check(&container, &run.with_prev()).expect_ok();
    plugin().del(&container, &config).expect_ok();
    assert_eq!(devices(host), ["dev0 up"]);
    run.json()["interfaces"][0].clone()
}

#[test]
fn by_pci_address() {
    let (host, _outside) = host_with_buses(Some("e1000"), "net");
    let expected = json!({
        "name": "eth0", "mac": MAC, "mtu": 1500, "sandbox": "/run/netns/c1", "pciID": PCI,
    });
    assert_eq!(
        moves(&host, json!({"device": null, "pciBusID": PCI})),
        expected
    );
    // `deviceID` has precedence over all other keys.
    let chosen = json!({"deviceID": PCI});
    assert_eq!(
        moves(&host, json!({"runtimeConfig": chosen, "device": "none"})),
        expected
    );
    let old = json!({"device": null, "pciBusID": PCI, "cniVersion": "1.0.0"});
    assert_eq!(moves(&host, old).get("pciID"), None);
    plugin()
        .status(&device(json!({"device": null, "pciBusID": PCI})))
        .expect_ok();
}

#[test]
fn by_pci_address_of_a_virtio_device() {
    let (host, _outside) = host_with_buses(Some("virtio-pci"), "virtio3/net");
    moves(&host, json!({"device": null, "pciBusID": PCI}));
}

#[test]
fn by_the_name_of_an_auxiliary_device() {
    let (host, _outside) = host_with_buses(Some("mlx5_core"), "net");
    let chosen = json!({"deviceID": "mlx5_core.sf.4"});
    let interface = moves(
        &host,
        json!({"runtimeConfig": chosen, "pciBusID": "0000:ff:ff.f"}),
    );
    assert_eq!(interface.get("pciID"), None);
}

#[test]
fn by_kernel_path() {
    let (host, _outside) = host_with_device();
    // veth links are below /sys/devices as well.
    let path = json!("/sys/devices/virtual/./x/../here");
    host.mount_tmpfs("/sys/devices/virtual", "size=1m");
    fs::create_dir_all("/sys/devices/virtual/here/net/dev0").unwrap();
    moves(&host, json!({"device": null, "kernelpath": path}));
}

#[test]
fn without_driver_or_link() {
    for (driver, below, words) in [
        (
            None,
            "net",
            "error with host device: no driver is bound to PCI device 0000:03:00.1",
        ),
        (
            Some("e1000"),
            "",
            "failed to find host device: no net directory under pci device 0000:03:00.1",
        ),
    ] {
        let (host, _outside) = host_with_buses(driver, below);
        let container = host.container("c1");
        let config = device(json!({"device": null, "pciBusID": PCI}));
        plugin()
            .add(&container, &config)
            .expect_error(999)
            .mentions(words);
        assert_eq!(devices(&host), ["dev0 up"]);
        plugin().del(&container, &config).expect_ok();
    }
}

#[test]
fn a_device_that_a_program_drives() {
    for driver in ["vfio-pci", "uio_pci_generic", "igb_uio"] {
        for selector in [
            json!({"device": null, "pciBusID": PCI}),
            json!({"runtimeConfig": {"deviceID": PCI}}),
        ] {
            let (host, _outside) = host_with_buses(Some(driver), "");
            let container = host.container("c1");
            let config = device(selector);
            let before = host.snapshot();
            let run = plugin().add(&container, &config).expect_ok();
            assert_eq!(
                run.json()["interfaces"],
                json!([{"name": "eth0", "sandbox": "/run/netns/c1", "pciID": PCI}])
            );
            before.assert_same(&host.snapshot());
            plugin().check(&container, &run.with_prev()).expect_ok();
            plugin().status(&config).expect_ok();
            plugin().del(&container, &config).expect_ok();
            plugin().del(&container, &config).expect_ok();
            before.assert_same(&host.snapshot());
        }
    }
}

#[test]
fn addresses_for_a_program() {
    let (host, _outside) = host_with_buses(Some("vfio-pci"), "");
    let container = host.container("c1");
    let ipam = json!({"type": "host-local", "subnet": "10.1.0.0/24", "dataDir": "/run/leases"});
    let config = device(json!({
        "device": null, "pciBusID": PCI, "ipam": ipam, "dns": {"domain": "x.example"},
    }));
    let run = plugin().add(&container, &config).expect_ok();
    let result = run.json();
    assert_eq!(
        result["ips"],
        json!([{"interface": 0, "address": "10.1.0.2/24", "gateway": "10.1.0.1"}])
    );
    assert_eq!(result["dns"], json!({"domain": "x.example"}));
    assert_eq!(devices(&container), [""; 0]);
    plugin().check(&container, &run.with_prev()).expect_ok();
    fs::remove_file("/run/leases/net/10.1.0.2").unwrap();
    plugin()
        .check(&container, &run.with_prev())
        .expect_error(999)
        .mentions("host-local");
    plugin().del(&container, &config).expect_ok();
}

#[test]
fn a_mode_that_the_configuration_forces() {
    let (host, _outside) = host_with_buses(Some("e1000"), "net");
    let container = host.container("c2");
    let config = device(json!({"dpdkmode": true}));
    let run = plugin().add(&container, &config).expect_ok();
    assert_eq!(
        run.json()["interfaces"],
        json!([{"name": "eth0", "sandbox": "/run/netns/c2"}])
    );
    assert_eq!(devices(&host), ["dev0 up"]);
    // The driver of a PCI device has precedence over `DPDKMode`.
    moves(
        &host,
        json!({"device": null, "pciBusID": PCI, "DPDKMode": true}),
    );
}

#[test]
fn a_program_has_taken_the_device_over_since() {
    let (host, _outside) = host_with_buses(Some("e1000"), "net");
    let container = host.container("c1");
    let config = device(json!({"device": null, "pciBusID": PCI}));
    plugin().add(&container, &config).expect_ok();
    let driver = format!("/sys/bus/pci/devices/{PCI}/driver");
    fs::remove_file(&driver).unwrap();
    symlink("../../../drivers/vfio-pci", &driver).unwrap();
    plugin().del(&container, &config).expect_ok();
    assert_eq!(devices(&host), ["dev0 up"]);
}
