//! A daemon, a client and servers on one segment, and what they send.

use std::cell::RefCell;
use std::thread;
use std::time::{Duration, Instant};

use dhcproto::{Decodable as _, Decoder, v4, v6};
use serde_json::{Value, json};
use testkit::dhcp::{self, Capture, Datagram};
use testkit::{Container, Host, Node as _, Plugin, Service, patience};

/// Longer than any wait of the protocols with the short leases used here.
const DEADLINE: Duration = Duration::from_secs(60);

/// A host with the segment, a running daemon, and the container `c1` on the segment.
pub(crate) struct Rig {
    pub(crate) host: Host,
    pub(crate) client: Container,
    daemon: RefCell<Option<Service>>,
}

impl Rig {
    #[track_caller]
    pub(crate) fn new() -> Rig {
        let host = Host::new();
        dhcp::lan(&host);
        let client = dhcp::node(&host, "c1", &[]);
        let rig = Rig {
            host,
            client,
            daemon: RefCell::default(),
        };
        rig.start_daemon();
        rig
    }

    /// Starts the daemon, after killing the one that runs.
    #[track_caller]
    pub(crate) fn start_daemon(&self) {
        self.kill_daemon();
        let program = Plugin::new("dhcp").program().display().to_string();
        let log = self.host.dir().join("daemon.log");
        let shell = format!("exec {program} daemon >>{} 2>&1", log.display());
        *self.daemon.borrow_mut() = Some(Service::start(&["sh", "-c", &shell]));
        let status = || Plugin::new("dhcp").status(&conf(&json!({})));
        eventually("the daemon answers", || {
            status().status.success().then_some(())
        });
    }

    pub(crate) fn kill_daemon(&self) {
        self.daemon.take();
    }

    /// Runs ADD and configures the interface with the result, as an interface plugin does.
    #[track_caller]
    pub(crate) fn add(&self, ipam: &Value) -> Value {
        let config = conf(ipam);
        let add = Plugin::new("dhcp").command("ADD").container(&self.client);
        let result = add.config(&config).deadline(DEADLINE).run();
        assert!(result.status.success(), "{result:?}\n{}", logs());
        let result = result.json();
        for ip in result["ips"].as_array().into_iter().flatten() {
            let address = ip["address"].as_str().expect("an address");
            self.client.ip(&format!("addr add {address} dev eth0"));
        }
        result
    }

    #[track_caller]
    pub(crate) fn del(&self, ipam: &Value) {
        Plugin::new("dhcp")
            .del(&self.client, &conf(ipam))
            .expect_ok();
    }

    /// Waits until the addresses of the client's interface are as `is_right` wants them.
    #[track_caller]
    pub(crate) fn addresses_become(
        &self,
        what: &str,
        is_right: impl Fn(&[String]) -> bool,
    ) -> Vec<String> {
        let read = || Some(self.client.addresses("eth0")).filter(|all| is_right(all));
        eventually(what, read)
    }

    /// Moves the server on `node` from one address to another.
    pub(crate) fn readdress(&self, node: &Container, from: &str, to: &str) {
        // In this order: the kernel deletes secondary addresses with the first one.
        node.ip(&format!("addr del {from} dev eth0"));
        node.ip(&format!("addr add {to} dev eth0"));
        // A packet for the old address would still reach the server, and dhcpd answers whatever it sees.
        self.client.ip("neigh flush dev eth0");
    }
}

/// A configuration with these keys in `ipam`.
pub(crate) fn conf(ipam: &Value) -> Value {
    let ipam = testkit::merge(json!({"type": "dhcp"}), ipam);
    json!({"cniVersion": "1.1.0", "name": "net", "type": "macvlan", "ipam": ipam})
}

/// Waits for a value.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut get: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE * patience();
    loop {
        if let Some(value) = get() {
            return value;
        }
        if Instant::now() > end {
            panic!("{what}: not within {DEADLINE:?}\n{}", logs());
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// What the daemon and the servers have logged.
fn logs() -> String {
    let files = ["/run/testkit", "/run/testkit/leases", "/run/testkit/after"];
    let entries = files.iter().flat_map(std::fs::read_dir).flatten().flatten();
    let logs = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension() == Some("log".as_ref()));
    let show = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        format!("{}:\n{text}\n", path.display())
    };
    logs.map(show).collect()
}

/// The DHCP messages at a node, in order.
pub(crate) struct Wire {
    capture: Capture,
    seen: RefCell<Vec<Datagram>>,
}

impl Wire {
    pub(crate) fn at(node: &Container) -> Wire {
        Wire {
            capture: Capture::on(node),
            seen: RefCell::default(),
        }
    }

    fn seen(&self) -> Vec<Datagram> {
        self.seen.borrow_mut().extend(self.capture.datagrams());
        self.seen.borrow().clone()
    }

    /// Forgets what has been seen.
    pub(crate) fn clear(&self) {
        self.seen();
        self.seen.borrow_mut().clear();
    }

    /// The DHCPv4 messages so far.
    pub(crate) fn v4(&self) -> Vec<(Datagram, v4::Message)> {
        let read = |datagram: Datagram| {
            let is_dhcp = [67, 68].contains(&datagram.to.port());
            let message =
                is_dhcp.then(|| v4::Message::decode(&mut Decoder::new(&datagram.payload)));
            Some((datagram, message?.expect("a well-formed message")))
        };
        self.seen().into_iter().filter_map(read).collect()
    }

    /// The DHCPv6 messages so far.
    pub(crate) fn v6(&self) -> Vec<(Datagram, v6::Message)> {
        let read = |datagram: Datagram| {
            let is_dhcp = [546, 547].contains(&datagram.to.port());
            let message =
                is_dhcp.then(|| v6::Message::decode(&mut Decoder::new(&datagram.payload)));
            Some((datagram, message?.expect("a well-formed message")))
        };
        self.seen().into_iter().filter_map(read).collect()
    }

    /// Waits for a DHCPv4 message.
    #[track_caller]
    pub(crate) fn wait_v4(
        &self,
        what: &str,
        mut is_it: impl FnMut(&Datagram, &v4::Message) -> bool,
    ) -> (Datagram, v4::Message) {
        eventually(what, || self.v4().into_iter().find(|(d, m)| is_it(d, m)))
    }

    /// Waits for a DHCPv6 message of a type.
    #[track_caller]
    pub(crate) fn wait_v6(&self, kind: v6::MessageType) -> (Datagram, v6::Message) {
        let find = || self.v6().into_iter().find(|(_, m)| m.msg_type() == kind);
        eventually(&format!("{kind:?}"), find)
    }
}
