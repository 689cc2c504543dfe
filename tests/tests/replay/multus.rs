//! Multus: delegates one after the other, values from the annotation of the pod, default routes that it moves itself, and DEL
//! in reverse order from a cache of its own.

use std::fs;
use std::os::unix::fs::symlink;

use blackbox::state;
use serde_json::{Value, json};
use testkit::{Container, Host, Node, wire};

use crate::caller::{Call, Caller, addresses, hex_id, pod_args, var_run};

/// The PCI address that a device plugin has assigned to the pod.
const DEVICE: &str = "0000:03:02.0";

/// A Kubernetes node of k3s: flannel for all pods, and three attachment definitions.
struct Machine {
    host: Host,
    multus: Caller,
    /// Behind `master0`.
    router: Container,
    /// Behind the device, which ends with it.
    _outside: Container,
}

fn machine() -> Machine {
    let host = Host::new();
    fs::create_dir("/run/flannel").unwrap();
    let lease = "FLANNEL_NETWORK=10.42.0.0/16\nFLANNEL_SUBNET=10.42.0.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";
    fs::write("/run/flannel/subnet.env", lease).unwrap();
    let router = wire(&host, "master0", "router", &["192.168.7.1/24"]);
    let outside = wire(&host, "vf0", "beyond", &["192.168.8.1/24"]);
    device(&host);
    // The environment is that of CRI-O or containerd, which runs Multus, with the variables of Multus' own call in it.
    let variables = json!({
        "LANG": "C.UTF-8", "CNI_COMMAND": "ADD", "CNI_CONTAINERID": hex_id(1), "CNI_IFNAME": "eth0",
        "CNI_NETNS": "/var/run/netns/pod", "CNI_PATH": "/opt/cni/bin",
    });
    let multus = Caller::new(&host, &variables, "/var/lib/cni/multus");
    for (file, definition) in [
        (
            "macvlan.conf",
            json!({"cniVersion": "0.3.1", "name": "macvlan", "type": "macvlan", "master": "master0", "mode": "bridge",
                "capabilities": {"ips": true, "mac": true}, "ipam": {"type": "static"}}),
        ),
        // The annotation's `cni-args` are merged into the definition.
        (
            "storage.conf",
            json!({"cniVersion": "1.0.0", "name": "storage", "type": "bridge", "bridge": "storage0", "mtu": 9000,
                "capabilities": {"ips": true}, "args": {"cni": {"mac": "02:00:00:00:07:01", "rack": 7}},
                "ipam": {"type": "host-local", "subnet": "10.6.0.0/24"}}),
        ),
        (
            "sriov.conf",
            json!({"cniVersion": "1.0.0", "name": "sriov", "type": "host-device",
                "capabilities": {"deviceID": true, "CNIDeviceInfoFile": true},
                "ipam": {"type": "static", "addresses": [{"address": "192.168.8.5/24"}]}}),
        ),
    ] {
        multus.write(file, &definition);
    }
    Machine {
        host,
        multus,
        router,
        _outside: outside,
    }
}

/// Makes the link `vf0` that of a PCI device, as far as plugins can tell.
fn device(host: &Host) {
    host.mount_tmpfs("/sys/bus", "size=1m");
    let directory = format!("/sys/bus/pci/devices/{DEVICE}");
    fs::create_dir_all(format!("{directory}/net/vf0")).unwrap();
    symlink("../../../drivers/iavf", format!("{directory}/driver")).unwrap();
}

/// The delegates in their order, and how Multus calls each. Deprecated arguments come with the values of capabilities that
/// replace them.
fn delegates(container: &Container) -> Vec<(&'static str, Call)> {
    let id = hex_id(1);
    let call = |if_name, args: &[(&'static str, &str)], capabilities| {
        let mut all = pod_args("true", &id);
        all.extend(args.iter().map(|(key, value)| (*key, (*value).to_owned())));
        Call {
            id: id.clone(),
            netns: var_run(container),
            if_name,
            args: all,
            capabilities,
        }
    };
    let info = format!("/var/run/k8s.cni.cncf.io/devinfo/cni/sriov-{id}-net3");
    vec![
        ("cbr0", call("eth0", &[], json!({}))),
        (
            "macvlan",
            call(
                "net1",
                &[("MAC", "c2:b0:57:49:47:f1"), ("IP", "192.168.7.5/24")],
                json!({"mac": "c2:b0:57:49:47:f1", "ips": ["192.168.7.5/24"]}),
            ),
        ),
        (
            "storage",
            call(
                "net2",
                &[("IP", "10.6.0.77")],
                json!({"ips": ["10.6.0.77"]}),
            ),
        ),
        (
            "sriov",
            call(
                "net3",
                &[],
                json!({"deviceID": DEVICE, "CNIDeviceInfoFile": info, "infinibandGUID": ""}),
            ),
        ),
    ]
}

/// Deletes the default route of a delegate in the pod and in its cached result: another is to have it.
fn move_default_route(multus: &Caller, container: &Container, name: &str, call: &Call) {
    container.ip(&format!("route delete default dev {}", call.if_name));
    let file = multus.cached(name, call);
    let mut cached: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let routes = cached["result"]["routes"].as_array_mut().unwrap();
    let others = routes.len();
    routes.retain(|route| route["dst"] != "0.0.0.0/0");
    assert_eq!(routes.len() + 1, others);
    fs::write(&file, cached.to_string()).unwrap();
}

#[test]
fn a_pod_with_four_interfaces_comes_and_goes() {
    let Machine {
        host,
        multus,
        router,
        _outside,
    } = machine();
    // What outlives pods.
    let first = host.container("first");
    for (name, call) in delegates(&first) {
        multus.add(name, &call);
        multus.del(name, &call);
    }
    drop(first);
    let before = state::of(&host);
    let container = host.container("pod");
    let delegates = delegates(&container);
    let mut results = Vec::new();
    for (name, call) in &delegates {
        multus.validate(name, call);
        assert!(container.link(call.if_name).is_none());
        results.push(multus.add(name, call));
    }
    // Each value once, although it is given in two ways.
    let expected = [
        "10.42.0.3/24",
        "192.168.7.5/24",
        "10.6.0.77/24",
        "192.168.8.5/24",
    ];
    for ((result, (_, call)), expected) in results.iter().zip(&delegates).zip(expected) {
        assert_eq!(addresses(result), [expected]);
        assert_eq!(container.addresses(call.if_name), [expected]);
    }
    let mac = |link: &str| container.link_attribute(link, "/address");
    assert_eq!(mac("net1"), "c2:b0:57:49:47:f1");
    assert_eq!(mac("net2"), "02:00:00:00:07:01");
    assert!(host.link("vf0").is_none(), "the device is in the pod");
    container.ping("192.168.8.1");

    // The annotation asks for the default route by way of net1.
    move_default_route(&multus, &container, "cbr0", &delegates[0].1);
    container.ip("route add default via 192.168.7.1 dev net1");
    for (name, call) in &delegates {
        // CHECK exists since 0.4.0.
        if *name != "macvlan" {
            multus.check(name, call);
        }
    }
    router.ping("192.168.7.5");
    container.ping("10.42.0.1");

    for _ in 0..2 {
        for (name, call) in delegates.iter().rev() {
            multus.del(name, call);
        }
        assert_eq!(container.link_names(), ["lo"]);
    }
    drop(container);
    state::assert_back(&before, &host);
}

/// The second DEL of a pod, or the first after a reboot: neither namespace nor cache is left.
#[test]
fn a_pod_is_deleted_by_names_alone() {
    let Machine {
        host,
        multus,
        _outside,
        router: _router,
    } = machine();
    let first = host.container("first");
    for (name, call) in &delegates(&first)[..3] {
        multus.add(name, call);
        multus.del(name, call);
    }
    drop(first);
    let before = state::of(&host);
    let container = host.container("pod");
    let delegates = &delegates(&container)[..3];
    for (name, call) in delegates {
        multus.add(name, call);
    }
    drop(container);
    fs::remove_dir_all("/var/lib/cni/multus/results").unwrap();
    for (name, call) in delegates.iter().rev() {
        multus.del(name, &call.without_netns());
    }
    fs::create_dir_all("/var/lib/cni/multus/results").unwrap();
    state::assert_back(&before, &host);
}

/// Multus forwards GC and STATUS to the first delegate.
#[test]
fn the_first_delegate_collects() {
    let Machine {
        host,
        multus,
        _outside,
        router: _router,
    } = machine();
    let first = host.container("first");
    let (name, call) = &delegates(&first)[0];
    multus.add(name, call);
    multus.del(name, call);
    let before = state::of(&host);
    multus.add(name, call);
    fs::remove_file(multus.cached(name, call)).unwrap();
    let list = multus.network("10-k3s-flannel.conflist");
    multus.for_all("STATUS", &list, &[]);
    multus.for_all("GC", &list, &[call]);
    first.ping("10.42.0.1");
    multus.for_all("GC", &list, &[]);
    state::assert_back(&before, &host);
}
