//! The cache that libcni shares with Podman's CNI backend.

use std::fs;
use std::path::Path;

use blackbox::state;
use libcni::{Attachment, Cni, NetworkList, load_list};
use serde_json::Value;
use testkit::{Host, Node, Podman, bin_dir, tool};

use crate::start;

const RESULTS: &str = "/var/lib/cni/results";

/// A Podman with a network of our plugins.
fn podman() -> Podman {
    let podman = Podman::ready();
    podman.run(&["network", "create", "--subnet", "10.77.0.0/24", "ours"]);
    podman
}

/// Runs a container with a published port, and returns its attachment as the cache knows it.
fn run(podman: &Podman, cni: &Cni) -> (Attachment, Value) {
    let options = ["--network=ours", "--publish=7777:7777", "--ip=10.77.0.9"];
    podman.run(&start("c1", &options, &[]));
    attachment(podman, cni, "ours", "c1")
}

/// Returns the attachment of a container's `eth0` and its result, as the cache knows them.
#[track_caller]
pub(crate) fn attachment(
    podman: &Podman,
    cni: &Cni,
    network: &str,
    container: &str,
) -> (Attachment, Value) {
    let about = podman.inspect(container);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let netns = text(&about["NetworkSettings"]["SandboxKey"]);
    let key = Attachment::new(text(&about["Id"]), netns, "eth0");
    let cached = cni
        .cached_attachment(network, &key)
        .unwrap()
        .expect("Podman has cached it");
    let attachment = Attachment {
        // Its version of upstream's library does not cache that.
        netns: key.netns,
        ..cached.attachment
    };
    (attachment, cached.result.unwrap())
}

fn file(directory: &Path, attachment: &Attachment) -> String {
    let name = format!("ours-{}-{}", attachment.container_id, attachment.if_name);
    fs::read_to_string(directory.join(name)).unwrap()
}

/// Returns the bytes that libcni caches for an attachment with this result.
fn cached_by_us(
    host: &Host,
    list: &NetworkList,
    attachment: &Attachment,
    result: &Value,
) -> String {
    let bin = host.dir().join("answers");
    fs::create_dir(&bin).unwrap();
    for plugin in &list.plugins {
        let script = bin.join(&plugin.conf.kind);
        fs::write(
            &script,
            format!("#!/bin/sh\ncat >/dev/null; cat <<'END'\n{result}\nEND\n"),
        )
        .unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&script, mode).unwrap();
    }
    let cache = host.dir().join("cache");
    Cni::new([bin])
        .cache_dir(&cache)
        .add(list, attachment)
        .unwrap();
    file(&cache.join("results"), attachment)
}

#[test]
fn podman_and_libcni_use_each_others_cache() {
    let podman = podman();
    let list = load_list(&podman.path("net.d"), "ours").unwrap();
    let cni = Cni::new([bin_dir()]);
    let (attachment, result) = run(&podman, &cni);
    assert_eq!(attachment.args[1], ("K8S_POD_NAME".into(), "c1".into()));

    let netns = format!(r#""netns":"{}","#, attachment.netns.display());
    let ours = cached_by_us(&podman.host, &list, &attachment, &result);
    assert_eq!(
        ours.replace(&netns, ""),
        file(Path::new(RESULTS), &attachment)
    );

    // Podman attaches, libcni checks and detaches.
    podman.host.ping("10.77.0.9");
    cni.check(&list, &attachment).unwrap();
    cni.del(&list, &attachment).unwrap();
    assert_eq!(fs::read_dir(RESULTS).unwrap().count(), 0);
    assert!(state::leases("ours").is_empty());
    assert!(state::veths(&podman.host).is_empty());

    // libcni attaches, Podman detaches.
    let added = cni.add(&list, &attachment).unwrap().unwrap();
    assert_eq!(added.result.ips[0].address.to_string(), "10.77.0.9/24");
    podman.host.ping("10.77.0.9");
    podman.run(&["rm", "--force", "--time", "0", "c1"]);
    assert_eq!(fs::read_dir(RESULTS).unwrap().count(), 0);
    assert!(state::leases("ours").is_empty());
    for filters in [["nft", "list", "ruleset"], ["iptables-save", "-t", "nat"]] {
        let text = podman.host.command(&filters);
        assert!(!text.contains(&attachment.container_id), "{text}");
    }
}

#[test]
fn containers_of_podman_are_repaired() {
    let podman = podman();
    let cni = Cni::new([bin_dir()]);
    let (attachment, _) = run(&podman, &cni);
    let cached = file(Path::new(RESULTS), &attachment);
    let host = &podman.host;
    let published = || {
        let rules = host.command(&["nft", "list", "ruleset"]);
        rules.contains("10.77.0.9:7777")
    };
    let repair = || {
        let tool = tool("cnitool").env("NETCONFPATH", podman.path("net.d"));
        let run = tool.arguments(&["repair", "ours"]).run();
        run.expect_ok().stdout_text()
    };
    assert!(published());
    host.command(&["nft", "flush", "ruleset"]);
    host.ip("address flush dev cni-podman1 scope global");
    assert!(!published());
    let text = repair();
    assert!(text.contains("bridge: repaired: "), "{text}");
    assert!(text.contains("portmap: repaired: "), "{text}");
    assert!(published());
    host.ping("10.77.0.9");
    let text = repair();
    assert!(text.starts_with("attachments: 1, whole 1,"), "{text}");
    assert_eq!(file(Path::new(RESULTS), &attachment), cached);
    podman.run(&["rm", "--force", "--time", "0", "c1"]);
    assert!(!published());
    assert!(state::leases("ours").is_empty());
}
