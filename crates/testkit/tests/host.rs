//! Hosts, containers, snapshots and calls of plugins.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use testkit::{Host, Node, Plugin, run_all};

/// Creates a veth pair between host and container with a gateway address on the host's end.
fn plug(host: &Host, name: &str, container: &impl Node, netns: &Path) {
    let netns = netns.to_str().expect("UTF-8 path");
    host.command(&[
        "ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", netns,
    ]);
    host.command(&["ip", "addr", "add", "10.9.0.1/24", "dev", name]);
    host.command(&[
        "ip",
        "-6",
        "addr",
        "add",
        "fd09::1/64",
        "dev",
        name,
        "nodad",
    ]);
    host.command(&["ip", "link", "set", name, "up"]);
    container.command(&["ip", "addr", "add", "10.9.0.2/24", "dev", "eth0"]);
    container.command(&[
        "ip",
        "-6",
        "addr",
        "add",
        "fd09::2/64",
        "dev",
        "eth0",
        "nodad",
    ]);
    container.command(&["ip", "link", "set", "eth0", "up"]);
}

#[test]
fn a_host_is_private_and_the_thread_returns() {
    let net = || fs::read_link("/proc/thread-self/ns/net").unwrap();
    let mnt = || fs::read_link("/proc/thread-self/ns/mnt").unwrap();
    let (old_net, old_mnt) = (net(), mnt());
    let host = Host::new();
    let container = host.container("c1");
    assert_ne!(net(), old_net);
    assert_eq!(host.link_names(), ["lo"]);
    assert_eq!(fs::read_dir("/sys/class/net").unwrap().count(), 1);
    assert_eq!(fs::read_dir("/var/lib/cni").unwrap().count(), 0);
    let inner = net();
    assert_ne!(container.enter(net), inner);
    assert_eq!(net(), inner);
    // The container keeps the host alive.
    drop(host);
    assert_eq!(net(), inner);
    drop(container);
    assert_eq!((net(), mnt()), (old_net, old_mnt));
}

#[test]
fn a_deleted_container_has_no_path() {
    let host = Host::new();
    let container = host.container("gone");
    assert!(container.netns().exists());
    container.delete();
    assert!(!container.netns().exists());
}

#[test]
fn nodes_see_and_reach_each_other() {
    let host = Host::new();
    let container = host.container("c1");
    plug(&host, "veth0", &container, container.netns());
    assert_eq!(container.addresses("eth0"), ["10.9.0.2/24", "fd09::2/64"]);
    assert_eq!(container.routes("-4"), Vec::<String>::new());
    assert_eq!(host.link("veth0").unwrap()["linkinfo"]["info_kind"], "veth");
    for address in ["10.9.0.1", "fd09::1"] {
        container.ping(address);
        assert!(container.can_reach(address.parse().unwrap(), Duration::from_secs(1)));
    }
    assert!(container.try_ping("10.9.0.77").is_err());
    let nobody: IpAddr = "10.9.0.77".parse().unwrap();
    assert!(!container.can_reach(nobody, Duration::from_millis(300)));
    container.set_sysctl("net/ipv4/ip_forward", "1");
    assert_eq!(container.sysctl("net/ipv4/ip_forward"), "1");
    assert_eq!(host.sysctl("net/ipv4/ip_forward"), "0");
}

#[test]
fn snapshots_name_what_changed_and_only_that() {
    let host = Host::new();
    let container = host.container("c1");
    let empty = host.snapshot();
    empty.assert_same(&host.snapshot());
    plug(&host, "veth0", &container, container.netns());
    fs::write("/var/lib/cni/note", "hello").unwrap();
    let plugged = host.snapshot();
    let diff = empty.diff(&plugged);
    for part in [
        "host link:\n  + veth0 kind=veth mtu=1500",
        "c1 address:\n  + eth0 ",
        "local=10.9.0.2",
        "c1 route -4:",
        "c1 route -6:",
        "/var/lib/cni/note: \"hello\"",
    ] {
        assert!(diff.contains(part), "{part} missing in\n{diff}");
    }
    // Timers, carriers and counters change meanwhile.
    container.ping("10.9.0.1");
    plugged.assert_same(&host.snapshot());
    host.command(&["ip", "link", "del", "veth0"]);
    empty.assert_same(&host.snapshot().without("/note"));
}

/// A plugin that is a shell script.
fn script(host: &Host, body: &str) -> Plugin {
    use std::os::unix::fs::PermissionsExt;
    let path = host.write("script", format!("#!/bin/sh\n{body}\n"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("make executable");
    Plugin::in_dir(host.dir(), "script")
}

#[test]
fn a_call_passes_environment_and_input() {
    let host = Host::new();
    let container = host.container("c1");
    let plugin = script(
        &host,
        r#"read conf; echo warn >&2; echo "{\"conf\": $conf, \"env\": \"$CNI_COMMAND $CNI_CONTAINERID $CNI_NETNS $CNI_IFNAME $CNI_PATH\"}""#,
    );
    let run = plugin.add(&container, &json!({"name": "net"})).expect_ok();
    let expected = "ADD c1 /run/netns/c1 eth0 /run/testkit";
    assert_eq!(
        run.json(),
        json!({"conf": {"name": "net"}, "env": expected})
    );
    assert_eq!(run.stderr_text(), "warn\n");
    assert_eq!(run.with_prev()["prevResult"]["env"], expected);
    let runs = run_all((0..20).map(|n| plugin.command("DEL").id(&format!("c{n}")).stdin("{}\n")));
    assert!(
        runs[19].json()["env"]
            .as_str()
            .unwrap()
            .starts_with("DEL c19")
    );
}

#[test]
fn reports_contain_the_whole_call() {
    let host = Host::new();
    let plugin = script(
        &host,
        r#"echo '{"cniVersion":"1.1.0","code":7,"msg":"bad","details":"key"}'; exit 1"#,
    );
    let error = plugin
        .status(&json!({"name": "x"}))
        .expect_error(7)
        .mentions("key");
    assert_eq!(error.text(), "bad; key");
    let report =
        std::panic::catch_unwind(|| plugin.status(&json!({"name": "x"})).expect_ok()).unwrap_err();
    let report = report.downcast_ref::<String>().unwrap();
    for part in [
        "CNI_COMMAND=STATUS",
        r#"{"name":"x"}"#,
        "exit status: 1",
        r#""msg":"bad""#,
    ] {
        assert!(report.contains(part), "{part} missing in {report}");
    }
}

#[test]
fn a_hanging_plugin_fails_the_test() {
    let host = Host::new();
    let plugin = script(&host, "sleep 60");
    let started = Instant::now();
    let call = plugin.command("ADD").deadline(Duration::from_millis(200));
    let report = std::panic::catch_unwind(|| call.run()).unwrap_err();
    assert!(
        report
            .downcast_ref::<String>()
            .unwrap()
            .contains("plugin hangs")
    );
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn directories_can_be_full_or_read_only() {
    let host = Host::new();
    host.mount_tmpfs("/var/lib/cni/full", "size=4k");
    fs::write("/var/lib/cni/full/a", [0; 4096]).unwrap();
    assert!(fs::write("/var/lib/cni/full/b", [0; 4096]).is_err());
    host.make_read_only("/var/lib/cni/full");
    assert!(fs::remove_file("/var/lib/cni/full/a").is_err());
    host.unmount("/var/lib/cni/full");
    fs::remove_file("/var/lib/cni/full/a").unwrap();
}
