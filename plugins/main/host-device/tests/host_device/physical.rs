//! A physical device whose namespace is deleted. The kernel moves it to the initial
//! namespace, so this test needs a machine of its own.

use crate::common::{plugin, records};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use testkit::{Invocation, needs, physical_device};

const NETNS: &str = "/run/netns/physical1";

/// Runs `ip` on the machine itself.
#[track_caller]
fn ip(arguments: &str) -> String {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// A device of the machine as `ip -json link` shows it; null when it is missing.
fn link(name: &str) -> Value {
    let links: Value = serde_json::from_str(&ip("-json link show")).unwrap();
    let links = links.as_array().unwrap();
    links
        .iter()
        .find(|link| link["ifname"] == name)
        .cloned()
        .unwrap_or_default()
}

fn is_up(name: &str) -> bool {
    let flags = link(name)["flags"].clone();
    flags.as_array().is_some_and(|f| f.contains(&"UP".into()))
}

/// Waits for the device with this hardware address to be back, and returns its name.
#[track_caller]
fn returned(mac: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        let links: Value = serde_json::from_str(&ip("-json link show")).unwrap();
        let links = links.as_array().unwrap().clone();
        if let Some(link) = links.iter().find(|link| link["address"] == mac) {
            return link["ifname"].as_str().unwrap().to_owned();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("the device did not come back");
}

fn call(verb: &str, config: &Value) -> Invocation {
    let call = plugin().command(verb).id("physical1").ifname("net1");
    call.netns(NETNS).config(config)
}

#[test]
fn its_name_and_state_are_restored() {
    needs(&["physical-device", "dummy"]);
    let device = physical_device();
    let mac = link(&device)["address"].as_str().unwrap().to_owned();
    let config = json!({
        "cniVersion": "1.1.0", "name": "net", "type": "host-device", "device": device,
        "cni.dev/valid-attachments": [],
    });
    let by_address = json!({
        "cniVersion": "1.1.0", "name": "net", "type": "host-device", "hwaddr": mac,
    });
    let add = || {
        ip("netns add physical1");
        call("ADD", &config).run().expect_ok();
        assert_eq!(link(&device), Value::Null);
        let inside = ip("-n physical1 link show dev net1");
        assert!(inside.contains(&format!("alias {device}")), "{inside}");
    };
    let delete_namespace = || {
        ip("netns del physical1");
        assert!(!Path::new(NETNS).exists());
    };
    let as_it_was = |up: bool| {
        assert_eq!(is_up(&device), up);
        assert_eq!(link(&device)["ifalias"], Value::Null);
        assert_eq!(records(), [""; 0]);
    };
    for up in [true, false] {
        ip(&format!(
            "link set {device} {}",
            if up { "up" } else { "down" }
        ));

        // The namespace exists.
        add();
        call("DEL", &config).run().expect_ok();
        as_it_was(up);
        call("DEL", &config).run().expect_ok();
        as_it_was(up);
        delete_namespace();

        // It was deleted, and the device has its name in the container.
        for del in [&config, &by_address] {
            add();
            delete_namespace();
            assert_eq!(returned(&mac), "net1");
            // An unmounted namespace leaves a plain file.
            fs::write(NETNS, "").unwrap();
            call("DEL", del).run().expect_ok();
            fs::remove_file(NETNS).unwrap();
            as_it_was(up);
            call("DEL", del).run().expect_ok();
            as_it_was(up);
        }

        // That name is taken: the kernel chose one.
        ip("link add net1 type dummy");
        add();
        delete_namespace();
        let temporary = returned(&mac);
        assert!(temporary.starts_with("dev"), "{temporary}");
        let del = call("DEL", &config).without_env("CNI_NETNS");
        del.run().expect_ok();
        as_it_was(up);
        ip("link del net1");

        // GC instead of DEL.
        add();
        delete_namespace();
        returned(&mac);
        plugin().gc(&config).expect_ok();
        as_it_was(up);

        // Without a record.
        for del in [&config, &by_address] {
            add();
            fs::remove_dir_all("/run/cni").unwrap();
            delete_namespace();
            returned(&mac);
            call("DEL", del).run().expect_ok();
            as_it_was(false);
            ip(&format!(
                "link set {device} {}",
                if up { "up" } else { "down" }
            ));
        }
    }
}
