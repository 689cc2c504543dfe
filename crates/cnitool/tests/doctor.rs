//! `cnitool doctor`: each finding, provoked on a host of its own.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command};

use serde_json::{Value, json};
use support::{Setup, path};
use testkit::{Node, bin_dir};

/// A healthy host: three plugins, and a network of them.
fn healthy() -> Setup {
    let setup = Setup::with_list(&json!({
        "cniVersion": "1.1.0", "name": "net",
        "plugins": [
            {"type": "bridge", "bridge": "cni0", "isGateway": true,
             "ipam": {"type": "host-local", "subnet": "10.1.0.0/28", "routes": [{"dst": "0.0.0.0/0"}]}},
            {"type": "firewall", "backend": "nftables"}
        ]
    }));
    let dir = plugins(&setup);
    fs::create_dir(&dir).expect("create the directory of plugins");
    for name in ["bridge", "host-local", "firewall"] {
        fs::copy(bin_dir().join(name), dir.join(name)).expect("copy a plugin");
    }
    setup
}

fn plugins(setup: &Setup) -> std::path::PathBuf {
    setup.host.dir().join("plugins")
}

/// The report, and whether the command succeeded.
fn examine(setup: &Setup, options: &[&str]) -> (Value, bool) {
    let arguments = [&["doctor", "--json"], options].concat();
    let run = setup.call(&arguments).env("CNI_PATH", plugins(setup)).run();
    (run.json(), run.is_ok())
}

/// Demands exactly one finding with this text in what was found, and something to do.
#[track_caller]
fn expect(setup: &Setup, severity: &str, area: &str, text: &str) {
    let (report, is_ok) = examine(setup, &[]);
    let findings = report["findings"].as_array().expect("findings");
    let found: Vec<&Value> = findings
        .iter()
        .filter(|finding| {
            finding["what"]
                .as_str()
                .is_some_and(|what| what.contains(text))
        })
        .collect();
    assert_eq!(found.len(), 1, "{text}: {report:#}");
    assert_eq!(found[0]["severity"], severity);
    assert_eq!(found[0]["area"], area);
    assert!(
        found[0]["advice"]
            .as_str()
            .is_some_and(|advice| !advice.is_empty())
    );
    assert!(found[0]["why"].as_str().is_some_and(|why| !why.is_empty()));
    let has_errors = findings
        .iter()
        .any(|finding| finding["severity"] == "error");
    assert_eq!(is_ok, !has_errors);
    let (_, is_ok) = examine(setup, &["--strict"]);
    assert!(!is_ok);
}

#[test]
fn a_healthy_host_has_no_findings() {
    let setup = healthy();
    let container = setup.host.container("c1");
    let call = setup.call(&["add", "net", path(&container)]);
    call.env("CNI_PATH", plugins(&setup)).run().expect_ok();
    let before = setup.host.snapshot();
    let (report, is_ok) = examine(&setup, &["--strict"]);
    assert_eq!(report["findings"], json!([]), "{report:#}");
    assert!(is_ok);
    assert_eq!(setup.host.snapshot(), before, "doctor changed something");
    let text = setup
        .call(&["doctor"])
        .env("CNI_PATH", plugins(&setup))
        .run();
    let text = text.expect_ok().stdout_text();
    for part in [
        "kinds of links",
        "networks        net in ",
        "no problems found",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn faults_of_configurations_are_counted() {
    let setup = healthy();
    setup.write(
        "20-bad.conflist",
        &json!({"cniVersion": "1.1.0", "name": "bad", "plugins": [{"type": "brigde"}]}),
    );
    expect(&setup, "error", "networks", "errors in the configurations");
    fs::remove_dir_all(&setup.config_dir).expect("remove the configurations");
    fs::create_dir(&setup.config_dir).expect("create the directory");
    expect(&setup, "warning", "networks", "there is no network");
}

#[test]
fn plugins_that_cannot_run_or_that_others_can_replace_are_errors() {
    let setup = healthy();
    let dir = plugins(&setup);
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("change the mode");
    };
    let portmap = dir.join("portmap");
    fs::write(&portmap, "x").expect("write a file");
    mode(&portmap, 0o644);
    expect(&setup, "error", "plugins", "is not executable");
    mode(&portmap, 0o4755);
    expect(&setup, "error", "plugins", "is set-user-ID");
    mode(&portmap, 0o777);
    expect(&setup, "error", "plugins", "has mode 777");
    mode(&portmap, 0o755);
    let mut program = fs::read(dir.join("bridge")).expect("read a plugin");
    // EM_ALPHA of elf.h: no machine of today.
    program[18..20].copy_from_slice(&0x9026_u16.to_le_bytes());
    fs::write(&portmap, program).expect("write a plugin");
    expect(&setup, "error", "plugins", "is for another processor");
    fs::remove_file(&portmap).expect("remove a file");
    mode(&dir, 0o777);
    expect(&setup, "error", "plugins", "has mode 777");
}

#[test]
fn copies_and_mixed_versions_are_warnings() {
    let setup = healthy();
    let dir = plugins(&setup);
    let script = dir.join("macvlan");
    fs::write(&script, "#!/bin/sh\necho 'CNI macvlan plugin v1.1.1' >&2\n")
        .expect("write a script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("change the mode");
    expect(&setup, "warning", "plugins", "several versions are in use");
    fs::remove_file(script).expect("remove a file");
    let second = setup.host.dir().join("second");
    fs::create_dir(&second).expect("create a directory");
    fs::copy(dir.join("bridge"), second.join("bridge")).expect("copy a plugin");
    let both = format!("{}:{}", dir.display(), second.display());
    let call = || setup.call(&["doctor", "--json", "--cni-path", &both]).run();
    assert_eq!(
        call().expect_ok().json()["findings"],
        json!([]),
        "equal files"
    );
    fs::copy(dir.join("firewall"), second.join("bridge")).expect("copy a plugin");
    let report = call().json();
    let what = report["findings"][0]["what"].as_str().expect("a finding");
    assert!(what.contains("bridge is in several directories"), "{what}");
}

#[test]
fn a_policy_that_drops_is_an_error_for_networks_without_firewall() {
    let setup = healthy();
    setup
        .host
        .command(&["iptables-nft", "-P", "FORWARD", "DROP"]);
    let (report, _) = examine(&setup, &[]);
    assert_eq!(
        report["findings"],
        json!([]),
        "the network has the plugin firewall"
    );
    setup.write(
        "20-other.conflist",
        &json!({"cniVersion": "1.1.0", "name": "other", "plugins": [
            {"type": "bridge", "bridge": "cni1", "isGateway": true,
             "ipam": {"type": "host-local", "subnet": "10.2.0.0/24", "routes": [{"dst": "0.0.0.0/0"}]}}]}),
    );
    expect(&setup, "error", "packet filter", "FORWARD of iptables");
    setup
        .host
        .command(&["iptables-nft", "-P", "FORWARD", "ACCEPT"]);
    setup.host.command(&["nft", "add table inet filter; add chain inet filter forward { type filter hook forward priority 0; policy drop; }"]);
    expect(
        &setup,
        "error",
        "packet filter",
        "nft chain inet filter forward",
    );
}

#[test]
fn both_variants_of_iptables_are_a_warning() {
    let setup = healthy();
    setup
        .host
        .command(&["iptables-nft", "-A", "FORWARD", "-j", "ACCEPT"]);
    setup
        .host
        .command(&["iptables-legacy", "-A", "FORWARD", "-j", "ACCEPT"]);
    expect(
        &setup,
        "warning",
        "packet filter",
        "both variants of iptables",
    );
}

#[test]
fn forwarding_that_was_disabled_is_an_error() {
    let setup = healthy();
    let container = setup.host.container("c1");
    let call = setup.call(&["add", "net", path(&container)]);
    call.env("CNI_PATH", plugins(&setup)).run().expect_ok();
    setup.host.set_sysctl("net/ipv4/ip_forward", "0");
    expect(&setup, "error", "sysctls", "net.ipv4.ip_forward is 0");
}

/// A program with this name, which does nothing.
fn stand_in(setup: &Setup, name: &str) -> Child {
    let program = setup.host.dir().join(name);
    fs::copy("/bin/sleep", &program).expect("copy sleep");
    Command::new(program).arg("600").spawn().expect("start it")
}

#[test]
fn managers_of_links_are_warnings() {
    let setup = healthy();
    let mut children = vec![stand_in(&setup, "NetworkManager")];
    expect(&setup, "warning", "managers", "NetworkManager runs");
    children.push(stand_in(&setup, "systemd-networkd"));
    expect(
        &setup,
        "warning",
        "managers",
        "routes and rules that it has not made",
    );
    setup.write(
        "20-other.conflist",
        &json!({"cniVersion": "1.1.0", "name": "other", "plugins": [
        {"type": "ptp", "ipam": {"type": "host-local", "subnet": "10.2.0.0/24"}}]}),
    );
    children.push(stand_in(&setup, "firewalld"));
    expect(&setup, "warning", "managers", "firewalld runs");
    setup.host.mount_tmpfs("/run", "");
    fs::create_dir_all("/run/systemd/network").expect("create a directory");
    let file = Path::new("/run/systemd/network/10-all.network");
    fs::write(file, "[Match]\nType=ether\n[Network]\nDHCP=yes\n").expect("write a file");
    expect(&setup, "warning", "managers", "matches links of containers");
    fs::write(file, "[Match]\nName=en*\n[Network]\nDHCP=yes\n").expect("write a file");
    let (report, _) = examine(&setup, &[]);
    assert!(!report.to_string().contains("matches links"), "{report:#}");
    for mut child in children {
        child.kill().expect("kill it");
        child.wait().expect("wait for it");
    }
}

#[test]
fn what_attachments_left_is_a_warning() {
    let setup = healthy();
    let add = |name: &str| {
        let container = setup.host.container(name);
        let call = setup.call(&["add", "net", path(&container)]);
        call.env("CNI_PATH", plugins(&setup)).run().expect_ok();
        container
    };
    let containers: Vec<_> = (0..12).map(|number| add(&format!("c{number}"))).collect();
    expect(
        &setup,
        "warning",
        "state",
        "1 of 13 addresses of net in 10.1.0.0/28 are free",
    );
    containers[0].delete();
    expect(
        &setup,
        "warning",
        "state",
        "1 attachments have no network namespace",
    );
    let cache = fs::read_dir("/var/lib/cni/results").expect("the cache");
    for entry in cache {
        fs::remove_file(entry.expect("an entry").path()).expect("remove a file");
    }
    expect(
        &setup,
        "warning",
        "state",
        "links of attachments that no cache has: veth",
    );
    expect(
        &setup,
        "warning",
        "state",
        "12 of 12 addresses of the network net are reserved",
    );
}

#[test]
fn a_dhcp_daemon_that_is_down_is_an_error() {
    let setup = healthy();
    setup.write(
        "20-dhcp.conflist",
        &json!({"cniVersion": "1.1.0", "name": "lan", "plugins": [
        {"type": "bridge", "bridge": "cni1", "ipam": {"type": "dhcp"}}, {"type": "firewall"}]}),
    );
    expect(&setup, "error", "state", "the DHCP daemon does not answer");
}

#[test]
fn a_full_file_system_is_an_error() {
    let setup = healthy();
    setup.host.mount_tmpfs("/var/lib/cni", "size=64k");
    // tmpfs has whole pages.
    let _ = fs::write("/var/lib/cni/ballast", vec![1; 1 << 17]);
    expect(
        &setup,
        "error",
        "state",
        "the file system of /var/lib/cni is full",
    );
}
