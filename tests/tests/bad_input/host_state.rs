//! Obstacles on the host: names in use, other addresses, directories that are read-only or full.

use std::fs;
use std::path::Path;

use blackbox::{answer, networks, state};
use serde_json::{Value, json};
use testkit::{Node, Plugin};

use super::{Stage, network};

const VAR: &str = "/var/lib/cni";

#[test]
fn the_interface_exists_already() {
    let stage = Stage::new();
    stage
        .container
        .command(&["ip", "link", "add", "eth0", "type", "bridge"]);
    stage.add_refused(
        "bridge",
        &network(json!({})),
        999,
        &["eth0", "already exists"],
    );
    // Also if the same network created it.
    stage.container.command(&["ip", "link", "del", "eth0"]);
    answer::result(&stage.call("bridge", "ADD", &network(json!({}))).run());
    stage.add_refused(
        "bridge",
        &network(json!({})),
        999,
        &["eth0", "already exists"],
    );
    let call = stage
        .call("bridge", "ADD", &network(json!({})))
        .ifname("lo");
    stage.refused(call, 999, &["lo", "already exists"]);
}

#[test]
fn the_bridge_is_another_kind_of_link() {
    let stage = Stage::new();
    stage.host.command(&[
        "ip", "link", "add", "cni0", "type", "veth", "peer", "name", "other",
    ]);
    let text = "failed to create bridge \"cni0\": \"cni0\" already exists but is not a bridge";
    for change in [
        json!({}),
        json!({"promiscMode": true}),
        json!({"mtu": 1400}),
        json!({"ipam": null}),
    ] {
        stage.add_refused("bridge", &network(change), 999, &[text]);
    }
    stage.add_refused(
        "bridge",
        &network(json!({"bridge": "lo"})),
        999,
        &["\"lo\" already exists but is not a bridge"],
    );
    let config = network(json!({}));
    stage.refused(stage.call("bridge", "STATUS", &config), 50, &["cni0"]);
}

/// Creates a bridge of the operator. Its hardware address is set, because otherwise it would change with the ports.
/// It is up, because the kernel deletes IPv6 addresses when a link is set down again.
fn own_bridge(stage: &Stage) {
    let mac = "02:00:00:00:00:aa";
    stage.host.command(&[
        "ip", "link", "add", "cni0", "address", mac, "up", "type", "bridge",
    ]);
}

#[test]
fn the_bridge_has_another_address() {
    let stage = Stage::new();
    let config = network(json!({}));
    own_bridge(&stage);
    stage
        .host
        .command(&["ip", "addr", "add", "10.66.0.1/24", "dev", "cni0"]);
    let text = "\"cni0\" already has an IP address different from 10.23.0.1/16";
    stage.add_undone(&config, &[text, "10.66.0.1/24"]);
    stage
        .host
        .command(&["ip", "addr", "del", "10.66.0.1/24", "dev", "cni0"]);
    stage.host.command(&[
        "ip",
        "-6",
        "addr",
        "add",
        "fd00:23::7/64",
        "dev",
        "cni0",
        "nodad",
    ]);
    let text = "\"cni0\" already has an IP address different from fd00:23::1/64";
    stage.add_undone(&config, &[text, "fd00:23::7/64"]);
    let force = network(json!({"forceAddress": true}));
    answer::result(&stage.call("bridge", "ADD", &force).run());
    assert_eq!(
        stage.host.addresses("cni0"),
        ["10.23.0.1/16", "fd00:23::1/64"]
    );
}

/// An address that `forceAddress` replaced is restored if ADD fails.
#[test]
fn a_replaced_address_is_restored_when_add_fails() {
    let stage = Stage::new();
    own_bridge(&stage);
    stage
        .host
        .command(&["ip", "addr", "add", "10.66.0.1/24", "dev", "cni0"]);
    // With IPv6 disabled on the bridge, the kernel refuses the IPv6 gateway address, which is added after the IPv4 one.
    stage
        .host
        .set_sysctl("net/ipv6/conf/cni0/disable_ipv6", "1");
    let config = network(json!({"forceAddress": true}));
    stage.add_undone(
        &config,
        &["could not add IP address fd00:23::1/64 to \"cni0\""],
    );
    assert_eq!(stage.host.addresses("cni0"), ["10.66.0.1/24"]);
}

/// The kernel refuses a route with an unreachable gateway.
#[test]
fn an_unreachable_gateway_of_a_route() {
    let stage = Stage::new();
    let route = json!({"ipam": {"routes": [{"dst": "192.0.2.0/24", "gw": "198.51.100.1"}]}});
    let parts = [
        "failed to add route",
        "192.0.2.0",
        "198.51.100.1",
        "network is unreachable",
    ];
    stage.add_undone(&network(route), &parts);
}

#[test]
fn a_read_only_state_directory() {
    let stage = Stage::new();
    let config = network(json!({}));
    stage.host.make_read_only(VAR);
    let parts = ["/var/lib/cni", "read-only file system"];
    for plugin in ["host-local", "bridge"] {
        stage.add_refused(plugin, &config, 999, &parts);
        stage.refused(stage.call(plugin, "STATUS", &config), 50, &parts);
        // There is nothing to release, so DEL and GC succeed.
        answer::silent(stage.call(plugin, "DEL", &config).run());
        answer::silent(Plugin::new(plugin).gc(&networks::with(
            config.clone(),
            &json!({"cni.dev/valid-attachments": []}),
        )));
    }
}

#[test]
fn a_state_directory_that_became_read_only() {
    let stage = Stage::new();
    let config = network(json!({}));
    let added = stage.call("bridge", "ADD", &config).run();
    answer::result(&added);
    stage.host.make_read_only(VAR);
    let parts = ["/var/lib/cni", "read-only file system"];
    answer::silent(stage.call("bridge", "CHECK", &added.with_prev()).run());
    let call = stage.call("bridge", "ADD", &config).ifname("eth1");
    stage.refused(call, 999, &parts);
    // DEL deletes the interface. The lease cannot be deleted, so DEL fails, and the runtime will repeat it.
    let error = answer::refusal(stage.call("bridge", "DEL", &config).run(), 999);
    for part in parts {
        error.clone().mentions(part);
    }
    assert!(stage.container.link("eth0").is_none());
    stage.host.unmount(VAR);
    answer::silent(stage.call("bridge", "DEL", &config).run());
    assert!(state::leases("net").is_empty());
}

#[test]
fn a_state_directory_that_is_a_file() {
    let stage = Stage::new();
    fs::write("/var/lib/cni/networks", "").expect("write a file");
    let config = network(json!({}));
    stage.add_refused(
        "bridge",
        &config,
        999,
        &["/var/lib/cni/networks", "not a directory"],
    );
    stage.refused(
        stage.call("bridge", "STATUS", &config),
        50,
        &["/var/lib/cni/networks"],
    );
}

/// Fills the file system at [`VAR`] and leaves `pages_left` pages free.
fn fill(pages_left: u64) {
    let page = [0_u8; 4096];
    let path = Path::new(VAR).join("filler");
    let mut content = Vec::new();
    while fs::write(&path, [&content[..], &page].concat()).is_ok() {
        content.extend(page);
    }
    let pages = (content.len() / page.len()) as u64;
    let keep = pages.saturating_sub(pages_left) * page.len() as u64;
    let file = fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .expect("open the filler");
    file.set_len(keep).expect("shrink the filler");
}

/// With no free space, and with enough for some of the steps, ADD fails and leaves nothing, or succeeds completely.
#[test]
fn a_full_state_directory() {
    let mut failures = 0;
    for warm in [false, true] {
        for pages_left in 0..12 {
            let stage = Stage::new();
            stage.host.mount_tmpfs(VAR, "size=256k");
            let config = network(json!({}));
            if warm {
                // The bridge, the index and the last reserved address exist.
                answer::result(&stage.call("bridge", "ADD", &config).run());
                answer::silent(stage.call("bridge", "DEL", &config).run());
            }
            fill(pages_left);
            failures += usize::from(!add_fails_or_is_complete(&stage, &config));
        }
    }
    assert!(failures >= 2, "only {failures} of 24 ADDs ran out of space");
}

/// The same with a limited number of files.
#[test]
fn a_state_directory_without_inodes() {
    let mut failures = 0;
    for inodes in 1..12 {
        let stage = Stage::new();
        stage
            .host
            .mount_tmpfs(VAR, &format!("size=1m,nr_inodes={inodes}"));
        failures += usize::from(!add_fails_or_is_complete(&stage, &network(json!({}))));
    }
    assert!(
        failures >= 2,
        "only {failures} of 11 ADDs ran out of inodes"
    );
}

/// Runs ADD and returns whether it succeeded. A failure names the cause and leaves no links, leases or partial files.
#[track_caller]
fn add_fails_or_is_complete(stage: &Stage, config: &Value) -> bool {
    let links = stage.host.link_names();
    let run = stage.call("bridge", "ADD", config).run();
    if run.is_ok() {
        assert_eq!(state::leases("net").len(), 2, "{}", run.report());
        answer::silent(stage.call("bridge", "CHECK", &run.with_prev()).run());
        answer::silent(stage.call("bridge", "DEL", config).run());
        assert!(state::leases("net").is_empty());
        return true;
    }
    let error = answer::refusal(run, 999);
    error
        .clone()
        .mentions("no space left on device")
        .mentions("/var/lib/cni");
    assert_eq!(stage.host.link_names(), links);
    assert!(stage.container.link("eth0").is_none());
    let directory = fs::read_dir(Path::new(state::LEASES).join("net"))
        .into_iter()
        .flatten();
    for file in directory.flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        assert!(
            name == "lock" || name == ".index" || name.starts_with("last_reserved_ip."),
            "{name} was left behind by: {}",
            error.text()
        );
    }
    // DEL succeeds on a full disk.
    answer::silent(stage.call("bridge", "DEL", config).run());
    false
}
