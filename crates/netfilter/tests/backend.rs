//! The choice of a backend depending on `$PATH`, in child processes.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use netfilter::backend::Backend;
use testkit::namespace::in_namespace;

const NAME: &str = "nftables_is_chosen_only_without_a_working_iptables";

fn with_path(path: &Path, expected: &str) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME])
        .env("PATH", path)
        .env("NETFILTER_EXPECT", expected)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

#[test]
fn nftables_is_chosen_only_without_a_working_iptables() {
    if let Ok(expected) = std::env::var("NETFILTER_EXPECT") {
        in_namespace(|| {
            assert_eq!(Backend::choose().as_str(), expected);
            // The nftables backend does not need `nft`.
            Backend::Nftables.probe(true).unwrap();
            let iptables = Backend::Iptables.probe(false);
            assert_eq!(iptables.is_ok(), expected == "iptables");
            // This path has no ip6tables.
            if iptables.is_ok() {
                let error = Backend::Iptables.probe(true).unwrap_err();
                assert!(error.to_string().contains("\"ip6tables\""), "{error}");
            }
        });
        return;
    }
    let dir = std::env::temp_dir().join(format!("netfilter-path-{}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    with_path(&dir, "nftables");
    for (status, expected) in [(0, "iptables"), (1, "iptables"), (3, "nftables")] {
        for suffix in ["", "-save", "-restore"] {
            let file = dir.join(format!("iptables{suffix}"));
            std::fs::write(&file, format!("#!/bin/sh\nexit {status}\n")).unwrap();
            std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
        }
        with_path(&dir, expected);
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn names() {
    for backend in [Backend::Iptables, Backend::Nftables] {
        assert_eq!(Backend::from_name(backend.as_str()), Some(backend));
    }
    assert_eq!(Backend::from_name("IPTables"), None);
    in_namespace(|| {
        Backend::Iptables.probe(true).unwrap();
        Backend::Nftables.probe(true).unwrap();
    });
}
