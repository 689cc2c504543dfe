//! CRI-O 1.34: its own `lo`, CHECK after each ADD, GC when it starts.

use std::fs;

use blackbox::{reach, state};
use serde_json::{Value, json};
use testkit::{Container, Host, Node, outside};

use crate::caller::{Call, Caller, addresses, hex_id, pod_args, var_run};

/// A Kubernetes node with the network that CRI-O ships for both families, and `bandwidth`.
struct Machine {
    host: Host,
    outside: Container,
    crio: Caller,
}

const LIST: &str = "11-crio-ipv4-bridge.conflist";

fn machine() -> Machine {
    let host = Host::new();
    let outside = outside(&host);
    let variables = json!({
        "LANG": "C.UTF-8", "GOTRACEBACK": "crash", "NOTIFY_SOCKET": "/run/systemd/notify",
        "INVOCATION_ID": "9a3d7a4f0d0b4fb1a1b0f2c8f4f5b6a7",
    });
    let crio = Caller::new(&host, &variables, "/var/lib/cni");
    let mut list = crio.network(LIST);
    let ipam = &mut list["plugins"][0]["ipam"];
    ipam["ranges"] = json!([[{"subnet": "10.85.0.0/16"}], [{"subnet": "1100:200::/24"}]]);
    ipam["routes"] = json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]);
    let shaped = json!({"type": "bandwidth", "capabilities": {"bandwidth": true}});
    list["plugins"].as_array_mut().unwrap().push(shaped);
    crio.write(LIST, &list);
    // What outlives pods.
    let first = sandbox(&host, "first");
    let call = pod(0, &first);
    crio.add("crio", &call);
    crio.del("crio", &call);
    Machine {
        host,
        outside,
        crio,
    }
}

/// What `pinns` and CRI-O do before the first plugin.
fn sandbox(host: &Host, name: &str) -> Container {
    let container = host.container(name);
    container.ip("link set lo up");
    container
}

/// CRI-O passes its values whether or not the plugins of the network declare the capability. The burst, 4 GiB in bits, is
/// its default.
fn pod(seed: u8, container: &Container) -> Call {
    let id = hex_id(seed);
    Call {
        netns: var_run(container),
        if_name: "eth0",
        args: pod_args("1", &id),
        capabilities: json!({
            "bandwidth": {
                "ingressRate": 10_000_000, "ingressBurst": 34_359_738_359_u64,
                "egressRate": 0, "egressBurst": 0,
            },
            "cgroupPath": format!("/kubepods.slice/kubepods-pod1.slice/crio-{id}.scope"),
            "io.kubernetes.cri.pod-annotations": {"kubernetes.io/ingress-bandwidth": "10M", "html": "<a&b>"},
        }),
        id,
    }
}

#[test]
fn a_pod_is_checked_as_soon_as_it_is_added() {
    let Machine {
        host,
        outside,
        crio,
    } = machine();
    let before = state::of(&host);
    let container = sandbox(&host, "0f8f6a1e-5b7d-4b9e-8f0e-1f2d3c4b5a69");
    let call = pod(1, &container);
    crio.validate("crio", &call);
    let result = crio.add("crio", &call);
    // No time for duplicate address detection in between.
    crio.check("crio", &call);
    assert_eq!(addresses(&result), ["10.85.0.3/16", "1100:200::3/24"]);
    let interfaces = result["interfaces"].as_array().unwrap();
    let inside = interfaces.last().unwrap();
    assert_eq!(inside["name"], "eth0");
    assert_eq!(inside["sandbox"], call.netns.as_str());
    let shaped = host.command(&["tc", "qdisc", "show"]);
    assert_eq!(shaped.matches("rate 10Mbit").count(), 1, "{shaped}");
    for there in ["192.0.2.9", "2001:db8::9"] {
        reach::tcp(&outside, 4000, &container, (there, 4000)).unwrap();
    }
    // Every time that kubelet asks for the pod's status.
    crio.check("crio", &call);
    crio.del("crio", &call);
    // StopPodSandbox and RemovePodSandbox both try, the second when the namespace is gone.
    drop(container);
    crio.del("crio", &call);
    crio.del("crio", &call.without_netns());
    state::assert_back(&before, &host);
}

/// The path in CRI-O's state may be that of a namespace which is gone, or nothing, after a reboot or a crash.
#[test]
fn pods_without_their_namespace_are_deleted() {
    let Machine {
        host,
        crio,
        outside: _outside,
    } = machine();
    let before = state::of(&host);
    for has_path in [true, false] {
        let container = sandbox(&host, "gone");
        let mut call = pod(1, &container);
        crio.add("crio", &call);
        drop(container);
        if !has_path {
            call = call.without_netns();
        }
        crio.del("crio", &call);
        assert!(!crio.cached("crio", &call).exists());
        state::assert_back(&before, &host);
    }
}

/// When CRI-O starts it deletes what its cache has of pods that it does not know, and calls GC with the others.
#[test]
fn pods_that_crio_has_lost_are_collected_when_it_starts() {
    let Machine {
        host,
        crio,
        outside: _outside,
    } = machine();
    let living = sandbox(&host, "living");
    let alive = pod(1, &living);
    crio.add("crio", &alive);
    let with_one = state::of(&host);
    let lost = [sandbox(&host, "cached"), sandbox(&host, "forgotten")];
    let calls = [pod(2, &lost[0]), pod(3, &lost[1])];
    for call in &calls {
        crio.add("crio", call);
    }
    fs::remove_file(crio.cached("crio", &calls[1])).unwrap();
    drop(lost);

    let list: Value = crio.network(LIST);
    crio.for_all("STATUS", &list, &[]);
    crio.del("crio", &calls[0]);
    crio.for_all("GC", &list, &[&alive]);
    state::assert_back(&with_one, &host);
    crio.check("crio", &alive);
    living.ping("10.85.0.1");
    living.ping("1100:200::1");
}
