//! DEL and GC from every state.

use crate::common::{device, devices, dual, host_with_device, plugin, records};
use serde_json::json;
use testkit::{Container, Host, Node, leases};

/// A container with the device and addresses.
fn attached() -> (Host, Container, Container) {
    let (host, outside) = host_with_device();
    let container = host.container("c1");
    plugin().add(&container, &dual(json!({}))).expect_ok();
    (host, container, outside)
}

#[test]
fn namespace_or_device_gone() {
    for gone in ["namespace", "device", "netns variable"] {
        let (host, container, outside) = attached();
        let mut del = plugin()
            .command("DEL")
            .container(&container)
            .config(&dual(json!({})));
        match gone {
            "device" => drop(outside.ip("link del eth0")),
            "namespace" => container.delete(),
            _ => {
                container.delete();
                del = del.without_env("CNI_NETNS");
            }
        }
        del.clone().run().expect_ok();
        assert_eq!(leases("net"), [""; 0], "{gone}");
        assert_eq!(records(), [""; 0], "{gone}");
        del.run().expect_ok();
        assert_eq!(devices(&host), [""; 0]);
    }
}

#[test]
fn a_broken_configuration() {
    for broken in [
        json!({"device": null}),
        json!({"device": 7}),
        json!({"device": "renamed0"}),
        json!({"device": null, "hwaddr": "nonsense"}),
        json!({"device": null, "pciBusID": "0000:ff:1f.7"}),
        json!({"device": null, "runtimeConfig": {"deviceID": "gone"}}),
        json!({"prevResult": {"cniVersion": "7"}}),
    ] {
        let (host, container, _outside) = attached();
        plugin().del(&container, &dual(broken)).expect_ok();
        assert_eq!(devices(&host), ["dev0 up"]);
        assert_eq!(leases("net"), [""; 0]);
    }
}

#[test]
fn a_failing_ipam_does_not_keep_the_device() {
    let (host, container, _outside) = attached();
    plugin()
        .del(
            &container,
            &dual(json!({"ipam": {"type": "no-such-plugin"}})),
        )
        .expect_error(999)
        .mentions("failed to find plugin \"no-such-plugin\"");
    assert_eq!(devices(&host), ["dev0 up"]);
}

#[test]
fn the_name_on_the_host_is_taken() {
    let (host, container, _outside) = attached();
    host.ip("link add dev0 type veth peer name far1");
    let before = host.snapshot();
    plugin()
        .del(&container, &dual(json!({})))
        .expect_error(999)
        .mentions("failed to move \"dev0\" to hostNS: file exists");
    // The addresses are released all the same.
    assert_eq!(leases("net"), [""; 0]);
    let left = |snapshot: &testkit::Snapshot| snapshot.lines("c1 link").join("\n");
    assert_eq!(left(&before), left(&host.snapshot()));
    assert_eq!(container.addresses("eth0").len(), 2);
    host.ip("link del dev0");
    plugin().del(&container, &dual(json!({}))).expect_ok();
    assert_eq!(devices(&host), ["dev0 up"]);
}

#[test]
fn every_step_of_the_way_back_can_fail() {
    let (host, container, _outside) = attached();
    let before = host.snapshot().lines("c1 link").join("\n");
    for number in 1..=3 {
        let del = plugin().command("DEL").container(&container);
        del.config(&dual(json!({})))
            .env("RTNL_FAIL_AT", number.to_string())
            .run()
            .expect_error(999)
            .mentions("input/output error");
        assert_eq!(
            host.snapshot().lines("c1 link").join("\n"),
            before,
            "{number}"
        );
        assert_eq!(devices(&host), [""; 0], "{number}");
        plugin()
            .add(&host.container("other"), &device(json!({})))
            .expect_error(999);
    }
    // The fourth request restores the alias and brings the device up, which is on the host by then.
    let del = plugin().command("DEL").container(&container);
    del.config(&dual(json!({})))
        .env("RTNL_FAIL_AT", "4")
        .run()
        .expect_error(999)
        .mentions("failed to restore the state of \"dev0\"");
    assert_eq!(devices(&host), ["dev0 (dev0) down"]);
    plugin().del(&container, &dual(json!({}))).expect_ok();
    assert_eq!(devices(&host), ["dev0 up"]);
    assert_eq!(records(), [""; 0]);
}

#[test]
fn a_changed_alias() {
    for alias in ["nonsense", ""] {
        let (host, container, _outside) = attached();
        container.command(&["ip", "link", "set", "eth0", "alias", alias]);
        plugin().del(&container, &dual(json!({}))).expect_ok();
        assert_eq!(devices(&host), ["dev0 up"]);
    }
}

#[test]
fn without_a_record_the_alias_is_the_name() {
    let (host, container, _outside) = attached();
    host.command(&["rm", "-r", "/run/cni"]);
    plugin().del(&container, &dual(json!({}))).expect_ok();
    // That it was up is not known.
    assert_eq!(devices(&host), ["dev0 down"]);
}

#[test]
fn without_record_and_alias_del_fails() {
    let (host, container, _outside) = attached();
    host.command(&["rm", "-r", "/run/cni"]);
    container.command(&["ip", "link", "set", "eth0", "alias", ""]);
    plugin()
        .del(&container, &dual(json!({})))
        .expect_error(999)
        .mentions("failed to find original ifname for \"eth0\" (alias is not set)");
    assert_eq!(leases("net"), [""; 0]);
    container.ip("link set eth0 alias dev0");
    plugin().del(&container, &dual(json!({}))).expect_ok();
    assert_eq!(devices(&host), ["dev0 down"]);
}

/// When a namespace is deleted, the kernel moves a physical device to the initial one,
/// down. This test imitates that; `physical.rs` has a real device.
#[test]
fn a_device_of_a_deleted_namespace() {
    for (changes, with_record, after) in [
        // With the name in the container, or with that of its index.
        (["link set dev0 down alias dev0 name eth0"], true, "dev0 up"),
        (
            ["link set dev0 down alias dev0 name devINDEX"],
            true,
            "dev0 up",
        ),
        (
            ["link set dev0 down alias dev0 name eth0"],
            false,
            "dev0 down",
        ),
        (
            ["link set dev0 down alias dev0 name devINDEX"],
            false,
            "dev0 down",
        ),
        // An ADD that was killed.
        (["link set dev0 down alias dev0"], true, "dev0 up"),
        // Changed by the operator.
        (
            ["link set dev0 down alias dev0 name lan0"],
            false,
            "lan0 (dev0) down",
        ),
        (
            ["link set dev0 alias dev0 name eth0"],
            false,
            "eth0 (dev0) up",
        ),
        (
            ["link set dev0 down alias uplink"],
            false,
            "dev0 (uplink) down",
        ),
    ] {
        for selector in [
            json!({}),
            json!({"device": null, "hwaddr": crate::common::MAC}),
        ] {
            let (host, _outside) = host_with_device();
            let container = host.container("c1");
            let config = device(selector);
            plugin().add(&container, &config).expect_ok();
            let record = std::fs::read("/run/cni/host-device/net:c1:eth0").unwrap();
            plugin().del(&container, &config).expect_ok();
            container.delete();
            // As the kernel leaves it.
            let index = host.link("dev0").unwrap()["ifindex"].to_string();
            for change in changes {
                host.ip("link set dev0 down");
                host.ip(&change.replace("INDEX", &index));
                if !change.contains("down") {
                    host.ip("link set eth0 up");
                }
            }
            if with_record {
                std::fs::create_dir_all("/run/cni/host-device").unwrap();
                std::fs::write("/run/cni/host-device/net:c1:eth0", &record).unwrap();
            }
            for _ in 0..2 {
                plugin().del(&container, &config).expect_ok();
                assert_eq!(devices(&host), [after], "{changes:?} {with_record}");
            }
            assert_eq!(records(), [""; 0]);
        }
    }
}

#[test]
fn gc_brings_devices_back() {
    let (host, container, _outside) = attached();
    let mut gc = dual(json!({}));
    plugin().gc(&gc).expect_ok();
    assert_eq!(devices(&container), ["eth0 (dev0) up"]);
    gc["cni.dev/valid-attachments"] = json!([{"containerID": "c1", "ifname": "eth0"}]);
    plugin().gc(&gc).expect_ok();
    assert_eq!(devices(&container), ["eth0 (dev0) up"]);
    // GC of another network does not affect it.
    let mut other = device(json!({"name": "other"}));
    other["cni.dev/valid-attachments"] = json!([]);
    plugin().gc(&other).expect_ok();
    assert_eq!(devices(&container), ["eth0 (dev0) up"]);
    gc["cni.dev/valid-attachments"] = json!([]);
    for _ in 0..2 {
        plugin().gc(&gc).expect_ok();
        assert_eq!(devices(&host), ["dev0 up"]);
        assert_eq!(leases("net"), [""; 0]);
        assert_eq!(records(), [""; 0]);
    }
}

/// Only the record tells where the device is, which the later release knows.
#[test]
fn gc_keeps_a_record_of_a_later_release() {
    const RECORD: &str = "/run/cni/host-device/net:c1:eth0";
    let (_host, container, _outside) = attached();
    let record = std::fs::read_to_string(RECORD).unwrap();
    let later = record.replace("\"version\":1", "\"version\":2");
    std::fs::write(RECORD, &later).unwrap();
    let mut gc = dual(json!({}));
    gc["cni.dev/valid-attachments"] = json!([]);
    plugin().gc(&gc).expect_ok();
    assert_eq!(devices(&container), ["eth0 (dev0) up"]);
    assert_eq!(std::fs::read_to_string(RECORD).unwrap(), later);
}

#[test]
fn gc_does_not_take_a_device_from_a_valid_attachment() {
    let (host, container, _outside) = attached();
    let record = std::fs::read("/run/cni/host-device/net:c1:eth0").unwrap();
    plugin().del(&container, &dual(json!({}))).expect_ok();
    let c2 = host.container("c2");
    plugin().add(&c2, &dual(json!({}))).expect_ok();
    // A stale record, whose namespace path is in use again.
    let record = String::from_utf8(record)
        .unwrap()
        .replace("netns/c1", "netns/c2");
    std::fs::write("/run/cni/host-device/net:c1:eth0", record).unwrap();
    let mut gc = dual(json!({}));
    gc["cni.dev/valid-attachments"] = json!([{"containerID": "c2", "ifname": "eth0"}]);
    plugin().gc(&gc).expect_ok();
    assert_eq!(devices(&c2), ["eth0 (dev0) up"]);
    assert_eq!(records(), ["net:c2:eth0"]);
}

#[test]
fn without_a_directory_for_records() {
    let (host, _outside) = host_with_device();
    let container = host.container("c1");
    host.write("../cni", "");
    let run = plugin().add(&container, &device(json!({}))).expect_ok();
    assert!(
        run.stderr_text()
            .contains("cannot record whether dev0 was up: /run/cni is not a directory"),
        "{}",
        run.stderr_text()
    );
    plugin().del(&container, &device(json!({}))).expect_ok();
    assert_eq!(devices(&host), ["dev0 down"]);
}

/// Another implementation brought the device back, which has no records.
#[test]
fn a_record_of_a_device_that_is_back_goes_with_the_next_add() {
    let (host, container, _outside) = attached();
    let record = std::fs::read("/run/cni/host-device/net:c1:eth0").unwrap();
    plugin().del(&container, &dual(json!({}))).expect_ok();
    std::fs::create_dir_all("/run/cni/host-device").unwrap();
    std::fs::write("/run/cni/host-device/net:c1:eth0", record).unwrap();
    let c2 = host.container("c2");
    plugin().add(&c2, &device(json!({}))).expect_ok();
    assert_eq!(records(), ["net:c2:eth0"]);
}
