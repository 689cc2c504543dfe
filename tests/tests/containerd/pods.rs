//! A Kubernetes node: containerd, and a neighbour outside.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use blackbox::{reach, state};
use libcni::{Attachment, Cni, load_list};
use runtime_api::messages::{PodSandboxConfig, PodSandboxMetadata, PortMapping};
use runtime_api::{Cri, Error};
use serde_json::{Value, json};
use testkit::runtime::Runtime;
use testkit::{Container, Host, Node, Snapshot, bin_dir, outside};

/// The node's addresses outside.
pub(crate) const NODE: [&str; 2] = ["192.0.2.1", "2001:db8::1"];
/// The neighbour's.
pub(crate) const CLIENT: [&str; 2] = ["192.0.2.9", "2001:db8::9"];
/// The pods' gateways.
pub(crate) const GATEWAYS: [&str; 2] = ["10.9.0.1", "fd00:9::1"];
/// The port of the servers in pods.
const PORT: u16 = 80;

/// A node with a neighbour, the container `outside`, which has its default route by way of the node.
pub(crate) struct Pods {
    pub(crate) host: Host,
    pub(crate) containerd: Runtime,
    pub(crate) cri: Cri,
    pub(crate) client: Container,
    /// The state without pods.
    pub(crate) before: Snapshot,
}

/// A pod that runs.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    pub(crate) id: String,
    pub(crate) netns: PathBuf,
    /// What the CRI says, IPv4 first.
    pub(crate) addresses: Vec<IpAddr>,
}

/// The network of the pods: the usual chain, with `backend` for all packet filters, in a version that containerd 1.6 knows.
pub(crate) fn list(version: &str, backend: &str) -> Value {
    let mut plugins = vec![
        json!({
            "type": "bridge", "bridge": "cni0", "isDefaultGateway": true, "hairpinMode": true,
            "ipMasq": true, "ipMasqBackend": backend,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.9.0.0/24"}], [{"subnet": "fd00:9::/64"}]]},
        }),
        json!({"type": "portmap", "backend": backend, "capabilities": {"portMappings": true}}),
        json!({"type": "firewall", "backend": backend}),
        json!({"type": "bandwidth", "capabilities": {"bandwidth": true}}),
        json!({"type": "tuning", "sysctl": {"net.core.somaxconn": "500"}}),
    ];
    if version < "0.4.0" {
        plugins.retain(|plugin| plugin["type"] != "firewall");
    }
    json!({"cniVersion": version, "name": "pods", "plugins": plugins})
}

/// A pod as kubelet describes it, with a TCP port of the host that leads to its port 80, and limits of its bandwidth.
pub(crate) fn pod(name: &str, host_port: i32) -> PodSandboxConfig {
    let rate = |direction: &str, rate: &str| {
        (
            format!("kubernetes.io/{direction}-bandwidth"),
            rate.to_owned(),
        )
    };
    PodSandboxConfig {
        metadata: Some(PodSandboxMetadata {
            name: name.into(),
            uid: format!("uid-{name}"),
            namespace: "default".into(),
            attempt: 0,
        }),
        port_mappings: vec![
            PortMapping {
                container_port: i32::from(PORT),
                host_port,
                ..PortMapping::default()
            },
            // A port of the pod only, which containerd leaves out.
            PortMapping {
                container_port: 8443,
                ..PortMapping::default()
            },
        ],
        annotations: [rate("ingress", "10M"), rate("egress", "20M")].into(),
        ..PodSandboxConfig::default()
    }
}

impl Pods {
    /// Starts containerd with this network. A first pod has come and gone, so that what outlives pods is there.
    #[track_caller]
    pub(crate) fn new(list: &Value) -> Pods {
        let host = Host::new();
        let client = outside(&host);
        fs::create_dir(host.dir().join("net.d")).unwrap();
        write(&host, list);
        let containerd = Runtime::containerd(&host);
        let mut pods = Pods {
            cri: client_of(&containerd),
            before: state::of(&host),
            host,
            containerd,
            client,
        };
        pods.warm_up();
        pods
    }

    /// Runs a pod to its end, and takes what is then as the state without pods.
    #[track_caller]
    pub(crate) fn warm_up(&mut self) {
        let first = self.run(pod("first", 8000));
        self.end(&first);
        self.before = self.state();
    }

    /// Replaces the network; containerd reads it when it starts.
    #[track_caller]
    pub(crate) fn set_network(&self, list: &Value) {
        write(&self.host, list);
        self.containerd.restart("TERM");
    }

    /// Another connection, for another thread.
    pub(crate) fn another_cri(&self) -> Cri {
        client_of(&self.containerd)
    }

    #[track_caller]
    pub(crate) fn run(&self, config: PodSandboxConfig) -> Pod {
        let run = self.cri.run(config);
        self.pod(run.unwrap_or_else(|err| panic!("{err}\n{}", self.containerd.log())))
    }

    /// What the CRI says of a running pod.
    #[track_caller]
    pub(crate) fn pod(&self, id: String) -> Pod {
        let status = self.cri.status(&id).unwrap();
        let addresses = status.addresses.iter();
        Pod {
            id,
            netns: status.netns.expect("containerd says it"),
            addresses: addresses.map(|text| text.parse().unwrap()).collect(),
        }
    }

    /// Stops and removes a pod as kubelet may do it: twice.
    #[track_caller]
    pub(crate) fn end(&self, pod: &Pod) {
        for end in [Cri::stop, Cri::remove] {
            for _ in 0..2 {
                let done = end(&self.cri, &pod.id);
                done.unwrap_or_else(|err| panic!("{err}\n{}", self.containerd.log()));
            }
        }
        assert!(!pod.netns.exists(), "{} is left", pod.netns.display());
    }

    /// The pod's namespace.
    #[track_caller]
    pub(crate) fn inside(&self, pod: &Pod) -> Container {
        self.host.container_at(&pod.netns)
    }

    /// The address that a server in the pod sees when a client in `from` connects to `to`.
    #[track_caller]
    pub(crate) fn seen(&self, pod: &Pod, from: &impl Node, to: &str, port: u16) -> String {
        match reach::tcp(&self.inside(pod), PORT, from, (to, port)) {
            Ok(client) => client.to_string(),
            Err(err) => panic!("{err}\n{}", testkit::filters(&self.host).join("\n")),
        }
    }

    /// The pod is reached by its own addresses and by those of the node, by who is outside, by the node and by itself, and
    /// what it says outside comes from the node.
    #[track_caller]
    pub(crate) fn assert_connected(&self, pod: &Pod, host_port: u16) {
        let inside = self.inside(pod);
        for (family, address) in pod.addresses.iter().enumerate() {
            let seen = self.seen(pod, &self.client, &address.to_string(), PORT);
            assert_eq!(seen, CLIENT[family], "to the pod");
            let seen = self.seen(pod, &self.client, NODE[family], host_port);
            assert_eq!(seen, CLIENT[family], "to the node");
            self.seen(pod, &self.host, NODE[family], host_port);
            self.seen(pod, &inside, NODE[family], host_port);
            let seen = reach::tcp(&self.client, 4000, &inside, (CLIENT[family], 4000)).unwrap();
            assert_eq!(seen.to_string(), NODE[family], "out of the pod");
        }
    }

    /// Nobody answers at a port of the node.
    #[track_caller]
    pub(crate) fn assert_closed(&self, host_port: u16) {
        for node in NODE {
            let is_open = reach::is_open(&self.client, (node, host_port));
            assert!(!is_open, "port {host_port} of {node} is open");
        }
    }

    /// CHECK of the network says that the attachment is whole.
    #[track_caller]
    pub(crate) fn assert_whole(&self, pod: &Pod) {
        let cni = Cni::new([bin_dir()]);
        let list = load_list(&self.host.dir().join("net.d"), "pods").unwrap();
        let key = Attachment::new(&pod.id, &pod.netns, "eth0");
        let cached = cni.cached_attachment("pods", &key).unwrap();
        let attachment = Attachment {
            // containerd's version of the library does not write it.
            netns: key.netns,
            ..cached.expect("containerd has cached it").attachment
        };
        cni.check(&list, &attachment).unwrap();
    }

    /// Waits until nothing of any pod is left on the host.
    #[track_caller]
    pub(crate) fn assert_nothing_left(&self) {
        self.assert_back(&self.before);
    }

    /// Waits until the host is in this state again: the kernel deletes namespaces in the background.
    #[track_caller]
    pub(crate) fn assert_back(&self, before: &Snapshot) {
        let end = Instant::now() + Duration::from_secs(20);
        while *before != self.state() && Instant::now() < end {
            thread::sleep(Duration::from_millis(50));
        }
        before.assert_same(&self.state());
    }

    /// The host without containerd's own files.
    pub(crate) fn state(&self) -> Snapshot {
        state::of(&self.host).without("/run/containerd/")
    }

    /// A sandbox must not run: returns why.
    #[track_caller]
    pub(crate) fn refusal(&self, config: PodSandboxConfig) -> String {
        match self.cri.run(config) {
            Err(Error::Refused { message, .. }) => message,
            other => panic!("{other:?}\n{}", self.containerd.log()),
        }
    }
}

#[track_caller]
fn write(host: &Host, list: &Value) {
    host.write("net.d/10-pods.conflist", list.to_string());
}

fn client_of(containerd: &Runtime) -> Cri {
    Cri::new(containerd.socket(), Duration::from_secs(120)).unwrap()
}
