//! Where no child can or may be left: PID namespaces, limits, missing privileges.

use std::fs;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use blackbox::{answer, networks};
use serde_json::json;
use testkit::{Host, Node, Plugin, bin_dir};

use crate::processes::{Process, del_behind, masquerading, processes};

/// A PID namespace whose PID 1 reaps nothing.
struct PidNamespace {
    /// It runs the wrapper `unshare`, whose child is PID 1.
    unshare: Child,
    /// PID 1 of the namespace, as seen from here.
    init: u32,
}

impl PidNamespace {
    fn new() -> PidNamespace {
        let unshare = Command::new("unshare")
            .args(["--pid", "--fork", "--kill-child", "sleep", "1000"])
            .stdout(Stdio::null())
            .spawn()
            .expect("start unshare");
        let mut inside = PidNamespace { unshare, init: 0 };
        let children = format!("/proc/{0}/task/{0}/children", inside.unshare.id());
        let end = Instant::now() + Duration::from_secs(10);
        while inside.init == 0 {
            assert!(Instant::now() < end, "unshare has no child after 10 s");
            thread::sleep(Duration::from_millis(5));
            let listed = fs::read_to_string(&children).unwrap_or_default();
            let first = listed
                .split_whitespace()
                .next()
                .and_then(|pid| pid.parse().ok());
            // It becomes `sleep` by an exec, after which it reaps nothing.
            let name = |pid| fs::read_to_string(format!("/proc/{pid}/comm"));
            inside.init = first
                .filter(|pid: &u32| name(*pid).is_ok_and(|name| name == "sleep\n"))
                .unwrap_or(0);
        }
        inside
    }

    /// The processes of `bridge` whose parent is PID 1 of the namespace.
    fn orphans(&self) -> Vec<Process> {
        let mut all = processes("bridge");
        all.retain(|process| process.parent == self.init);
        all
    }

    /// Waits until the orphans have exited, and returns their number.
    #[track_caller]
    fn zombies(&self) -> usize {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let orphans = self.orphans();
            if orphans.iter().all(|orphan| orphan.state == 'Z') {
                return orphans.len();
            }
            assert!(Instant::now() < end, "{orphans:?} run for 10 s");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for PidNamespace {
    fn drop(&mut self) {
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
    }
}

/// Runs ADD and, inside the PID namespace, DEL with `CNI_DEFER`.
#[track_caller]
fn zombies_after_del(defer: Option<&str>) -> usize {
    let host = Host::new();
    let container = host.container("c1");
    let config = masquerading();
    let inside = PidNamespace::new();
    let init = inside.init.to_string();
    answer::result(&Plugin::new("bridge").add(&container, &config));
    let mut del = del_behind(
        &["nsenter", "--pid", "--target", &init],
        &container,
        &config,
    );
    del.envs(defer.map(|value| ("CNI_DEFER", value)));
    assert_succeeds(del.output());
    assert!(!container.link_names().contains(&"eth0".to_owned()));
    inside.zombies()
}

#[track_caller]
fn assert_succeeds(output: std::io::Result<Output>) {
    let output = output.expect("start DEL");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.is_empty(), "{output:?}");
}

#[test]
fn no_zombie_in_a_pid_namespace() {
    assert_eq!(zombies_after_del(None), 0);
    assert_eq!(zombies_after_del(Some("never")), 0);
}

/// Shows that the test above can fail, and that the variable overrides the choice.
#[test]
fn a_child_in_a_pid_namespace_on_request() {
    assert_eq!(zombies_after_del(Some("always")), 1);
}

/// A child is left on the host unless the variable forbids it.
#[test]
fn no_child_on_request() {
    let host = Host::new();
    let container = host.container("c1");
    let config = masquerading();
    let bridge = Plugin::new("bridge");
    for _ in 0..10 {
        let add = bridge.command("ADD").container(&container).config(&config);
        answer::result(&add.env("CNI_DEFER", "never").run());
        let mut del = del_behind(&[], &container, &config);
        assert_succeeds(del.env("CNI_DEFER", "never").output());
        assert!(crate::processes::processes_here("bridge").is_empty());
        assert!(!container.link_names().contains(&"eth0".to_owned()));
    }
}

/// A script for root of a user namespace, who is an unprivileged user outside, so that limits hold. It creates a
/// container, attaches it, and deletes the attachment under the limit of no further process.
const LIMITED: &str = r#"
set -e
mkdir /tmp/bin
cp "$BIN" "$CONFIG" /tmp/bin
mount -t tmpfs none /run
mkdir /run/netns
touch /run/netns/c1
unshare --net=/run/netns/c1 true
export CNI_CONTAINERID=c1 CNI_NETNS=/run/netns/c1 CNI_IFNAME=eth0 CNI_PATH=/tmp/bin
CNI_COMMAND=ADD /tmp/bin/bridge < /tmp/bin/config > /run/added
grep -q eth0 /run/added
CNI_COMMAND=DEL prlimit --nproc=0 /tmp/bin/bridge < /tmp/bin/config
! nsenter --net=/run/netns/c1 ip link show dev eth0 2>/dev/null
"#;

/// Neither a process nor a thread can be started, so the plugin deletes the link itself.
#[test]
fn del_succeeds_when_no_process_can_be_started() {
    for defer in ["always", "never"] {
        let host = Host::new();
        // The user may not be able to read the directory of the binaries.
        let bin = host.dir().join("bridge");
        fs::copy(bin_dir().join("bridge"), &bin).expect("copy the plugin");
        let config = json!({"cniVersion": "1.1.0", "name": "net", "type": "bridge"});
        host.mount_tmpfs("/tmp", "mode=1777");
        let output = Command::new("setpriv")
            .args(["--reuid", "64999", "--regid", "64999", "--clear-groups"])
            .args(["unshare", "--user", "--map-root-user", "--net", "--mount"])
            .args(["sh", "-c", LIMITED])
            .env("BIN", &bin)
            .env("CONFIG", host.write("config", config.to_string()))
            .env("CNI_DEFER", defer)
            .output();
        assert_succeeds(output);
    }
}

/// The kernel's refusal is reported in its words, although a child gets it.
#[test]
fn a_refused_deletion_is_reported() {
    let host = Host::new();
    let container = host.container("c1");
    let added =
        Plugin::new("bridge").add(&container, &networks::bridged("1.1.0", &["10.71.0.0/24"]));
    let config = json!({
        "cniVersion": "1.1.0", "name": "net", "type": "bandwidth",
        "egressRate": 5_000_000, "egressBurst": 500_000, "prevResult": answer::result(&added),
    });
    let added = answer::result(&Plugin::new("bandwidth").add(&container, &config));
    let ifb = added["interfaces"][3]["name"].as_str().expect("a name");
    let wrapper = ["unshare", "--user", "--map-root-user"];
    for defer in ["always", "never"] {
        let mut del = del_behind(&wrapper, &container, &config);
        let output = del.env("CNI_DEFER", defer).output().expect("start DEL");
        let text = String::from_utf8_lossy(&output.stdout);
        let refused = format!("failed to delete ifb device {ifb}: operation not permitted");
        assert!(
            !output.status.success() && text.contains(&refused),
            "{defer}: {output:?}"
        );
        assert!(host.link_names().contains(&ifb.to_owned()));
    }
}
