//! Chains that hold every plugin, and their verbs.

use blackbox::networks::bridged;
use serde_json::{Value, json};
use std::time::Duration;
use testkit::{Container, Host, Invocation, Node, Plugin, bin_dir};

/// A network list and one attachment to it.
pub(crate) struct Chain {
    pub(crate) network: String,
    pub(crate) container_id: String,
    pub(crate) if_name: String,
    plugins: Vec<Value>,
    /// The directory of the binaries.
    bin: std::path::PathBuf,
}

impl Chain {
    pub(crate) fn new(plugins: Vec<Value>) -> Chain {
        Chain {
            network: "net".to_owned(),
            container_id: "c1".to_owned(),
            if_name: "eth0".to_owned(),
            plugins,
            bin: bin_dir(),
        }
    }

    /// With the binaries in another directory.
    pub(crate) fn binaries(mut self, directory: &std::path::Path) -> Chain {
        self.bin = directory.to_owned();
        self
    }

    fn config(&self, plugin: &Value) -> Value {
        let mut config = plugin.clone();
        config["cniVersion"] = "1.1.0".into();
        config["name"] = self.network.as_str().into();
        config
    }

    fn call(&self, verb: &str, config: &Value) -> Invocation {
        let name = config["type"].as_str().unwrap_or_default();
        let call = Plugin::in_dir(&self.bin, name).command(verb).config(config);
        call.deadline(Duration::from_secs(60))
    }

    fn attachment(&self, verb: &str, container: &Container, config: &Value) -> Invocation {
        let call = self.call(verb, config).netns(container.netns());
        call.id(&self.container_id).ifname(&self.if_name)
    }

    #[track_caller]
    pub(crate) fn add(&self, container: &Container) -> Value {
        let mut result = Value::Null;
        for plugin in &self.plugins {
            let mut config = self.config(plugin);
            if !result.is_null() {
                config["prevResult"] = result;
            }
            result = self
                .attachment("ADD", container, &config)
                .run()
                .expect_ok()
                .json();
        }
        result
    }

    #[track_caller]
    pub(crate) fn check(&self, container: &Container, result: &Value) {
        for plugin in &self.plugins {
            let mut config = self.config(plugin);
            config["prevResult"] = result.clone();
            self.attachment("CHECK", container, &config)
                .run()
                .expect_ok();
        }
    }

    #[track_caller]
    pub(crate) fn del(&self, container: &Container, result: &Value) {
        for plugin in self.plugins.iter().rev() {
            let mut config = self.config(plugin);
            config["prevResult"] = result.clone();
            self.attachment("DEL", container, &config).run().expect_ok();
        }
    }

    /// GC with the attachment valid, or with none.
    #[track_caller]
    pub(crate) fn gc(&self, is_valid: bool) {
        let own = json!({"containerID": self.container_id, "ifname": self.if_name});
        for plugin in &self.plugins {
            let mut config = self.config(plugin);
            config["cni.dev/valid-attachments"] = match is_valid {
                true => json!([own]),
                false => json!([]),
            };
            self.call("GC", &config).run().expect_ok();
        }
    }

    #[track_caller]
    pub(crate) fn status(&self) {
        for plugin in &self.plugins {
            self.call("STATUS", &self.config(plugin)).run().expect_ok();
        }
    }
}

fn ipam(network: u8) -> Value {
    json!({"type": "host-local", "subnet": format!("10.{network}.0.0/24"), "routes": [{"dst": "10.99.0.0/16"}]})
}

/// bridge with all its filters, and every plugin that stands behind one.
pub(crate) fn full(backend: &str) -> Vec<Value> {
    let mut bridge = bridged("1.1.0", &["10.60.0.0/24", "fd00:60::/64"]);
    // One address, so that it is used again.
    let one =
        |subnet, address| json!([{"subnet": subnet, "rangeStart": address, "rangeEnd": address}]);
    bridge["ipam"]["ranges"] = json!([
        one("10.60.0.0/24", "10.60.0.2"),
        one("fd00:60::/64", "fd00:60::2"),
    ]);
    for (key, value) in [
        ("ipMasq", json!(true)),
        ("ipMasqBackend", json!(backend)),
        ("macspoofchk", json!(true)),
    ] {
        bridge[key] = value;
    }
    let ports = json!([{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]);
    let rate = json!({
        "ingressRate": 50_000_000, "ingressBurst": 5_000_000, "egressRate": 50_000_000, "egressBurst": 5_000_000
    });
    vec![
        bridge,
        json!({"type": "portmap", "backend": backend, "runtimeConfig": {"portMappings": ports}}),
        json!({"type": "bandwidth", "runtimeConfig": {"bandwidth": rate}}),
        json!({"type": "firewall", "backend": backend, "ingressPolicy": "same-bridge"}),
        json!({"type": "tuning", "mtu": 1400, "sysctl": {"net.ipv4.conf.IFNAME.log_martians": "1"}}),
        json!({"type": "sbr"}),
    ]
}

/// The plugins that make interfaces, each alone, as far as any kernel has them.
pub(crate) fn interfaces(host: &Host) -> Vec<Vec<Value>> {
    for link in ["m0", "d0"] {
        host.command(&["ip", "link", "add", link, "up", "type", "veth"]);
    }
    let static_ipam = json!({"type": "static", "addresses": [{"address": "10.4.0.2/24"}]});
    vec![
        vec![json!({"type": "ptp", "ipMasq": true, "ipam": ipam(1)})],
        vec![json!({"type": "macvlan", "master": "m0", "ipam": ipam(2)})],
        vec![json!({"type": "tap", "ipam": ipam(3)})],
        vec![json!({"type": "host-device", "device": "d0", "ipam": static_ipam})],
        vec![json!({"type": "loopback"})],
        vec![flannel(host)],
    ]
}

/// flannel, its daemon's file in place.
pub(crate) fn flannel(host: &Host) -> Value {
    let env = "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.17.1/24\nFLANNEL_MTU=1472\nFLANNEL_IPMASQ=true\n";
    let file = host.write("subnet.env", env);
    json!({"type": "flannel", "subnetFile": file, "delegate": {"bridge": "cni9", "isDefaultGateway": true}})
}

/// Those that some kernels lack.
pub(crate) fn further_interfaces(host: &Host) -> Vec<Vec<Value>> {
    host.command(&["ip", "link", "add", "m0", "up", "type", "veth"]);
    vec![
        vec![json!({"type": "ipvlan", "master": "m0", "ipam": ipam(1)})],
        vec![json!({"type": "vlan", "master": "m0", "vlanId": 5, "ipam": ipam(2)})],
        vec![
            json!({"type": "dummy", "ipam": ipam(3)}),
            json!({"type": "vrf", "vrfname": "blue"}),
        ],
    ]
}
