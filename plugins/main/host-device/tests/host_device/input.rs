//! Bad input is refused before anything is changed.

use crate::common::{MAC, device, dual, host_with_device, plugin};
use serde_json::{Value, json};
use testkit::table::cases;
use testkit::{ErrorReply, Node};

#[track_caller]
fn refused(config: &Value) -> ErrorReply {
    let (host, _outside) = host_with_device();
    let container = host.container("c1");
    let before = host.snapshot();
    let error = plugin().add(&container, config).expect_error(999);
    before.assert_same(&host.snapshot());
    error
}

#[test]
fn wrong_types() {
    for (key, value) in [
        ("device", json!(7)),
        ("hwaddr", json!([])),
        ("kernelpath", json!(true)),
        ("pciBusID", json!({})),
        ("DPDKMode", json!("yes")),
        ("runtimeConfig", json!({"deviceID": 7})),
        ("ipam", json!("host-local")),
        ("prevResult", json!("x")),
    ] {
        let error = refused(&device(json!({key: value})));
        error.mentions("failed to load netconf: ").mentions(key);
    }
}

#[test]
fn no_device() {
    for none in [json!({"device": null}), json!({"device": "", "hwaddr": ""})] {
        refused(&device(none))
            .mentions("specify either \"device\", \"hwaddr\", \"kernelpath\" or \"pciBusID\"");
    }
}

#[test]
fn missing_devices() {
    for case in cases(
        r#"
        {"device": "dev1"} => failed to find host device: failed to find "dev1": Link not found
        {"device": null, "hwaddr": "02:00:00:00:00:99"} => failed to find host device: failed to find physical interface
        {"device": null, "hwaddr": "02:00"} => failed to find host device: failed to parse MAC address "02:00": address 02:00: invalid MAC address
        {"device": null, "kernelpath": "/sys/devices/none"} => failed to find host device: failed to read directory /sys/devices/none/net: "open /sys/devices/none/net: no such file or directory"
        {"device": null, "kernelpath": "/sys/devices/../class/net/dev0"} => kernel device path "/sys/devices/../class/net/dev0" must be absolute and begin with /sys/devices/
        {"device": null, "pciBusID": "0000:ff:1f.7"} => error with host device:
        {"device": null, "pciBusID": "../../../class"} => error with host device: "../../../class" is not a PCI address
        {"runtimeConfig": {"deviceID": "0000:ff:1f.7"}} => runtime config DeviceID 0000:ff:1f.7 not found or unsupported
        {"runtimeConfig": {"deviceID": ".."}} => runtime config DeviceID .. not found or unsupported
        "#,
    ) {
        refused(&device(case.extra)).mentions(&case.words);
    }
}

#[test]
fn an_interface_that_exists() {
    let (host, _outside) = host_with_device();
    let container = host.container("c1");
    container.ip("link add eth0 type veth peer name other0");
    let before = host.snapshot();
    for config in [device(json!({})), dual(json!({}))] {
        plugin().add(&container, &config).expect_error(999).mentions(
            "failed to move link failed to move \"eth0\" (host: \"dev0\") to container NS: file exists",
        );
        before.assert_same(&host.snapshot());
    }
    // DEL after the failure does not touch the other interface.
    let config = device(json!({"hwaddr": MAC}));
    plugin()
        .del(&container, &config)
        .expect_error(999)
        .mentions("alias is not set");
    before.assert_same(&host.snapshot());
}

#[test]
fn a_device_that_cannot_move() {
    let (host, _outside) = host_with_device();
    let container = host.container("c1");
    host.ip("link add br0 up type bridge");
    let before = host.snapshot();
    plugin()
        .add(&container, &device(json!({"device": "br0"})))
        .expect_error(999)
        .mentions("failed to move link failed to move \"eth0\" (host: \"br0\") to container NS: invalid argument");
    let diff = before.diff(&host.snapshot());
    assert!(!diff.contains("link"), "{diff}");
}

/// Programs compare `msg` with upstream's; what we add is in `details`.
#[test]
fn messages_are_upstreams() {
    let (host, _outside) = host_with_device();
    let container = host.container("c1");
    container.ip("link add eth0 type veth peer name other0");
    let error = plugin()
        .add(&container, &device(json!({})))
        .expect_error(999);
    assert_eq!(
        error.msg,
        "failed to move link failed to move \"eth0\" (host: \"dev0\") to container NS: file exists"
    );
    assert_ne!(error.details, "");
    let error = plugin()
        .del(&container, &device(json!({})))
        .expect_error(999);
    assert_eq!(
        error.msg,
        "failed to find original ifname for \"eth0\" (alias is not set)"
    );
    assert_ne!(error.details, "");
}
