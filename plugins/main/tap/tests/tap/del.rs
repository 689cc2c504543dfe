//! DEL and GC from whatever state there is; STATUS.

use crate::common::{added, dual, layer2, tap};
use serde_json::json;
use testkit::{Host, Node, VERSIONS, leases};

#[test]
fn whatever_is_gone() {
    for gone in ["namespace", "link", "netns variable", "prevResult"] {
        let config = dual(json!({}));
        let (_host, container, run) = added(&config);
        let mut del = tap()
            .command("DEL")
            .container(&container)
            .config(&run.with_prev());
        match gone {
            "namespace" => container.delete(),
            "link" => drop(container.command(&["ip", "link", "del", "eth0"])),
            "netns variable" => {
                container.delete();
                del = del.without_env("CNI_NETNS");
            }
            _ => del = del.config(&config),
        }
        del.clone().run().expect_ok();
        assert_eq!(leases("net"), [""; 0], "{gone}");
        del.run().expect_ok();
    }
}

#[test]
fn the_bridge_is_gone_or_the_configuration_broken() {
    let (_host, container, _) = added(&dual(json!({})));
    let mut config = dual(json!({"bridge": "gone", "owner": "root", "mtu": -1}));
    config["args"] = 7.into();
    let del = tap().command("DEL").container(&container).config(&config);
    del.args("K8S_POD_NAME=x").run().expect_ok();
    assert_eq!(container.link_names(), ["lo"]);
    assert_eq!(leases("net"), [""; 0]);
}

#[test]
fn gc_releases_what_is_not_valid() {
    let host = Host::new();
    let (c1, c2) = (host.container("c1"), host.container("c2"));
    let mut config = dual(json!({}));
    for container in [&c1, &c2] {
        tap().add(container, &config).expect_ok();
    }
    c1.delete();
    config["cni.dev/valid-attachments"] = json!([{"containerID": "c2", "ifname": "eth0"}]);
    tap().gc(&config).expect_ok();
    assert_eq!(leases("net"), ["10.1.0.3", "fd00:1::3"]);
    assert!(c2.link("eth0").is_some());
    tap()
        .gc(&layer2(json!({"cni.dev/valid-attachments": []})))
        .expect_ok();
}

#[test]
fn status_and_version() {
    let host = Host::new();
    tap().status(&layer2(json!({}))).expect_ok();
    tap().status(&dual(json!({}))).expect_ok();
    host.mount_tmpfs("/dev/net", "size=4k");
    tap()
        .status(&layer2(json!({})))
        .expect_error(50)
        .mentions("cannot create taps: /dev/net/tun: no such file or directory");
    let container = host.container("c1");
    tap()
        .add(&container, &layer2(json!({})))
        .expect_error(999)
        .mentions("failed to create tap: cannot open /dev/net/tun: no such file or directory");
    host.unmount("/dev/net");
    let version = tap().version().expect_ok().json();
    assert_eq!(version["supportedVersions"], json!(VERSIONS));
}
