//! `CNI_NETNS` that no longer leads to the namespace of ADD, or leads to it by another path.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use blackbox::chain::{Chain, kubernetes_plugins};
use blackbox::{answer, state};
use serde_json::{Value, json};
use testkit::{Container, Host, Node, needs};

/// A network, and a script that prepares its host before each ADD.
struct Case {
    chain: Chain,
    prepare: &'static str,
    /// Number of wrong paths to test.
    paths: usize,
}

impl Case {
    fn new(chain: Vec<Value>) -> Case {
        let prepare = "[ -e /sys/class/net/up0 ] || ip link add up0 type veth peer name down0
                       ip link set up0 up; ip link set down0 up";
        Case {
            chain: Chain::new(chain),
            prepare,
            paths: usize::MAX,
        }
    }

    fn preparing(self, prepare: &'static str) -> Case {
        Case { prepare, ..self }
    }

    /// Creates a container and its attachment.
    #[track_caller]
    fn attach(&self, host: &Host) -> (Container, Value) {
        host.command(&["sh", "-c", self.prepare]);
        let container = host.container("c1");
        let result = self.chain.add(&container);
        (container, result)
    }

    #[track_caller]
    fn del(&self, netns: &Path, result: &Value) {
        for call in self.chain.calls("DEL", netns, result) {
            answer::silent(call.run());
        }
    }

    /// After the namespace is gone, DEL succeeds and cleans up, whatever is at `CNI_NETNS`.
    #[track_caller]
    fn del_cleans_up_without_the_namespace(&self) {
        let host = Host::new();
        let paths = paths_without_a_namespace(&host);
        let (container, result) = self.attach(&host);
        self.del(container.netns(), &result);
        drop(container);
        // host-device has moved its device back. In the loop below, the device is deleted with the namespace.
        let _ = host.try_command(&["ip", "link", "del", "dev0"]);
        let before = state::of(&host);
        for path in paths.iter().take(self.paths) {
            let (container, result) = self.attach(&host);
            drop(container);
            self.del(path, &result);
            state::assert_back(&before, &host);
            self.del(path, &result);
            before.assert_same(&state::of(&host));
        }
    }

    /// CHECK accepts every path to the namespace, and refuses other namespaces.
    #[track_caller]
    fn check_knows_the_namespace_by_any_path(&self) {
        let host = Host::new();
        let (container, mut result) = self.attach(&host);
        let link = host.dir().join("link");
        std::os::unix::fs::symlink(container.netns(), &link).expect("make a link");
        let process = Process::inside(&container);
        let proc_path = PathBuf::from(format!("/proc/{}/ns/net", process.0.id()));
        for path in [container.netns(), &link, &proc_path] {
            for call in self.chain.calls("CHECK", path, &result) {
                answer::silent(call.run());
            }
        }
        if self.chain.plugins[0]["type"] == "loopback" {
            // Every namespace has a loopback interface.
            return;
        }
        let foreign = host.container("c2");
        for interface in result["interfaces"].as_array_mut().into_iter().flatten() {
            if interface.get("sandbox").is_some() {
                interface["sandbox"] = foreign.netns().to_string_lossy().into();
            }
        }
        let mut calls = self.chain.calls("CHECK", container.netns(), &result);
        answer::failure(calls.swap_remove(0).run()).mentions("doesn't match configured netns");
    }
}

/// A process in the namespace of a container.
struct Process(Child);

impl Process {
    fn inside(container: &Container) -> Process {
        let mut command = Command::new("sleep");
        Process(container.enter(|| command.arg("1000").spawn().expect("start a process")))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().expect("kill the process");
        self.0.wait().expect("wait for the process");
    }
}

/// Paths at which there is no network namespace.
fn paths_without_a_namespace(host: &Host) -> Vec<PathBuf> {
    let file = host.write("file", b"");
    let dir = host.dir().join("dir");
    fs::create_dir(&dir).expect("make a directory");
    let link = host.dir().join("dangling");
    std::os::unix::fs::symlink("/run/netns/gone", &link).expect("make a link");
    let below = file.join("ns");
    let others = [
        "/proc/uptime",
        "/proc/self/ns/mnt",
        "/sys/kernel/uevent_seqnum",
    ];
    let others = others.map(PathBuf::from);
    [file, dir, link, below].into_iter().chain(others).collect()
}

fn ipam() -> Value {
    json!({"type": "host-local", "ranges": [[{"subnet": "10.60.0.0/24"}], [{"subnet": "fd00:60::/64"}]]})
}

fn ipam_v4() -> Value {
    json!({"type": "host-local", "subnet": "10.60.0.0/24"})
}

fn kubernetes(backend: &str) -> Case {
    Case::new(kubernetes_plugins(backend, &ipam()))
}

macro_rules! cases {
    ($($name:ident: $case:expr;)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn del_cleans_up_without_the_namespace() {
                $case.del_cleans_up_without_the_namespace();
            }

            #[test]
            fn check_knows_the_namespace_by_any_path() {
                $case.check_knows_the_namespace_by_any_path();
            }
        }
    )*};
}

/// A case that requires a kernel feature. Only one path is tested, because User Mode Linux is slow and the other
/// plugins cover the rest.
fn needing(feature: &str, case: Case) -> Case {
    needs(&[feature]);
    Case { paths: 1, ..case }
}

cases! {
    chain_with_iptables: kubernetes("iptables");
    chain_with_nftables: kubernetes("nftables");
    ptp_and_sbr: Case::new(vec![json!({"type": "ptp", "ipMasq": true, "ipam": ipam()}), json!({"type": "sbr"})]);
    macvlan: Case::new(vec![json!({"type": "macvlan", "master": "up0", "ipam": ipam_v4()})]);
    tap: Case::new(vec![json!({"type": "tap", "ipam": ipam_v4()})]);
    loopback: Case::new(vec![json!({"type": "loopback"})]);
    flannel: Case::new(vec![json!({"type": "flannel", "subnetFile": "/run/subnet.env"})]).preparing(
        "printf 'FLANNEL_NETWORK=10.60.0.0/16\\nFLANNEL_SUBNET=10.60.0.1/24\\nFLANNEL_MTU=1450\\n\
         FLANNEL_IPMASQ=false\\n' >/run/subnet.env"
    );
    host_device: Case::new(vec![json!({"type": "host-device", "device": "dev0", "ipam": ipam_v4()})])
        .preparing("ip link add dev0 type veth peer name far0");
    dummy: needing("dummy", Case::new(vec![json!({"type": "dummy", "ipam": ipam_v4()})]));
    ipvlan: needing("ipvlan", Case::new(vec![json!({"type": "ipvlan", "master": "up0", "ipam": ipam_v4()})]));
    vlan: needing("vlan", Case::new(vec![json!({"type": "vlan", "master": "up0", "vlanId": 7, "ipam": ipam_v4()})]));
    vrf: needing("vrf", Case::new(vec![
        json!({"type": "ptp", "ipam": ipam_v4()}), json!({"type": "vrf", "vrfname": "red"})
    ]));
}
