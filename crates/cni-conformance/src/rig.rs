//! The host of a rule, with the plugin under test on it.

use std::cell::Cell;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::{Container, Host, Invocation, Node, Plugin, Run, Snapshot};

use crate::demand;
use crate::previous;
use crate::subject::{Class, Subject};
use crate::version::ordinal;
use crate::worker;

/// The host's end of the links that stand for the plugins before a chained one.
const BRIDGE: &str = "conf";

/// A host with the plugin under test.
pub(crate) struct Rig {
    /// The host.
    pub(crate) host: Host,
    /// The plugin under test and its configuration.
    pub(crate) subject: Subject,
    /// Its binary.
    pub(crate) plugin: Plugin,
    /// The number of the next container.
    next: Cell<u8>,
}

/// A container that is ready for ADD.
pub(crate) struct Pod {
    /// The container.
    pub(crate) container: Container,
    /// The result of the plugins before a chained one, in the newest version.
    previous: Option<Value>,
}

/// A container that ADD has attached.
pub(crate) struct Attached {
    pub(crate) pod: Pod,
    /// The configuration of ADD.
    pub(crate) config: Value,
    /// The call of ADD.
    pub(crate) run: Run,
    /// Its result.
    pub(crate) result: Value,
}

impl Attached {
    /// What an ADD has attached, which must have succeeded.
    #[track_caller]
    pub(crate) fn new(pod: Pod, config: Value, run: Run) -> Attached {
        let result = demand::result(&run);
        Attached {
            pod,
            config,
            run,
            result,
        }
    }

    pub(crate) fn container(&self) -> &Container {
        &self.pod.container
    }

    /// The configuration with the result of ADD as `prevResult`, as for CHECK and DEL.
    pub(crate) fn with_prev(&self) -> Value {
        self.run.with_prev()
    }
}

impl Pod {
    /// The plugin's configuration in the newest version; for a chained plugin with `prevResult`.
    pub(crate) fn config(&self, rig: &Rig) -> Value {
        self.config_in(rig, rig.newest())
    }

    /// The same in a version.
    pub(crate) fn config_in(&self, rig: &Rig, version: &str) -> Value {
        let mut config = rig.config_in(version);
        if let Some(result) = &self.previous {
            config["prevResult"] = previous::in_version(result, version);
        }
        config
    }
}

impl Rig {
    /// A new host, prepared by the commands of the subject if the kernel has what these need.
    ///
    /// # Panics
    ///
    /// When the host cannot be created, or a command fails.
    pub(crate) fn new(subject: Subject, dir: PathBuf) -> Rig {
        let plugin = Plugin::in_dir(dir.clone(), &subject.plugin);
        let rig = Rig {
            host: Host::new(),
            subject,
            plugin,
            next: Cell::new(2),
        };
        if rig
            .subject
            .needs
            .iter()
            .all(|feature| testkit::has(feature))
        {
            let plugins = format!("PLUGINS={}", dir.display());
            for command in &rig.subject.before {
                rig.host.command(&["env", &plugins, "sh", "-ec", command]);
            }
        }
        rig
    }

    /// The newest version under test.
    pub(crate) fn newest(&self) -> &str {
        self.subject.versions.last().map_or("", String::as_str)
    }

    /// The versions under test from `oldest` on, oldest first.
    pub(crate) fn versions_from(&self, oldest: &str) -> impl Iterator<Item = &str> {
        let oldest = ordinal(oldest);
        let versions = self.subject.versions.iter().map(String::as_str);
        versions.filter(move |version| ordinal(version) >= oldest)
    }

    /// The versions in which the plugin can attach: a chained one needs `prevResult`, which came with 0.3.0.
    pub(crate) fn attaching_versions(&self) -> impl Iterator<Item = &str> {
        self.versions_from(match self.subject.class {
            Class::Chained => "0.3.0",
            _ => "0.1.0",
        })
    }

    /// The configuration in the newest version.
    pub(crate) fn config(&self) -> Value {
        self.config_in(self.newest())
    }

    /// The configuration in a version. A result below 0.3.0 has at most one address per family, so the subject's
    /// configuration must not request more.
    pub(crate) fn config_in(&self, version: &str) -> Value {
        let mut config = self.subject.config.clone();
        config["cniVersion"] = json!(version);
        config
    }

    /// A container that is ready for ADD.
    #[track_caller]
    pub(crate) fn pod(&self, id: &str) -> Pod {
        worker::prepare(|| self.prepared(id))
    }

    fn prepared(&self, id: &str) -> Pod {
        let container = self.host.container(id);
        let number = self.next.replace(self.next.get() + 1);
        let previous =
            (self.subject.class == Class::Chained).then(|| self.interface(&container, number));
        for command in &self.subject.container {
            let variables = [
                format!("NUMBER={number}"),
                format!("ID={id}"),
                format!("IFNAME={}", self.subject.if_name),
            ];
            let variables = variables.iter().map(String::as_str);
            let argv: Vec<&str> = ["env"]
                .into_iter()
                .chain(variables)
                .chain(["sh", "-ec", command])
                .collect();
            self.host.command(&argv);
        }
        Pod {
            container,
            previous,
        }
    }

    /// Gives a container an interface with addresses, as the first plugin of a chain does. Returns that plugin's result.
    fn interface(&self, container: &Container, number: u8) -> Value {
        if !self.host.link_names().iter().any(|name| name == BRIDGE) {
            self.host.ip_batch(&[
                // Without an address of its own, the bridge has that of a port.
                &format!(
                    "link add {BRIDGE} address 02:00:00:00:01:01 type bridge mcast_snooping 0"
                ),
                &format!("link set {BRIDGE} addrgenmode none up"),
                &format!("addr add 10.8.0.1/24 dev {BRIDGE}"),
                &format!("addr add fd00:8::1/64 dev {BRIDGE} nodad"),
            ]);
        }
        let (id, name) = (container.id(), &self.subject.if_name);
        let port = format!("{BRIDGE}{number}");
        let (outer, inner) = (
            format!("02:00:00:00:01:{number:02x}"),
            format!("02:00:00:00:02:{number:02x}"),
        );
        self.host.ip_batch(&[
            &format!(
                "link add {port} address {outer} type veth peer name {name} address {inner} netns {id}"
            ),
            &format!("link set {port} addrgenmode none master {BRIDGE} up"),
        ]);
        container.ip_batch(&[
            "link set lo up",
            &format!("link set {name} up"),
            &format!("addr add 10.8.0.{number}/24 dev {name}"),
            &format!("addr add fd00:8::{number}/64 dev {name} nodad"),
            "route add 0.0.0.0/0 via 10.8.0.1",
            "route add ::/0 via fd00:8::1",
        ]);
        json!({
            "interfaces": [
                {"name": port, "mac": outer},
                {"name": name, "mac": inner, "sandbox": container.netns()}
            ],
            "ips": [
                {"address": format!("10.8.0.{number}/24"), "gateway": "10.8.0.1", "interface": 1},
                {"address": format!("fd00:8::{number}/64"), "gateway": "fd00:8::1", "interface": 1}
            ],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
        })
    }

    /// Attaches a new container in the newest version.
    #[track_caller]
    pub(crate) fn attach(&self, id: &str) -> Attached {
        self.attach_in(id, self.newest())
    }

    /// Attaches a new container in a version.
    #[track_caller]
    pub(crate) fn attach_in(&self, id: &str, version: &str) -> Attached {
        let pod = self.pod(id);
        let config = pod.config_in(self, version);
        self.attach_pod(pod, config)
    }

    /// Attaches a container with a configuration.
    #[track_caller]
    pub(crate) fn attach_pod(&self, pod: Pod, config: Value) -> Attached {
        let run = self.add(&pod.container, &config);
        Attached::new(pod, config, run)
    }

    /// Attaches a new container after another, so that what outlives an attachment exists. Also returns the state
    /// before ADD.
    #[track_caller]
    pub(crate) fn attach_later(&self, id: &str) -> (Snapshot, Attached) {
        self.warmed_up();
        let pod = self.pod(id);
        let before = self.state();
        let config = pod.config(self);
        (before, self.attach_pod(pod, config))
    }

    /// Attaches and detaches a container, so that what outlives an attachment (a bridge, directories) exists.
    /// Returns the state of the host afterwards.
    #[track_caller]
    pub(crate) fn warmed_up(&self) -> Snapshot {
        let attached = self.attach("warm-up");
        demand::success(self.del(attached.container(), &attached.with_prev()));
        if self.subject.class == Class::Chained {
            // Otherwise the kernel deletes it in the background, after the namespace.
            let name = &self.subject.if_name;
            attached.container().ip(&format!("link del {name}"));
        }
        drop(attached);
        // The kernel deletes links of a deleted namespace in the background.
        self.settled()
    }

    /// The state of the host once it no longer changes by itself.
    #[track_caller]
    fn settled(&self) -> Snapshot {
        let end = Instant::now() + Duration::from_secs(10) * testkit::patience();
        let mut state = self.state();
        loop {
            thread::sleep(Duration::from_millis(20) * testkit::patience());
            let next = self.state();
            if next == state || Instant::now() > end {
                return next;
            }
            state = next;
        }
    }

    /// The state of the host and its containers, without what an attachment leaves behind by design: the last reserved
    /// address and the index of host-local, and the addresses that the kernel adds to `lo` when it is first set up.
    #[track_caller]
    pub(crate) fn state(&self) -> Snapshot {
        let left = [
            "last_reserved_ip.",
            "/.index",
            "dev=lo ",
            "local=127.0.0.1 ",
            "local=::1 ",
        ];
        let ignored = self.subject.ignore.iter().map(String::as_str);
        let parts: Vec<&str> = left.into_iter().chain(ignored).collect();
        let is_kept = |line: &str| !parts.iter().any(|part| line.contains(part));
        self.host.snapshot().filtered(is_kept)
    }

    /// Runs `f`, which must leave the state of the host as it is.
    #[track_caller]
    pub(crate) fn unchanged<T>(&self, f: impl FnOnce() -> T) -> T {
        let before = self.state();
        let value = f();
        before.assert_same(&self.state());
        value
    }

    /// Demands that the host is in the state `before` again soon: the kernel deletes the links of a deleted namespace in
    /// the background.
    #[track_caller]
    pub(crate) fn assert_back(&self, before: &Snapshot) {
        let end = Instant::now() + Duration::from_secs(5) * testkit::patience();
        while *before != self.state() && Instant::now() < end {
            thread::sleep(Duration::from_millis(20));
        }
        before.assert_same(&self.state());
    }

    /// Returns a call of `verb` for a container, not yet started.
    pub(crate) fn call(&self, verb: &str, container: &Container, config: &Value) -> Invocation {
        let call = self.plugin.command(verb).ifname(&self.subject.if_name);
        call.container(container).config(config)
    }

    /// Runs ADD.
    #[track_caller]
    pub(crate) fn add(&self, container: &Container, config: &Value) -> Run {
        self.call("ADD", container, config).run()
    }

    /// Runs DEL.
    #[track_caller]
    pub(crate) fn del(&self, container: &Container, config: &Value) -> Run {
        self.call("DEL", container, config).run()
    }

    /// Runs CHECK.
    #[track_caller]
    pub(crate) fn check(&self, container: &Container, config: &Value) -> Run {
        self.call("CHECK", container, config).run()
    }
}
