//! ADD: the result, the moved device, and packets.

use crate::common::{MAC, device, devices, dual, host_with_device, plugin, reaches, records};
use serde_json::json;
use testkit::single_interface::printed_result;
use testkit::{Node, Plugin, VERSIONS, leases};

#[test]
fn every_version() {
    let (host, _outside) = host_with_device();
    let config = dual(json!({"dns": {"nameservers": ["10.1.0.53"], "search": ["example.org"]}}));
    for version in VERSIONS {
        let container = host.container("c1");
        let mut config = config.clone();
        config["cniVersion"] = version.into();
        let run = plugin().add(&container, &config).expect_ok();
        assert_eq!(run.stderr_text(), "");
        assert_eq!(run.stdout_text(), printed_result(version, MAC), "{version}");
        assert_eq!(devices(&container), ["eth0 (dev0) up"]);
        assert_eq!(devices(&host), [""; 0]);
        reaches(&container, "10.1.0.1");
        reaches(&container, "fd00:1::1");
        let check = plugin().check(&container, &run.with_prev());
        match version >= "0.4.0" {
            true => drop(check.expect_ok()),
            false => drop(check.expect_error(1)),
        }
        for _ in 0..2 {
            let del = plugin().del(&container, &run.with_prev()).expect_ok();
            assert_eq!((del.stdout_text(), del.stderr_text()), Default::default());
            assert_eq!(devices(&host), ["dev0 up"]);
            assert_eq!(devices(&container), [""; 0]);
            assert_eq!(leases("net"), [""; 0]);
            assert_eq!(records(), [""; 0]);
        }
        container.delete();
        host.command(&["rm", "-r", "/var/lib/cni/networks"]);
    }
    let version = plugin().version().expect_ok().json();
    assert_eq!(version["supportedVersions"], json!(VERSIONS));
}

#[test]
fn without_ipam() {
    let (host, _outside) = host_with_device();
    for version in VERSIONS {
        let container = host.container("c1");
        let config = device(json!({"cniVersion": version, "dns": {"nameservers": ["10.9.9.9"]}}));
        let before = host.snapshot();
        let run = plugin().add(&container, &config);
        if version < "0.3.0" {
            run.expect_error(999)
                .mentions("cannot convert: no valid IP addresses");
            before.assert_same(&host.snapshot());
            continue;
        }
        let run = run.expect_ok();
        let result = run.json();
        assert_eq!(result["interfaces"][0]["name"], "eth0");
        assert_eq!(result["interfaces"][0]["mac"], MAC);
        // The key `dns` is ignored without IPAM.
        assert_eq!(result["dns"].get("nameservers"), None);
        assert_eq!(devices(&container), ["eth0 (dev0) up"]);
        if version >= "0.4.0" {
            plugin().check(&container, &run.with_prev()).expect_ok();
        }
        plugin().del(&container, &config).expect_ok();
        assert_eq!(devices(&host), ["dev0 up"]);
        container.delete();
    }
}

#[test]
fn every_selector() {
    for selector in [
        json!({"device": "dev0"}),
        json!({"device": "a-longer-name-of-it"}),
        json!({"device": null, "hwaddr": MAC}),
        json!({"device": null, "HWADDR": "02-00-00-00-00-D0"}),
        json!({"device": null, "hwaddr": "0200.0000.00d0"}),
        // Of several the first.
        json!({"device": "dev0", "hwaddr": "02:00:00:00:00:99", "kernelpath": "/sys/devices/x"}),
    ] {
        let (host, _outside) = host_with_device();
        host.ip("link property add dev dev0 altname a-longer-name-of-it");
        let container = host.container("c1");
        let config = device(selector);
        let run = plugin().add(&container, &config).expect_ok();
        assert_eq!(devices(&container), ["eth0 (dev0) up"]);
        plugin().check(&container, &run.with_prev()).expect_ok();
        plugin().del(&container, &config).expect_ok();
        assert_eq!(devices(&host), ["dev0 up"]);
    }
}

#[test]
fn up_and_alias_are_as_they_were() {
    for (prepare, before) in [
        ("link set dev0 up", "dev0 up"),
        ("link set dev0 down", "dev0 down"),
        ("link set dev0 alias uplink", "dev0 (uplink) up"),
        ("link set dev0 down alias dev0", "dev0 (dev0) down"),
    ] {
        let (host, _outside) = host_with_device();
        host.ip(prepare);
        assert_eq!(devices(&host), [before]);
        let container = host.container("c1");
        let config = device(json!({}));
        plugin().add(&container, &config).expect_ok();
        assert_eq!(devices(&container), ["eth0 (dev0) up"]);
        plugin().del(&container, &config).expect_ok();
        assert_eq!(devices(&host), [before]);
    }
}

#[test]
fn names_that_are_taken_on_the_other_side() {
    let (host, _outside) = host_with_device();
    let container = host.container("c1");
    // The container has a link with the name on the host, and the host one with the name in the container.
    container.ip("link add dev0 type veth peer name other0");
    host.ip("link add eth0 type veth peer name other1");
    let config = device(json!({}));
    let run = plugin().add(&container, &config).expect_ok();
    assert_eq!(
        devices(&container),
        ["dev0 down", "eth0 (dev0) up", "other0 down"]
    );
    plugin().check(&container, &run.with_prev()).expect_ok();
    plugin().del(&container, &config).expect_ok();
    assert_eq!(devices(&host), ["dev0 up", "eth0 down", "other1 down"]);
    assert_eq!(devices(&container), ["dev0 down", "other0 down"]);
}

#[test]
fn under_its_own_name() {
    let (host, _outside) = host_with_device();
    let container = host.container("c1");
    let config = device(json!({}));
    let call = |verb| {
        let call = plugin().command(verb).container(&container).ifname("dev0");
        call.config(&config).run().expect_ok()
    };
    call("ADD");
    assert_eq!(devices(&container), ["dev0 (dev0) up"]);
    call("DEL");
    call("DEL");
    assert_eq!(devices(&host), ["dev0 up"]);
}

#[test]
fn from_one_container_to_the_next() {
    let (host, _outside) = host_with_device();
    let (c1, c2) = (host.container("c1"), host.container("c2"));
    let config = dual(json!({}));
    plugin().add(&c1, &config).expect_ok();
    plugin()
        .add(&c2, &config)
        .expect_error(999)
        .mentions("failed to find host device: failed to find \"dev0\": Link not found");
    // The runtime's DEL after the failure does not affect the other container.
    plugin().del(&c2, &config).expect_ok();
    assert_eq!(devices(&c1), ["eth0 (dev0) up"]);
    plugin().del(&c1, &config).expect_ok();
    plugin().add(&c2, &config).expect_ok();
    plugin().del(&c1, &config).expect_ok();
    assert_eq!(devices(&c2), ["eth0 (dev0) up"]);
    reaches(&c2, "10.1.0.1");
}

#[test]
fn status() {
    let (host, _outside) = host_with_device();
    let container = host.container("c1");
    plugin().status(&device(json!({}))).expect_ok();
    plugin().status(&dual(json!({}))).expect_ok();
    plugin()
        .status(&device(json!({"device": "dev1"})))
        .expect_error(50)
        .mentions("failed to find host device: failed to find \"dev1\": Link not found");
    plugin()
        .status(&device(json!({"device": null})))
        .expect_error(999)
        .mentions("specify either");
    // STATUS does not know the device that the runtime chooses.
    let chosen = json!({"device": null, "capabilities": {"deviceID": true}});
    plugin().status(&device(chosen)).expect_ok();
    // A device that a container has is not missing.
    plugin().add(&container, &device(json!({}))).expect_ok();
    plugin().status(&device(json!({}))).expect_ok();
    Plugin::new("host-device")
        .status(&dual(json!({"ipam": {"type": "no-such-plugin"}})))
        .expect_error(50);
}
