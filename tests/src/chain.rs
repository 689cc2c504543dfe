//! A network of several plugins, called as a runtime calls them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Container, Invocation, Plugin, bin_dir, merge};

use crate::answer;

/// A network list and one attachment to it.
#[derive(Clone, Debug)]
pub struct Chain {
    /// The configurations of the plugins in their order, without `name` and `cniVersion`.
    pub plugins: Vec<Value>,
    /// The network's name.
    pub network: String,
    /// `CNI_CONTAINERID`
    pub container_id: String,
    /// `CNI_IFNAME`
    pub if_name: String,
    /// The directory of the binaries.
    pub bin: PathBuf,
    /// `PATH` of the plugins, if not the default.
    pub path: Option<String>,
}

/// The plugins of a Kubernetes node's network: bridge with masquerade, portmap, firewall,
/// bandwidth and tuning, with `backend` for all packet filters.
#[must_use]
pub fn kubernetes_plugins(backend: &str, ipam: &Value) -> Vec<Value> {
    vec![
        json!({"type": "bridge", "isGateway": true, "ipMasq": true, "ipMasqBackend": backend, "ipam": ipam}),
        json!({
            "type": "portmap", "backend": backend, "capabilities": {"portMappings": true},
            "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}
        }),
        json!({"type": "firewall", "backend": backend}),
        json!({"type": "bandwidth", "ingressRate": 5_000_000, "ingressBurst": 500_000,
               "egressRate": 5_000_000, "egressBurst": 500_000}),
        json!({"type": "tuning", "sysctl": {"net.core.somaxconn": "500"}}),
    ]
}

impl Chain {
    /// The network `net` with the interface `eth0` (`lo` for loopback) of the container `c1`.
    pub fn new(plugins: Vec<Value>) -> Chain {
        let is_loopback = plugins
            .first()
            .is_some_and(|plugin| plugin["type"] == "loopback");
        Chain {
            plugins,
            network: "net".to_owned(),
            container_id: "c1".to_owned(),
            if_name: if is_loopback { "lo" } else { "eth0" }.to_owned(),
            bin: bin_dir(),
            path: None,
        }
    }

    /// Runs ADD of each plugin and returns the last result.
    ///
    /// # Panics
    ///
    /// When one fails.
    #[track_caller]
    pub fn add(&self, container: &Container) -> Value {
        let mut result = Value::Null;
        for plugin in &self.plugins {
            let call = self.attachment("ADD", container.netns(), plugin, &result);
            result = answer::result(&call.run());
        }
        result
    }

    /// Runs CHECK of each plugin.
    ///
    /// # Panics
    ///
    /// When one fails or prints anything.
    #[track_caller]
    pub fn check(&self, container: &Container, result: &Value) {
        for call in self.calls("CHECK", container.netns(), result) {
            answer::silent(call.run());
        }
    }

    /// Runs DEL of each plugin, in reverse order.
    ///
    /// # Panics
    ///
    /// When one fails or prints anything.
    #[track_caller]
    pub fn del(&self, container: &Container, result: &Value) {
        for call in self.calls("DEL", container.netns(), result) {
            answer::silent(call.run());
        }
    }

    /// Returns the calls of a verb, for DEL in reverse order, with `netns` as `CNI_NETNS`.
    pub fn calls(&self, verb: &str, netns: &Path, result: &Value) -> Vec<Invocation> {
        let calls = self
            .plugins
            .iter()
            .map(|plugin| self.attachment(verb, netns, plugin, result));
        match verb {
            "DEL" => calls.rev().collect(),
            _ => calls.collect(),
        }
    }

    /// Runs GC of each plugin. The attachment is the only valid one, or none is valid.
    ///
    /// # Panics
    ///
    /// When one fails or prints anything.
    #[track_caller]
    pub fn gc(&self, is_valid: bool) {
        let own = json!({"containerID": self.container_id, "ifname": self.if_name});
        let valid = match is_valid {
            true => json!([own]),
            false => json!([]),
        };
        self.gc_with(&json!({"cni.dev/valid-attachments": valid}));
    }

    /// Runs GC of each plugin with these keys added to its configuration, `null` included.
    ///
    /// # Panics
    ///
    /// When one fails or prints anything.
    #[track_caller]
    pub fn gc_with(&self, keys: &Value) {
        for call in self.gc_calls(keys) {
            answer::silent(call.run());
        }
    }

    /// Returns the calls of GC with these keys added to the configurations, `null` included.
    pub fn gc_calls(&self, keys: &Value) -> Vec<Invocation> {
        let call = |plugin| {
            let mut config = self.config(plugin);
            for (key, value) in keys.as_object().into_iter().flatten() {
                config[key] = value.clone();
            }
            self.call("GC", &config)
        };
        self.plugins.iter().map(call).collect()
    }

    /// Runs STATUS of each plugin.
    ///
    /// # Panics
    ///
    /// When one fails or prints anything.
    #[track_caller]
    pub fn status(&self) {
        for plugin in &self.plugins {
            answer::silent(self.call("STATUS", &self.config(plugin)).run());
        }
    }

    fn attachment(&self, verb: &str, netns: &Path, plugin: &Value, result: &Value) -> Invocation {
        let config = merge(self.config(plugin), &json!({"prevResult": result}));
        let call = self.call(verb, &config).netns(netns);
        call.id(&self.container_id).ifname(&self.if_name)
    }

    fn call(&self, verb: &str, config: &Value) -> Invocation {
        let name = config["type"].as_str().unwrap_or_default();
        let call = Plugin::in_dir(&self.bin, name).command(verb).config(config);
        let call = call.deadline(Duration::from_secs(60));
        match &self.path {
            Some(path) => call.env("PATH", path),
            None => call,
        }
    }

    fn config(&self, plugin: &Value) -> Value {
        let keys = json!({"cniVersion": "1.1.0", "name": self.network});
        merge(plugin.clone(), &keys)
    }
}
