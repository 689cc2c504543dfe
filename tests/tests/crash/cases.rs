//! The networks whose plugins are killed.

use std::any::Any;

use serde_json::{Value, json};
use testkit::{Host, Node};

use crate::stage::State;

/// A network. Its last plugin is killed; the others have attached the container before.
pub(crate) struct Case {
    /// The name in the table: the plugin, and what is special.
    pub(crate) name: &'static str,
    /// Features of the kernel.
    pub(crate) needs: &'static [&'static str],
    pub(crate) plugins: Vec<Value>,
    pub(crate) record: Record,
    pub(crate) prepare: Prepare,
}

/// Creates what a network requires: containers, programs. They exist as long as the host.
pub(crate) type Prepare = fn(&Host) -> Vec<Box<dyn Any>>;

/// What the state of the last plugin is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// It saves time, or an address; GC and DEL manage without.
    Saves,
    /// Only by it does GC find the attachment; prevResult tells DEL.
    Finds,
    /// The same, and only it tells what the container, or the device, was before ADD.
    Restores,
}

impl Case {
    pub(crate) fn new(name: &'static str, plugins: Vec<Value>) -> Case {
        Case {
            name,
            needs: &[],
            plugins,
            record: Record::Saves,
            prepare: |_| Vec::new(),
        }
    }

    pub(crate) fn needs(mut self, features: &'static [&'static str]) -> Case {
        self.needs = features;
        self
    }

    pub(crate) fn record(mut self, record: Record) -> Case {
        self.record = record;
        self
    }

    pub(crate) fn with(mut self, prepare: Prepare) -> Case {
        self.prepare = prepare;
        self
    }
}

fn ipam() -> Value {
    json!({"type": "host-local", "ranges": [[{"subnet": "10.60.0.0/24"}], [{"subnet": "fd00:60::/64"}]],
           "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]})
}

/// An attachment that others are chained to.
fn ptp() -> Value {
    json!({"type": "ptp", "ipam": ipam()})
}

fn bridge(keys: &Value) -> Vec<Value> {
    let plugin = json!({"type": "bridge", "isGateway": true, "ipam": ipam()});
    vec![testkit::merge(plugin, keys)]
}

fn on_uplink(kind: &str, keys: &Value) -> Vec<Value> {
    let plugin = json!({"type": kind, "master": "uplink", "ipam": ipam()});
    vec![testkit::merge(plugin, keys)]
}

fn uplink(host: &Host) -> Vec<Box<dyn Any>> {
    let outside = testkit::wire(host, "uplink", "outside", &[]);
    // The same on each host, so that hosts can be compared.
    host.ip("link set uplink address 02:00:00:00:01:01");
    outside.ip("link set eth0 address 02:00:00:00:01:02");
    vec![Box::new(outside)]
}

fn behind_ptp(keys: &Value) -> Vec<Value> {
    vec![ptp(), keys.clone()]
}

fn portmap(backend: &str) -> Vec<Value> {
    behind_ptp(&json!({
        "type": "portmap", "backend": backend, "snat": true, "capabilities": {"portMappings": true},
        "runtimeConfig": {"portMappings": [
            {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
            {"hostPort": 8053, "containerPort": 53, "protocol": "udp"},
        ]}
    }))
}

/// Declares a test module for each case.
macro_rules! cases {
    ($($test:ident: $case:expr;)*) => {
        $(mod $test {
            use super::*;

            pub(super) fn case() -> Case {
                $case
            }

            #[test]
            fn add() {
                crate::sweep::add(&case());
            }

            #[test]
            fn first_add() {
                crate::sweep::first(&case());
            }

            #[test]
            fn del() {
                crate::sweep::del(&case());
            }
        })*
    };
}

/// Declares tests of the cases that write state files.
macro_rules! damaged_state {
    ($($test:ident)*) => {
        mod damaged_state {
            $(#[test]
            fn $test() {
                crate::power_loss::sweep(&super::$test::case());
            })*
        }
    };
}

damaged_state! {
    bridge_plain bridge_iptables bridge_spoof_check ptp_nftables host_device host_local portmap_iptables portmap_nftables
    firewall_iptables tuning sbr flannel
}

/// Declares the cases that need User Mode Linux, where a process takes long to start. What first attachments leave, and how
/// state is read, is the same code as in other plugins.
macro_rules! rare_cases {
    ($($test:ident: $case:expr;)*) => {
        $(mod $test {
            use super::*;

            #[test]
            fn add() {
                crate::sweep::add(&$case);
            }

            #[test]
            fn del() {
                crate::sweep::del(&$case);
            }
        })*
    };
}

cases! {
    bridge_plain: Case::new("bridge", bridge(&json!({})));
    bridge_iptables: Case::new("bridge, ipMasq, iptables", bridge(&json!({"ipMasq": true, "ipMasqBackend": "iptables"})));
    bridge_nftables: Case::new("bridge, ipMasq, nftables", bridge(&json!({"ipMasq": true, "ipMasqBackend": "nftables"})));
    bridge_spoof_check: Case::new("bridge, macspoofchk", bridge(&json!({"macspoofchk": true})));
    bridge_guards: Case::new("bridge, raGuard, dhcpGuard", bridge(&json!({"raGuard": true, "dhcpGuard": true})));
    ptp_plain: Case::new("ptp", vec![ptp()]);
    ptp_iptables: Case::new("ptp, ipMasq, iptables", vec![testkit::merge(ptp(), &json!({"ipMasq": true, "ipMasqBackend": "iptables"}))]);
    ptp_nftables: Case::new("ptp, ipMasq, nftables", vec![testkit::merge(ptp(), &json!({"ipMasq": true, "ipMasqBackend": "nftables"}))]);
    macvlan: Case::new("macvlan", on_uplink("macvlan", &json!({}))).with(uplink);
    tap: Case::new("tap", vec![json!({"type": "tap", "multiQueue": true, "owner": 0, "ipam": ipam()})]);
    host_device: Case::new("host-device", vec![json!({"type": "host-device", "device": "uplink", "ipam": ipam()})]).with(uplink).record(Record::Restores);
    loopback: Case::new("loopback", vec![json!({"type": "loopback"})]);
    host_local: Case::new("host-local", vec![json!({"type": "host-local", "ipam": ipam()})]);
    portmap_iptables: Case::new("portmap, iptables", portmap("iptables"));
    portmap_nftables: Case::new("portmap, nftables", portmap("nftables"));
    firewall_iptables: Case::new("firewall, iptables", behind_ptp(&json!({"type": "firewall", "backend": "iptables"}))).record(Record::Finds);
    firewall_nftables: Case::new("firewall, nftables", behind_ptp(&json!({"type": "firewall", "backend": "nftables"})));
    bandwidth: Case::new("bandwidth", behind_ptp(&json!({"type": "bandwidth",
        "ingressRate": 5_000_000, "ingressBurst": 500_000, "egressRate": 5_000_000, "egressBurst": 500_000})));
    tuning: Case::new("tuning", behind_ptp(&json!({"type": "tuning", "mac": "02:00:00:00:00:07", "mtu": 1400, "promisc": true,
        "txQLen": 500, "sysctl": {"net.core.somaxconn": "500", "net.ipv4.conf.IFNAME.arp_filter": "1"}}))).record(Record::Restores);
    sbr: Case::new("sbr", behind_ptp(&json!({"type": "sbr"}))).record(Record::Restores);
    flannel: Case::new("flannel", vec![json!({"type": "flannel", "subnetFile": "/run/testkit/subnet.env"})]).with(subnet_file);
}

/// The plugin keeps nothing, so its DEL makes no changes.
mod static_ipam {
    use super::*;

    fn case() -> Case {
        Case::new(
            "static",
            vec![
                json!({"type": "static", "ipam": {"type": "static", "addresses": [{"address": "10.60.0.9/24"}]}}),
            ],
        )
    }

    #[test]
    fn add() {
        crate::sweep::add(&case());
    }

    #[test]
    fn first_add() {
        crate::sweep::first(&case());
    }
}

rare_cases! {
    bridge_vlan: Case::new("bridge, vlan", bridge(&json!({"vlan": 5})))
        .needs(&["bridge-vlan-filtering", "vlan"]);
    ipvlan: Case::new("ipvlan", on_uplink("ipvlan", &json!({}))).with(uplink).needs(&["ipvlan"]);
    vlan: Case::new("vlan", on_uplink("vlan", &json!({"vlanId": 5}))).with(uplink).needs(&["vlan"]);
    dummy: Case::new("dummy", vec![json!({"type": "dummy", "ipam": ipam()})]).needs(&["dummy"]);
}

fn subnet_file(host: &Host) -> Vec<Box<dyn Any>> {
    host.write(
        "subnet.env",
        "FLANNEL_NETWORK=10.60.0.0/16\nFLANNEL_SUBNET=10.60.0.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n",
    );
    Vec::new()
}

/// A DEL of vrf that is killed cannot be completed as to the container's routes, which are gone with the membership.
mod vrf {
    use super::*;

    fn case() -> Case {
        let plugins = behind_ptp(&json!({"type": "vrf", "vrfname": "blue"}));
        Case::new("vrf", plugins).needs(&["vrf"])
    }

    #[test]
    fn add() {
        crate::sweep::add(&case());
    }

    #[test]
    fn del() {
        crate::sweep::del_as_seen(&case(), State::without_routes);
    }
}
