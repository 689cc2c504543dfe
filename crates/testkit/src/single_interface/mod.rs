//! Shared test cases of plugins whose attachment is one interface, `eth0` of the container `c1`:
//! macvlan, ipvlan, vlan, dummy.
//!
//! A plugin's tests describe it once as a [`Subject`]; each case is a method, which a `#[test]` calls. Cases with
//! many small variants take them as a table: a text with a line for each, see [`table`](crate::table).

mod attach;
mod check;
mod del;
mod hardware_address;
mod refuse;
mod undo;

pub use attach::printed_result;
pub use check::Attached;

use crate::{Container, Host, Node, Plugin, dual_stack, merge, needs, wire};
use serde_json::{Value, json};

/// The plugin under test.
pub struct Subject {
    /// The plugin's name, which is also its kind of link.
    pub name: &'static str,
    /// Kernel features that it requires, see [`needs`].
    pub needs: &'static [&'static str],
    /// The keys specific to its configurations, as JSON.
    pub keys: &'static str,
    /// Prefix of some messages of CHECK.
    pub prefix: &'static str,
    /// Whether messages of CHECK begin in lower case.
    pub lower_case: bool,
    /// Configures the container `router` at the other end of the master, with `eth0` up, so that attachments reach
    /// 10.1.0.1 and fd00:1::1 there; `None` for a plugin without a master.
    pub router: Option<fn(&Container)>,
}

/// Gives `eth0` of the router the addresses 10.1.0.1 and fd00:1::1.
pub fn plain_router(router: &Container) {
    router.ip_batch(&[
        "addr add 10.1.0.1/24 dev eth0",
        "addr add fd00:1::1/64 dev eth0 nodad",
    ]);
}

/// A host and, for plugins with a master, the router at the other end of the master.
pub struct Network {
    /// The host.
    pub host: Host,
    router: Option<Container>,
}

impl Network {
    /// The router.
    ///
    /// # Panics
    ///
    /// When the plugin has no master.
    #[track_caller]
    pub fn router(&self) -> &Container {
        self.router.as_ref().expect("a plugin with a master")
    }
}

impl std::ops::Deref for Network {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

impl Subject {
    /// The plugin.
    #[track_caller]
    pub fn plugin(&self) -> Plugin {
        Plugin::new(self.name)
    }

    /// Upstream's plugin of this name, from the distribution's package.
    #[track_caller]
    pub fn peer(&self) -> Plugin {
        Plugin::peer(self.name)
    }

    /// A configuration of the network `net` without IPAM, with the keys of `extra` added, replaced or, where they are
    /// null, removed.
    pub fn layer2(&self, extra: Value) -> Value {
        let base = json!({"cniVersion": "1.1.0", "name": "net", "type": self.name});
        let keys = serde_json::from_str(self.keys).expect("keys in JSON");
        merge(merge(base, &keys), &extra)
    }

    /// The same with an IPv4 range of host-local, whose first address is 10.1.0.10.
    pub fn ipv4(&self, extra: Value) -> Value {
        let ipam =
            json!({"type": "host-local", "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.10"});
        merge(self.layer2(json!({"ipam": ipam})), &extra)
    }

    /// The same with the addresses and routes of [`dual_stack`].
    pub fn dual(&self, extra: Value) -> Value {
        merge(self.layer2(json!({"ipam": dual_stack()})), &extra)
    }

    /// A fresh host with the master `m0`. The kernel must have what the plugin needs.
    #[track_caller]
    pub fn network(&self) -> Network {
        self.network_on("m0")
    }

    /// The same with another name for the master.
    #[track_caller]
    pub fn network_on(&self, master: &str) -> Network {
        needs(self.needs);
        let network = self.bare_network_on(master);
        if let (Some(configure), Some(router)) = (self.router, &network.router) {
            configure(router);
        }
        network
    }

    /// A fresh host with the master `m0`, on any kernel, for configurations that are refused before any request to the
    /// kernel.
    #[track_caller]
    pub fn bare_network(&self) -> Network {
        self.bare_network_on("m0")
    }

    fn bare_network_on(&self, master: &str) -> Network {
        let host = Host::new();
        let router = self.router.map(|_| wire(&host, master, "router", &[]));
        Network { host, router }
    }

    /// Moves the master into the container, where it is called `up0`.
    #[track_caller]
    fn master_into(&self, network: &Network, container: &Container, master: &str) {
        network.ip(&format!(
            "link set {master} netns {} name up0",
            container.name()
        ));
        container.ip("link set up0 up");
    }

    /// Runs the examples of the plugin's page, each on a fresh host with the master `ens1`, which is the link of the
    /// default route; with `linkInContainer`, the master is `up0` in the container. The page must have `at_least` this
    /// many.
    ///
    /// # Panics
    ///
    /// When one fails.
    #[track_caller]
    pub fn examples_work(&self, page: &str, at_least: usize) {
        crate::examples_work(&self.plugin(), page, at_least, |config| {
            let network = self.network_on("ens1");
            if self.router.is_some() {
                network.ip("addr add 192.0.2.2/24 dev ens1");
                network.ip("route add default via 192.0.2.1");
            }
            let container = network.container("c1");
            if config["linkInContainer"] == true {
                self.master_into(&network, &container, "ens1");
            }
            (container, network)
        });
    }
}
