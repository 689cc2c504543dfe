//! Plugins, links, routes and the kernel of the host.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};
use testkit::{Host, Node, Run, bin_dir, tool};

use crate::messages;

fn list(version: &str, plugin: Value) -> Value {
    json!({"cniVersion": version, "name": "net", "plugins": [plugin]})
}

fn bridge(subnet: &str) -> Value {
    json!({"type": "bridge", "bridge": "cni0", "ipam": {"type": "host-local", "ranges": [[{"subnet": subnet}]]}})
}

/// Checks one network with the plugins in `path`.
fn check(host: &Host, path: &Path, network: &Value) -> (Run, Vec<String>) {
    let file = host.write("net.conflist", network.to_string());
    let run = tool("cnitool")
        .arguments(&[
            "validate",
            &file.display().to_string(),
            "--cni-path",
            &path.display().to_string(),
        ])
        .run();
    let found = messages(&run, host.dir());
    (run, found)
}

#[test]
fn a_network_that_fits_the_host_has_no_findings() {
    let host = Host::new();
    let (run, found) = check(&host, &bin_dir(), &list("1.1.0", bridge("10.1.0.0/16")));
    assert!(run.is_ok() && found.is_empty(), "{}", run.report());
}

#[test]
fn plugins_are_there_executable_and_new_enough() {
    let host = Host::new();
    let dir = host.dir().join("plugins");
    fs::create_dir(&dir).expect("a directory");
    let shown = dir.display();
    let expect = |network: &Value, text: &str| {
        let (run, found) = check(&host, &dir, network);
        assert!(!run.is_ok());
        assert!(
            found.iter().any(|finding| finding.ends_with(text)),
            "{text}: {}",
            run.report()
        );
    };
    let network = list("1.1.0", bridge("10.1.0.0/16"));
    let path = "install it, or set --cni-path or CNI_PATH to its directory";
    expect(
        &network,
        &format!("error: no plugin bridge in {shown} (/plugins/0/type), {path}"),
    );
    expect(
        &network,
        &format!("error: no plugin host-local in {shown} (/plugins/0/ipam/type), {path}"),
    );
    let misspelled = list("1.1.0", json!({"type": "brigde"}));
    expect(
        &misspelled,
        &format!("error: no plugin brigde in {shown} (/plugins/0/type), write \"bridge\""),
    );
    let script = "#!/bin/sh\necho '{\"cniVersion\": \"0.4.0\", \"supportedVersions\": [\"0.3.1\", \"0.4.0\"]}'\n";
    fs::write(dir.join("bridge"), script).expect("a file");
    expect(
        &network,
        &format!(
            "error: the plugin {shown}/bridge is not executable (/plugins/0/type), run chmod +x {shown}/bridge"
        ),
    );
    fs::set_permissions(dir.join("bridge"), fs::Permissions::from_mode(0o755)).expect("a mode");
    expect(
        &network,
        &format!(
            "error: {shown}/bridge does not support version 1.1.0 of the specification (/plugins/0/type), \
             write one of 0.3.1, 0.4.0, or install a newer bridge"
        ),
    );
}

#[test]
fn routes_of_the_host_are_compared() {
    let host = Host::new();
    host.ip_batch(&[
        "link add up0 type veth peer name up1",
        "link set up0 up",
        "link set up1 up",
        "link add lan0 type bridge",
        "link set lan0 up",
        "addr add 10.1.2.1/24 dev lan0",
    ]);
    let (run, found) = check(&host, &bin_dir(), &list("1.1.0", bridge("10.1.0.0/16")));
    assert!(run.is_ok(), "{}", run.report());
    let text = "warning: 10.1.0.0/16 overlaps the host's route to 10.1.2.0/24 through lan0 \
                (/plugins/0/ipam/ranges/0/0/subnet), write another subnet, since one of the two is not reachable";
    assert!(
        found.len() == 1 && found[0].ends_with(text),
        "{}",
        run.report()
    );
    // Its own route does not count.
    let mut own = bridge("10.1.0.0/16");
    own["bridge"] = "lan0".into();
    let (run, found) = check(&host, &bin_dir(), &list("1.1.0", own));
    assert!(found.is_empty(), "{}", run.report());
}

#[test]
fn lower_links_exist() {
    let host = Host::new();
    host.ip_batch(&["link add ens3 type veth peer name other"]);
    let network = |master: &str| {
        list(
            "1.1.0",
            json!({"type": "macvlan", "master": master, "ipam": {"type": "dhcp"}}),
        )
    };
    let (run, found) = check(&host, &bin_dir(), &network("ens4"));
    let text =
        "warning: this host has no link ens4 (/plugins/0/master), write \"ens3\", or create it";
    assert!(
        found.len() == 1 && found[0].ends_with(text),
        "{}",
        run.report()
    );
    let (run, found) = check(&host, &bin_dir(), &network("ens3"));
    assert!(found.is_empty(), "{}", run.report());
}

#[test]
fn features_of_the_kernel_are_tried() {
    let host = Host::new();
    let ipam = json!({"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/16"}]]});
    let before = host.snapshot();
    for kind in ["dummy", "vlan", "ipvlan"] {
        let plugin = json!({"type": kind, "master": "lo", "ipam": ipam});
        let (run, found) = check(&host, &bin_dir(), &list("1.1.0", plugin));
        let text = format!(
            "error: this kernel has no links of the kind {kind} (/plugins/0/type), load the module"
        );
        let reported = found.iter().any(|finding| finding.contains(&text));
        assert_eq!(reported, !testkit::has(kind), "{}", run.report());
    }
    let mut plugin = bridge("10.1.0.0/16");
    plugin["vlan"] = 100.into();
    let (run, found) = check(&host, &bin_dir(), &list("1.1.0", plugin));
    let text = "error: vlan needs VLAN filtering, which this kernel's bridges do not have (/plugins/0/vlan), remove vlan";
    let reported = found.iter().any(|finding| finding.contains(text));
    assert_eq!(
        reported,
        !testkit::has("bridge-vlan-filtering"),
        "{}",
        run.report()
    );
    before.assert_same(&host.snapshot());
}

#[test]
fn packet_filters_are_tried() {
    let host = Host::new();
    let mut plugin = bridge("10.1.0.0/16");
    plugin["isDefaultGateway"] = true.into();
    plugin["ipMasq"] = true.into();
    plugin["ipMasqBackend"] = "iptables".into();
    let file = host.write("net.conflist", list("1.1.0", plugin).to_string());
    let run = |path: &str| {
        let arguments = ["validate", &file.display().to_string()];
        tool("cnitool")
            .arguments(&arguments)
            .env("CNI_PATH", bin_dir())
            .env("PATH", path)
            .run()
    };
    let without = run("/nowhere");
    let text = "error: iptables does not work on this host: ";
    assert!(
        !without.is_ok() && without.stdout_text().contains(text),
        "{}",
        without.report()
    );
    let with = run("/usr/sbin:/usr/bin:/sbin:/bin");
    assert!(with.is_ok(), "{}", with.report());
}
