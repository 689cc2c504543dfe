//! A network of several plugins, called as a runtime calls them: through libcni.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use libcni::{Attachment, Cni, NetworkList, ValidAttachment};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{Container, Invocation, Plugin, bin_dir, merge};

use crate::answer;

/// A network list and one attachment to it.
#[derive(Clone, Debug)]
pub struct Chain {
    /// The configurations of the plugins in their order, without `name` and `cniVersion`.
    pub plugins: Vec<Value>,
    /// `cniVersion`
    pub version: &'static str,
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
    /// The runtime's cache, which clones share.
    pub cache: Arc<TempDir>,
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
    ///
    /// # Panics
    ///
    /// When there is no room for the runtime's cache.
    pub fn new(plugins: Vec<Value>) -> Chain {
        let is_loopback = plugins
            .first()
            .is_some_and(|plugin| plugin["type"] == "loopback");
        Chain {
            plugins,
            version: "1.1.0",
            network: "net".to_owned(),
            container_id: "c1".to_owned(),
            if_name: if is_loopback { "lo" } else { "eth0" }.to_owned(),
            bin: bin_dir(),
            path: None,
            cache: Arc::new(tempfile::tempdir().unwrap()),
        }
    }

    /// Runs ADD and returns the result, which the cache keeps for CHECK and DEL; `null` without plugins.
    ///
    /// # Panics
    ///
    /// When it fails.
    #[track_caller]
    pub fn add(&self, container: &Container) -> Value {
        let added = self.cni().add(&self.list(), &self.attachment(container));
        let text = expect(added).map(|result| expect(result.to_json()));
        text.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap())
    }

    /// Runs CHECK with the result of ADD.
    ///
    /// # Panics
    ///
    /// When it fails.
    #[track_caller]
    pub fn check(&self, container: &Container) {
        expect(self.cni().check(&self.list(), &self.attachment(container)));
    }

    /// Runs DEL with the result of ADD.
    ///
    /// # Panics
    ///
    /// When it fails.
    #[track_caller]
    pub fn del(&self, container: &Container) {
        expect(self.cni().del(&self.list(), &self.attachment(container)));
    }

    /// Runs STATUS.
    ///
    /// # Panics
    ///
    /// When it fails.
    #[track_caller]
    pub fn status(&self) {
        expect(self.cni().status(&self.list()));
    }

    /// Runs GC of a runtime that has lost its cache. The attachment is the only valid one, or none is valid.
    ///
    /// # Panics
    ///
    /// When it fails.
    #[track_caller]
    pub fn gc(&self, is_valid: bool) {
        let own = ValidAttachment {
            container_id: self.container_id.clone(),
            if_name: self.if_name.clone(),
        };
        let valid = if is_valid { vec![own] } else { Vec::new() };
        let lost = self.cache.path().join("lost");
        expect(self.cni().cache_dir(lost).gc(&self.list(), Some(&valid)));
    }

    fn cni(&self) -> Cni {
        let cni = Cni::new([&self.bin]).cache_dir(self.cache.path());
        match &self.path {
            Some(path) => cni.env("PATH", path),
            None => cni,
        }
    }

    fn list(&self) -> NetworkList {
        let mut list = json!({"cniVersion": self.version, "name": self.network});
        // An empty list of plugins is invalid.
        if !self.plugins.is_empty() {
            list["plugins"] = self.plugins.clone().into();
        }
        expect(NetworkList::from_bytes(list.to_string().as_bytes()))
    }

    fn attachment(&self, container: &Container) -> Attachment {
        Attachment::new(&self.container_id, container.netns(), &self.if_name)
    }

    /// Returns the calls of a verb, for DEL in reverse order, with `netns` as `CNI_NETNS` and `result` as `prevResult`:
    /// for what a runtime's library does not do.
    pub fn calls(&self, verb: &str, netns: &Path, result: &Value) -> Vec<Invocation> {
        let calls = self
            .plugins
            .iter()
            .map(|plugin| self.call_with(verb, netns, plugin, result));
        match verb {
            "DEL" => calls.rev().collect(),
            _ => calls.collect(),
        }
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

    fn call_with(&self, verb: &str, netns: &Path, plugin: &Value, result: &Value) -> Invocation {
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
        let keys = json!({"cniVersion": self.version, "name": self.network});
        merge(plugin.clone(), &keys)
    }
}

#[track_caller]
fn expect<T>(outcome: Result<T, libcni::Error>) -> T {
    outcome.unwrap_or_else(|error| panic!("{error}"))
}
