//! An unprivileged user who plants symbolic links and pipes, and tries to lock files.

use crate::chains::{flannel, full};
use crate::files_below;
use blackbox::chain::Chain;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use testkit::{Container, Host, Node};

const NOBODY: u32 = 65534;

/// Runs a shell command as an unprivileged user.
fn as_nobody(host: &Host, script: &str) -> Result<String, String> {
    let user = NOBODY.to_string();
    host.try_command(&[
        "setpriv",
        "--reuid",
        &user,
        "--regid",
        &user,
        "--clear-groups",
        "sh",
        "-c",
        script,
    ])
}

/// Runs ADD, CHECK and DEL, which must succeed with the planted files in place.
#[track_caller]
fn verbs(chain: &Chain, container: &Container) {
    chain.add(container);
    chain.check(container);
    chain.del(container);
}

#[test]
fn another_user_can_neither_lock_nor_create_files() {
    for backend in ["iptables", "nftables"] {
        let host = Host::new();
        let container = host.container("c1");
        let chain = Chain::new(full(backend));
        chain.add(&container);
        let files = files_below(Path::new("/run/cni"));
        assert!(!files.is_empty());
        for path in files {
            let shown = path.display();
            for script in [
                format!("exec 9<{shown}"),
                format!("flock -n {shown} true"),
                format!("ln -s /etc/passwd {shown}.planted"),
                format!("ls {}", path.parent().unwrap().display()),
            ] {
                as_nobody(&host, &script).unwrap_err();
            }
        }
        chain.del(&container);
        for path in [
            "/run/cni/planted",
            "/run/cni/locks",
            "/run/iptables-transaction.lock",
        ] {
            as_nobody(&host, &format!("mkdir -p {path}")).unwrap_err();
        }
    }
}

/// An older release that used the umask may have left directories that everybody can write to. Another user has
/// created symbolic links and pipes there, under the name of every record.
#[test]
fn planted_records_are_neither_followed_nor_read() {
    for plant in ["ln -s $VICTIM", "mkfifo"] {
        for backend in ["iptables", "nftables"] {
            let host = Host::new();
            let victim = host.write("victim", "untouched");
            let container = host.container("c1");
            let chain = Chain::new(full(backend));
            chain.add(&container);
            let records = files_below(Path::new("/run/cni"));
            chain.del(&container);
            let _ = fs::create_dir("/run/cni");
            for record in &records {
                let directory = record.parent().unwrap();
                let _ = fs::create_dir(directory);
                for open in [Path::new("/run/cni"), directory] {
                    fs::set_permissions(open, fs::Permissions::from_mode(0o777)).unwrap();
                }
                let name = record.file_name().unwrap().to_str().unwrap();
                for name in [name.to_owned(), format!(".{name}")] {
                    let path = directory.join(name);
                    let script = format!("VICTIM={}; {plant} {}", victim.display(), path.display());
                    as_nobody(&host, &script).unwrap();
                }
            }
            verbs(&chain, &container);
            assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
            let left = fs::read_dir("/run/cni").into_iter().flatten();
            assert_eq!(left.count(), 0, "{:?}", files_below(Path::new("/run")));
        }
    }
}

/// The configuration names data directories that everybody can write to.
#[test]
fn links_in_an_open_data_directory_are_not_followed() {
    let host = Host::new();
    let victim = host.write("victim", "untouched");
    let open = host.dir().join("open");
    let container = host.container("c1");
    let directory = |name: &str| {
        let path = open.join(name);
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        path
    };
    let leases = directory("leases");
    let mut flannel = flannel(&host);
    flannel["dataDir"] = json!(directory("flannel"));
    flannel["ipam"] = json!({"dataDir": leases});
    let plants: [(&str, Value, &[&str]); 3] = [
        (
            "leases/net",
            json!({"type": "ptp", "ipam": {"type": "host-local", "dataDir": leases, "subnet": "10.1.0.0/24"}}),
            &[
                "lock",
                "last_reserved_ip.0",
                ".last_reserved_ip",
                "10.1.0.2",
                ".index",
                ".spare",
            ],
        ),
        (
            "flannel",
            flannel,
            &["c1", ".c1", "c1:net:eth0", ".c1:net:eth0"],
        ),
        (
            "tuning",
            json!({"type": "tuning", "dataDir": directory("tuning"), "mtu": 1400}),
            &["c1_eth0.json", ".c1_eth0.json"],
        ),
    ];
    for (below, plugin, names) in plants {
        for name in names {
            let path = directory(below).join(name);
            let _ = fs::remove_file(&path);
            symlink(&victim, &path).unwrap();
            let mut plugins = vec![plugin.clone()];
            if plugin["type"] == "tuning" {
                plugins.insert(
                    0,
                    json!({"type": "ptp", "ipam": {"type": "host-local", "subnet": "10.2.0.0/24"}}),
                );
            }
            let chain = Chain::new(plugins);
            // host-local refuses to lock a symbolic link; no other case may fail.
            if *name == "lock" {
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    chain.add(&container)
                }));
            } else {
                verbs(&chain, &container);
            }
            assert_eq!(
                fs::read_to_string(&victim).unwrap(),
                "untouched",
                "{}",
                path.display()
            );
            let _ = fs::remove_file(&path);
        }
    }
}
