//! The networks, and what a runtime knows of each.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::sync::{Mutex, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use blackbox::chain::{Chain, kubernetes_plugins};
use serde_json::{Value, json};
use testkit::{Container, Host, Invocation, Node, Run};

use crate::results::Results;

/// Longest time that a call may take: that of an unanswered DHCP request.
pub(crate) const LONGEST: Duration = Duration::from_secs(240);

/// A network.
pub(crate) struct Network {
    pub(crate) chain: Chain,
    /// Must answer from each attached container.
    pub(crate) gateways: Vec<IpAddr>,
    /// Part of the error that a plugin may have, and its cause.
    pub(crate) expected: Option<(&'static str, &'static str)>,
    /// Whether everything of an attachment that gets no DEL is on the host.
    pub(crate) is_collectable: bool,
    /// Held for reading by ADD and DEL, for writing by GC, as a runtime does.
    pub(crate) busy: RwLock<()>,
    valid: Mutex<BTreeSet<String>>,
    holders: Mutex<BTreeMap<String, String>>,
}

/// Returns all networks, after preparing the host for them.
pub(crate) fn all(host: &Host) -> Vec<Network> {
    host.ip_batch(&[
        "link add m0 up type veth peer name m1",
        "link set m1 up",
        "addr add 10.83.0.1/16 dev m1",
    ]);
    let full = "/var/lib/cni/full";
    host.mount_tmpfs(full, "nr_inodes=14");
    let ipam = |number: u8, end: &str| json!({"type": "host-local", "ranges": [[{"subnet": format!("10.{number}.0.0/16"), "rangeEnd": format!("10.{number}.{end}")}]]});
    let dual = |number: u8| {
        json!({"type": "host-local", "ranges": [
            [{"subnet": format!("10.{number}.0.0/16")}], [{"subnet": format!("fd00:{number}::/64")}],
        ]})
    };
    let bridge = |number: u8, ipam: Value| json!({"type": "bridge", "bridge": format!("lb{number}"), "isGateway": true, "ipam": ipam});
    let mut full_ipam = ipam(85, "255.254");
    full_ipam["dataDir"] = full.into();
    let kubernetes = |number: u8, backend: &str| {
        let mut plugins = kubernetes_plugins(backend, &dual(number));
        plugins[0]["bridge"] = format!("lb{number}").into();
        // It changes the container, which has no GC.
        plugins.retain(|plugin| plugin["type"] != "tuning");
        plugins
    };
    let mut macvlan_ipam = ipam(83, "255.254");
    macvlan_ipam["ranges"][0][0]["rangeStart"] = "10.83.0.10".into();
    let ptp = json!({"type": "ptp", "ipMasq": true, "ipam": dual(82)});
    vec![
        Network::new("nft", 80, kubernetes(80, "nftables")),
        Network::new("ipt", 81, kubernetes(81, "iptables")),
        Network {
            is_collectable: false,
            ..Network::new("ptp", 82, vec![ptp, json!({"type": "tuning", "mtu": 1400})])
        },
        Network {
            is_collectable: false,
            ..Network::new(
                "mac",
                83,
                vec![json!({"type": "macvlan", "master": "m0", "ipam": macvlan_ipam})],
            )
        },
        Network {
            expected: Some((
                "no IP addresses available in range set",
                "chain with an exhausted range",
            )),
            ..Network::new("dry", 84, vec![bridge(84, ipam(84, "0.6"))])
        },
        Network {
            is_collectable: false,
            expected: Some(("DHCP", "call without the DHCP daemon")),
            ..Network::new(
                "dhcp",
                86,
                vec![json!({"type": "bridge", "bridge": "lan0", "ipam": {"type": "dhcp"}})],
            )
        },
        Network {
            expected: Some(("no space left on device", "chain on a full file system")),
            ..Network::new("full", 85, vec![bridge(85, full_ipam)])
        },
    ]
}

impl Network {
    pub(crate) fn new(name: &str, number: u8, plugins: Vec<Value>) -> Network {
        let mut chain = Chain::new(plugins);
        chain.network = name.to_owned();
        Network {
            chain,
            gateways: vec![IpAddr::from([10, number, 0, 1])],
            expected: None,
            is_collectable: true,
            busy: RwLock::new(()),
            valid: Mutex::default(),
            holders: Mutex::default(),
        }
    }

    /// Attaches and detaches a container: bridge, shared chains and directories stay.
    pub(crate) fn warm_up(&self, container: &Container) {
        let mut result = Value::Null;
        for position in 0..self.chain.plugins.len() {
            let mut calls = self.chain.calls("ADD", container.netns(), &result);
            result = calls.remove(position).run().expect_ok().json();
        }
        for call in self.chain.calls("DEL", container.netns(), &result) {
            call.run().expect_ok();
        }
    }

    /// Makes an attachment valid, before its ADD.
    pub(crate) fn register(&self, id: &str) {
        self.valid.lock().unwrap().insert(id.to_owned());
    }

    /// Ends the validity of an attachment, after its DEL or without one.
    pub(crate) fn forget(&self, id: &str) {
        self.valid.lock().unwrap().remove(id);
    }

    /// Returns the cause of a failure that the network provokes.
    pub(crate) fn expects(&self, run: &Run) -> Option<&'static str> {
        let (text, cause) = self.expected?;
        run.stdout_text().contains(text).then_some(cause)
    }

    /// Runs DEL or GC of a plugin, again while the DHCP daemon is gone.
    pub(crate) fn until_done(&self, call: Invocation, verb: &str, results: &Results) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let run = call.clone().deadline(LONGEST).run();
            if run.is_ok() {
                return;
            }
            let cause = self.expects(&run).filter(|_| self.chain.network == "dhcp");
            match cause {
                Some(cause) if Instant::now() < deadline => results.count(cause),
                _ => return results.unexplained(format!("{verb}\n{}", run.report())),
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Notes that an attachment holds the addresses of its result. Returns the other
    /// attachment that holds one of them.
    pub(crate) fn hold(&self, id: &str, result: &Value) -> Option<String> {
        let mut holders = self.holders.lock().unwrap();
        let other = addresses(result).find_map(|address| holders.get(&address).cloned());
        holders.extend(addresses(result).map(|address| (address, id.to_owned())));
        other
    }

    /// Notes that its addresses are held no more, before its DEL.
    pub(crate) fn release(&self, result: &Value) {
        let mut holders = self.holders.lock().unwrap();
        for address in addresses(result) {
            holders.remove(&address);
        }
    }

    /// Runs GC of every plugin while there is neither an ADD nor a DEL.
    pub(crate) fn collect(&self, results: &Results) {
        let _alone = self.busy.write().unwrap();
        let valid = self.valid.lock().unwrap();
        let valid: Vec<Value> = valid
            .iter()
            .map(|id| json!({"containerID": id, "ifname": self.chain.if_name}))
            .collect();
        for call in self
            .chain
            .gc_calls(&json!({"cni.dev/valid-attachments": valid}))
        {
            self.until_done(call, "GC", results);
            results.count("GC of a plugin");
        }
        // No reservation without a valid attachment.
        let directory = match self.chain.network.as_str() {
            "full" => "/var/lib/cni/full/full".to_owned(),
            name => format!("{}/{name}", blackbox::state::LEASES),
        };
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().unwrap();
            let content = fs::read_to_string(entry.path()).unwrap_or_default();
            let id = content.split('\r').next().unwrap_or_default();
            let is_valid = valid.iter().any(|one| one["containerID"] == id);
            if name.parse::<IpAddr>().is_ok() && !is_valid {
                results.unexplained(format!("GC left {name} of {id} in {}", self.chain.network));
            }
        }
    }
}

fn addresses(result: &Value) -> impl Iterator<Item = String> {
    let ips = result["ips"].as_array().into_iter().flatten();
    ips.map(|ip| ip["address"].as_str().unwrap().to_owned())
}
