//! The plugin under test, and its host.

use serde::Deserialize;
use serde_json::{Value, json};
use testkit::{Container, Host, Node, Plugin, Run, Snapshot};

use crate::networks::{self, VERSIONS};
use crate::{answer, state};

/// A plugin and how to use it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Subject {
    /// The name of the binary, which the plugin also prints when it is called without `CNI_COMMAND`.
    pub plugin: String,
    /// A configuration that works, without `cniVersion`.
    pub config: Value,
    /// The interface it creates.
    #[serde(default = "default_interface")]
    pub if_name: String,
    /// The specification versions it supports, oldest first. The default is all.
    #[serde(default = "all_versions")]
    pub versions: Vec<String>,
    /// Whether it is an IPAM plugin, which allocates addresses and does not use the namespace.
    #[serde(default)]
    pub ipam: bool,
    /// Whether a second ADD of the same interface succeeds, because the plugin creates nothing.
    #[serde(default)]
    pub repeatable: bool,
    /// Programs to run on the host first, for example to create the master.
    #[serde(default)]
    pub before: Vec<Vec<String>>,
    /// Kernel features it requires, see [`testkit::needs`].
    #[serde(default)]
    pub needs: Vec<String>,
}

fn default_interface() -> String {
    "eth0".into()
}

fn all_versions() -> Vec<String> {
    VERSIONS.map(String::from).to_vec()
}

impl Subject {
    /// A plugin that creates `eth0`, in every version.
    pub fn new(plugin: &str, config: Value) -> Subject {
        Subject {
            plugin: plugin.into(),
            config,
            if_name: default_interface(),
            versions: all_versions(),
            ipam: false,
            repeatable: false,
            before: Vec::new(),
            needs: Vec::new(),
        }
    }

    /// `plugin` with `keys` and `host-local`. IPv4 only, because ADD waits for duplicate address detection of IPv6
    /// addresses on links that leave the host.
    fn interface(plugin: &str, keys: Value) -> Subject {
        let mut config = json!({
            "name": "conformance", "type": plugin,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.7.0.0/16"}]]}
        });
        if let (Value::Object(config), Value::Object(keys)) = (&mut config, keys) {
            config.extend(keys);
        }
        Subject::new(plugin, config)
    }

    /// The same with the master `up0`.
    fn on_a_master(plugin: &str, keys: Value) -> Subject {
        let mut subject = Subject::interface(plugin, keys);
        subject.config["master"] = json!("up0");
        let words = |line: &str| line.split(' ').map(String::from).collect();
        subject.before = vec![
            words("ip link add up0 type veth peer name down0"),
            words("ip link set down0 up"),
            words("ip link set up0 up"),
        ];
        subject
    }

    fn needing(mut self, feature: &str) -> Subject {
        self.needs.push(feature.into());
        self
    }

    /// `ptp` with `host-local`, both address families.
    pub fn ptp() -> Subject {
        let mut subject = Subject::interface("ptp", json!({}));
        subject.config["ipam"]["ranges"] =
            json!([[{"subnet": "10.7.0.0/16"}], [{"subnet": "fd00:7::/64"}]]);
        subject
    }

    /// `macvlan` with `host-local`.
    pub fn macvlan() -> Subject {
        Subject::on_a_master("macvlan", json!({"mode": "bridge"}))
    }

    /// `ipvlan` with `host-local`.
    pub fn ipvlan() -> Subject {
        Subject::on_a_master("ipvlan", json!({"mode": "l2"})).needing("ipvlan")
    }

    /// `dummy` with `host-local`.
    pub fn dummy() -> Subject {
        Subject::interface("dummy", json!({})).needing("dummy")
    }

    /// `tap` with `host-local`.
    pub fn tap() -> Subject {
        Subject::interface("tap", json!({}))
    }

    /// `flannel` with `bridge` and `host-local`, both address families.
    pub fn flannel() -> Subject {
        let config =
            json!({"name": "conformance", "type": "flannel", "delegate": {"ipMasq": false}});
        let mut subject = Subject::new("flannel", config);
        let file = "FLANNEL_NETWORK=10.7.0.0/16\\nFLANNEL_SUBNET=10.7.1.1/24\\n\
                    FLANNEL_IPV6_NETWORK=fd00:7::/48\\nFLANNEL_IPV6_SUBNET=fd00:7:0:1::1/64\\n\
                    FLANNEL_MTU=1450\\nFLANNEL_IPMASQ=false\\n";
        let write = format!("mkdir /run/flannel && printf '{file}' >/run/flannel/subnet.env");
        subject.before = vec![["sh", "-c", &write].map(String::from).to_vec()];
        subject
    }

    /// `bridge` with `host-local`, both address families.
    pub fn bridge() -> Subject {
        let mut config = networks::dual_stack("");
        config["name"] = json!("conformance");
        Subject::new("bridge", config)
    }

    /// `loopback`.
    pub fn loopback() -> Subject {
        let mut subject = Subject::new("loopback", networks::loopback(""));
        subject.if_name = "lo".into();
        subject.repeatable = true;
        subject
    }

    /// `host-local` on its own, both address families.
    pub fn host_local() -> Subject {
        let mut subject = Subject::bridge();
        subject.plugin = "host-local".into();
        subject.ipam = true;
        subject
    }

    /// The subject described in the JSON file that `CNI_TEST_SUBJECT` names.
    ///
    /// # Panics
    ///
    /// When the variable is not set, or the file does not describe a subject.
    pub fn from_env() -> Subject {
        let path = std::env::var_os("CNI_TEST_SUBJECT")
            .expect("CNI_TEST_SUBJECT names a file that describes the plugin, see Documentation/conformance.md");
        let text = std::fs::read(&path)
            .unwrap_or_else(|err| panic!("CNI_TEST_SUBJECT: {}: {err}", path.display()));
        serde_json::from_slice(&text)
            .unwrap_or_else(|err| panic!("CNI_TEST_SUBJECT: {}: {err}", path.display()))
    }

    /// The newest version it supports.
    ///
    /// # Panics
    ///
    /// When it supports none.
    pub fn newest(&self) -> &str {
        self.versions
            .last()
            .expect("a plugin supports at least one version")
    }

    /// The supported versions from `oldest` on.
    pub fn versions_from(&self, oldest: &str) -> impl Iterator<Item = &str> {
        let oldest = networks::ordinal(oldest);
        self.versions
            .iter()
            .map(String::as_str)
            .filter(move |v| networks::ordinal(v) >= oldest)
    }

    /// Whether its newest version has GC and STATUS.
    pub fn has_upkeep(&self) -> bool {
        self.versions_from("1.1.0").next().is_some()
    }
}

/// A host with the plugin under test.
pub struct Rig {
    /// The host.
    pub host: Host,
    /// The plugin under test and its configuration.
    pub subject: Subject,
    /// Its binary.
    pub plugin: Plugin,
}

impl Rig {
    /// A fresh host, prepared by the programs of [`Subject::before`]. The kernel must have what the subject needs.
    ///
    /// # Panics
    ///
    /// When the binary is missing, or the host cannot be created.
    #[track_caller]
    pub fn new(subject: Subject) -> Rig {
        let features: Vec<&str> = subject.needs.iter().map(String::as_str).collect();
        testkit::needs(&features);
        Rig::on_any_kernel(subject)
    }

    /// The same for rules that attach nothing and therefore need no kernel features.
    ///
    /// # Panics
    ///
    /// When the binary is missing, or the host cannot be created.
    #[track_caller]
    pub fn on_any_kernel(subject: Subject) -> Rig {
        let plugin = Plugin::new(&subject.plugin);
        let host = Host::new();
        for program in &subject.before {
            let argv: Vec<&str> = program.iter().map(String::as_str).collect();
            host.command(&argv);
        }
        Rig {
            host,
            subject,
            plugin,
        }
    }

    /// Attaches and detaches a container, so that what outlives an attachment (a bridge, directories) exists.
    /// Returns the state of the host afterwards.
    #[track_caller]
    pub fn warmed_up(&self) -> Snapshot {
        let container = self.host.container("warm-up");
        let config = self.config();
        answer::result(&self.add(&container, &config));
        answer::silent(self.del(&container, &config));
        drop(container);
        state::of(&self.host)
    }

    /// The configuration in the newest version.
    pub fn config(&self) -> Value {
        self.config_in(self.subject.newest())
    }

    /// The configuration in `version`. A result below 0.3.0 has at most one address per family, so the subject's
    /// configuration must not request more.
    pub fn config_in(&self, version: &str) -> Value {
        let mut config = self.subject.config.clone();
        config["cniVersion"] = json!(version);
        config
    }

    /// Returns a call of `verb` for the container, not yet started.
    pub fn call(&self, verb: &str, container: &Container, config: &Value) -> testkit::Invocation {
        let call = self.plugin.command(verb).ifname(&self.subject.if_name);
        call.container(container).config(config)
    }

    /// Runs ADD.
    #[track_caller]
    pub fn add(&self, container: &Container, config: &Value) -> Run {
        self.call("ADD", container, config).run()
    }

    /// Runs DEL.
    #[track_caller]
    pub fn del(&self, container: &Container, config: &Value) -> Run {
        self.call("DEL", container, config).run()
    }

    /// Runs CHECK.
    #[track_caller]
    pub fn check(&self, container: &Container, config: &Value) -> Run {
        self.call("CHECK", container, config).run()
    }
}
