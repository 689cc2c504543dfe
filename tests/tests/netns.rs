//! `CNI_NETNS` that leads to something else than before: DEL cleans up without it, ADD and CHECK say what is there,
//! and another path to the same namespace is the same namespace.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use blackbox::chain::Chain;
use blackbox::{answer, state};
use serde_json::{Value, json};
use testkit::{Container, Host, Node, needs};

/// A network and how its host is prepared before each ADD.
struct Case {
    chain: Chain,
    prepare: &'static str,
    /// Number of wrong paths that are tried.
    paths: usize,
}

impl Case {
    fn new(chain: Vec<Value>) -> Case {
        let prepare = "[ -e /sys/class/net/up0 ] || ip link add up0 type veth peer name down0
                       ip link set up0 up; ip link set down0 up";
        let chain = Chain(chain);
        Case {
            chain,
            prepare,
            paths: usize::MAX,
        }
    }

    fn preparing(self, prepare: &'static str) -> Case {
        Case { prepare, ..self }
    }

    /// Makes a container and its attachment.
    #[track_caller]
    fn attach(&self, host: &Host) -> (Container, Value) {
        host.command(&["sh", "-c", self.prepare]);
        let container = host.container("c1");
        let result = self.chain.add(&container);
        (container, result)
    }

    #[track_caller]
    fn del(&self, netns: &Path, result: &Value) {
        for call in self.chain.del("c1", &netns.to_string_lossy(), result) {
            answer::silent(call.run());
        }
    }

    /// DEL succeeds and cleans up whatever `CNI_NETNS` leads to once the namespace is gone.
    #[track_caller]
    fn del_cleans_up_without_the_namespace(&self) {
        let host = Host::new();
        let paths = no_namespaces(&host);
        let (container, result) = self.attach(&host);
        self.del(container.netns(), &result);
        drop(container);
        // A device in a namespace ends with it.
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

    /// CHECK accepts every path to the namespace, and no other namespace.
    #[track_caller]
    fn check_knows_the_namespace_by_any_path(&self) {
        let host = Host::new();
        let (container, mut result) = self.attach(&host);
        let path = container.netns().to_string_lossy().into_owned();
        let link = host.dir().join("link");
        std::os::unix::fs::symlink(&path, &link).expect("make a link");
        let process = Process::inside(&container);
        let proc_path = format!("/proc/{}/ns/net", process.0.id());
        for other in [path.as_str(), &link.to_string_lossy(), &proc_path] {
            for call in self.chain.check("c1", other, &result) {
                answer::silent(call.run());
            }
        }
        if self.chain.0[0]["type"] == "loopback" {
            // Every namespace has one.
            return;
        }
        let foreign = host.container("c2");
        for interface in result["interfaces"].as_array_mut().into_iter().flatten() {
            if interface.get("sandbox").is_some() {
                interface["sandbox"] = foreign.netns().to_string_lossy().into();
            }
        }
        let first = self.chain.check("c1", &path, &result).swap_remove(0);
        answer::failure(first.run()).mentions("doesn't match configured netns");
    }
}

/// A process in a container's namespace.
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

/// Paths that lead to no network namespace.
fn no_namespaces(host: &Host) -> Vec<PathBuf> {
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
    Case::new(vec![
        json!({"type": "bridge", "isGateway": true, "ipMasq": true, "ipMasqBackend": backend, "ipam": ipam()}),
        json!({
            "type": "portmap", "backend": backend, "capabilities": {"portMappings": true},
            "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}
        }),
        json!({"type": "firewall", "backend": backend}),
        json!({"type": "bandwidth", "ingressRate": 5_000_000, "ingressBurst": 500_000,
               "egressRate": 5_000_000, "egressBurst": 500_000}),
        json!({"type": "tuning", "sysctl": {"net.core.somaxconn": "500"}}),
    ])
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

/// A case for which this kernel may lack the feature. Where it runs, processes are slow to start, and the paths
/// have been tried with the other plugins.
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
