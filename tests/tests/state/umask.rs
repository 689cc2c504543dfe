//! The modes of all files with different umasks of the runtime.

use crate::chains::{full, further_interfaces, interfaces};
use blackbox::chain::Chain;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use testkit::{Host, bin_dir, needs};

/// Creates a directory of scripts that run each plugin with umask `bits`.
fn binaries(host: &Host, bits: &str) -> PathBuf {
    let directory = host.dir().join(format!("bin-{bits}"));
    fs::create_dir(&directory).unwrap();
    for entry in fs::read_dir(bin_dir()).unwrap().flatten() {
        let is_program = entry
            .metadata()
            .is_ok_and(|m| m.is_file() && m.mode() & 0o111 != 0);
        if !is_program {
            continue;
        }
        let script = directory.join(entry.file_name());
        let program = entry.path();
        fs::write(
            &script,
            format!("#!/bin/sh\numask {bits}\nexec {}\n", program.display()),
        )
        .unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    }
    directory
}

/// Collects the type with the mode, and the path, of every file below `directory`.
fn walk(directory: &Path, found: &mut Vec<(u32, PathBuf)>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let metadata = entry.metadata().unwrap();
        found.push((metadata.mode(), entry.path()));
        assert_eq!(metadata.uid(), 0, "{}", entry.path().display());
        if metadata.is_dir() {
            walk(&entry.path(), found);
        }
    }
}

/// The mode that a file must have; `None` if it does not belong to a plugin.
fn expected(path: &Path, is_directory: bool) -> Option<u32> {
    let text = path.to_str().unwrap();
    let private = if is_directory { 0o700 } else { 0o600 };
    if text.starts_with("/run/cni") || text.starts_with("/var/lib/cni/flannel") {
        return Some(private);
    }
    // As upstream: the directories of host-local are readable by all, its lock has mode 0750.
    if text.starts_with("/var/lib/cni/networks") {
        return Some(match path.file_name().unwrap().to_str().unwrap() {
            "lock" => 0o750,
            _ if is_directory => 0o755,
            _ => 0o600,
        });
    }
    let others = [
        "/run/netns",
        "/run/testkit",
        "/run/lock",
        "/run/xtables.lock",
    ];
    let is_other = others.iter().any(|other| text.starts_with(other));
    assert!(is_other, "{text} is not a documented file");
    None
}

/// Demands the documented mode of every file on the host. Returns the number of files below `/run/cni`.
#[track_caller]
fn assert_private(what: &str) -> usize {
    let mut found = Vec::new();
    walk(Path::new("/run"), &mut found);
    walk(Path::new("/var/lib/cni"), &mut found);
    for (mode, path) in &found {
        let is_directory = mode & 0o170_000 == 0o040_000;
        let is_file = mode & 0o170_000 == 0o100_000;
        if let Some(expected) = expected(path, is_directory) {
            let shown = path.display();
            assert!(is_directory || is_file, "{what}: {shown} has mode {mode:o}");
            assert_eq!(mode & 0o7777, expected, "{what}: {shown} has mode {mode:o}");
        }
    }
    let ours = found
        .iter()
        .filter(|(_, path)| path.starts_with("/run/cni/") && path != Path::new("/run/cni"));
    ours.count()
}

/// Runs every verb of a chain and checks the modes after each.
#[track_caller]
fn verbs(host: &Host, plugins: &[Value], bits: &str, bin: &Path) {
    let chain = Chain {
        bin: bin.to_owned(),
        ..Chain::new(plugins.to_vec())
    };
    let container = host.container(&chain.container_id);
    let what = |verb: &str| format!("umask {bits}, {verb} of {}", plugins[0]["type"]);
    chain.status();
    assert_private(&what("STATUS"));
    chain.add(&container);
    assert_private(&what("ADD"));
    chain.check(&container);
    assert_private(&what("CHECK"));
    chain.gc(true);
    assert_private(&what("GC"));
    chain.del(&container);
    assert_eq!(
        assert_private(&what("DEL")),
        0,
        "{}: files are left",
        what("DEL")
    );
    chain.add(&container);
    container.delete();
    drop(container);
    chain.gc(false);
    assert_eq!(
        assert_private(&what("GC")),
        0,
        "{}: files are left",
        what("GC")
    );
}

#[test]
fn files_of_chains_are_private() {
    for backend in ["iptables", "nftables"] {
        for bits in ["0", "077"] {
            let host = Host::new();
            let bin = binaries(&host, bits);
            verbs(&host, &full(backend), bits, &bin);
        }
    }
}

#[test]
fn files_of_interface_plugins_are_private() {
    for bits in ["0", "077"] {
        let host = Host::new();
        let bin = binaries(&host, bits);
        for plugins in interfaces(&host) {
            verbs(&host, &plugins, bits, &bin);
        }
    }
}

#[test]
fn files_of_further_interface_plugins_are_private() {
    needs(&["vlan", "ipvlan", "dummy", "vrf"]);
    let host = Host::new();
    let bin = binaries(&host, "0");
    for plugins in further_interfaces(&host) {
        verbs(&host, &plugins, "0", &bin);
    }
}
