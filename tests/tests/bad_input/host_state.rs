//! A host that is not as it should be: names taken, directories read-only or full.

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
    // Also when it came from the same network.
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
fn the_bridge_is_none() {
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

/// A bridge of the operator's. Its hardware address is given, or it would follow its ports'; it is up, or the kernel
/// would drop its IPv6 addresses when it is taken down again.
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

/// What was replaced by force comes back when the ADD fails after all.
#[test]
fn a_forced_address_is_taken_back() {
    let stage = Stage::new();
    own_bridge(&stage);
    stage
        .host
        .command(&["ip", "addr", "add", "10.66.0.1/24", "dev", "cni0"]);
    // Without IPv6 on the bridge its second gateway address, which comes after the first, is refused.
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

/// The container's own kernel settings may stand in the way as well.
#[test]
fn the_route_cannot_be() {
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
        // Nothing is there to be given back.
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
    // What can be done is done: the interface goes. The address stays, and so the runtime is told to come again.
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

/// Fills the file system at [`VAR`] except for so many pages.
fn fill(pages_left: u64) {
    let page = [0_u8; 4096];
    let path = Path::new(VAR).join("ballast");
    let mut content = Vec::new();
    while fs::write(&path, [&content[..], &page].concat()).is_ok() {
        content.extend(page);
    }
    let pages = (content.len() / page.len()) as u64;
    let keep = pages.saturating_sub(pages_left) * page.len() as u64;
    let file = fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .expect("open the ballast");
    file.set_len(keep).expect("shrink the ballast");
}

/// With no room at all, and with room for some of the steps only: what fails leaves nothing, what succeeds is
/// whole.
#[test]
fn a_full_state_directory() {
    let mut failures = 0;
    for warm in [false, true] {
        for pages_left in 0..12 {
            let stage = Stage::new();
            stage.host.mount_tmpfs(VAR, "size=256k");
            let config = network(json!({}));
            if warm {
                // A bridge, an index and the memory of the last address are there.
                answer::result(&stage.call("bridge", "ADD", &config).run());
                answer::silent(stage.call("bridge", "DEL", &config).run());
            }
            fill(pages_left);
            failures += usize::from(!full_or_whole(&stage, &config));
        }
    }
    assert!(
        failures >= 2,
        "only {failures} of 24 ADDs failed for want of room"
    );
}

/// The same with no more files allowed.
#[test]
fn a_state_directory_without_inodes() {
    let mut failures = 0;
    for inodes in 1..12 {
        let stage = Stage::new();
        stage
            .host
            .mount_tmpfs(VAR, &format!("size=1m,nr_inodes={inodes}"));
        failures += usize::from(!full_or_whole(&stage, &network(json!({}))));
    }
    assert!(
        failures >= 2,
        "only {failures} of 11 ADDs failed for want of inodes"
    );
}

/// ADDs; whether that succeeded. A failure says why and leaves neither links nor leases nor pieces of files.
#[track_caller]
fn full_or_whole(stage: &Stage, config: &Value) -> bool {
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
    // A full disk must not keep anything from being given back.
    answer::silent(stage.call("bridge", "DEL", config).run());
    false
}
