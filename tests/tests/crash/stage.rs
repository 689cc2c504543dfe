//! A host with the attachments that a case requires, and its complete state.

use std::any::Any;
use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use blackbox::chain::Chain;
use blackbox::{answer, state};
use serde_json::{Value, json};
use testkit::trace::{Kill, Trace};
use testkit::{Container, Host, Invocation, Node, Run, Snapshot, patience};

use crate::cases::Case;

/// The container whose plugin is killed.
const CONTAINER: &str = "c1";
/// Another attachment to the same network, which must not be affected.
const NEIGHBOUR: &str = "n1";

/// Everything that plugins can change: kernel objects, files, sysctls.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct State {
    snapshot: Snapshot,
    sysctls: BTreeMap<String, BTreeMap<String, String>>,
}

impl State {
    /// Returns what differs in `later`; empty if nothing does.
    pub(crate) fn diff(&self, later: &State) -> String {
        let mut text = self.snapshot.diff(&later.snapshot);
        for (node, before) in &self.sysctls {
            let Some(after) = later.sysctls.get(node) else {
                continue;
            };
            let keys: std::collections::BTreeSet<&String> =
                before.keys().chain(after.keys()).collect();
            for key in keys {
                let (old, new) = (before.get(key), after.get(key));
                if old != new {
                    text += &format!("{node} sysctl {key}: {old:?}, then {new:?}\n");
                }
            }
        }
        text
    }

    /// The state without the lines of bridges, whose hardware addresses are random.
    pub(crate) fn without_bridges(mut self) -> State {
        self.snapshot = self.snapshot.without(" kind=bridge ");
        self
    }

    /// Only the files of the host.
    pub(crate) fn of_files(mut self) -> State {
        self.snapshot = self.snapshot.only_files();
        self.sysctls.clear();
        self
    }

    /// The state without routes, and without neighbours, which are listed alike.
    pub(crate) fn without_routes(mut self) -> State {
        self.snapshot = self.snapshot.filtered(|line| !line.starts_with("dst="));
        self
    }

    /// The state without the container's namespace.
    pub(crate) fn of_the_host(mut self) -> State {
        self.snapshot = self.snapshot.without_node(CONTAINER);
        self.sysctls.remove(CONTAINER);
        self
    }
}

/// A host on which the shared objects of the network exist, and the container is attached to all but the last plugin.
pub(crate) struct Stage {
    pub(crate) host: Host,
    container: Option<Container>,
    neighbour: Option<Container>,
    _others: Vec<Box<dyn Any>>,
    setup: Chain,
    subject: Chain,
    /// The result of the plugin before the subject.
    previous: Value,
}

impl Stage {
    /// Creates the host without anything that attachments to the last plugin leave.
    #[track_caller]
    pub(crate) fn fresh(case: &Case) -> Stage {
        let mut stage = Stage::empty(case);
        stage.create_container();
        stage
    }

    /// Creates the host, with or without another attachment to the network.
    #[track_caller]
    pub(crate) fn new(case: &Case, has_neighbour: bool) -> Stage {
        let mut stage = Stage::empty(case);
        if has_neighbour {
            stage.attach_neighbour();
        }
        stage.create_container();
        // What outlives attachments by design is created by the first of them.
        answer::result(&stage.call("ADD", &Value::Null).run());
        answer::silent(stage.call("DEL", &Value::Null).run());
        stage
    }

    #[track_caller]
    fn empty(case: &Case) -> Stage {
        let host = Host::new();
        let others = (case.prepare)(&host);
        let (subject, setup) = case.plugins.split_last().expect("a plugin");
        let subject = Chain::new(vec![subject.clone()]);
        let mut setup = Chain::new(setup.to_vec());
        setup.if_name.clone_from(&subject.if_name);
        Stage {
            host,
            container: None,
            neighbour: None,
            _others: others,
            setup,
            subject,
            previous: Value::Null,
        }
    }

    /// Attaches the neighbour, if the network has room for two.
    fn attach_neighbour(&mut self) {
        let neighbour = self.host.container(NEIGHBOUR);
        let mut chain = self.setup.clone();
        chain.plugins.extend(self.subject.plugins.iter().cloned());
        chain.container_id = NEIGHBOUR.into();
        // One host port, VLAN or device cannot be used twice.
        let plugin = chain.plugins.last_mut().expect("a plugin");
        if ["host-device", "vlan"]
            .iter()
            .any(|kind| plugin["type"] == *kind)
        {
            return;
        }
        if let Some(mappings) = plugin["runtimeConfig"]["portMappings"].as_array_mut() {
            for mapping in mappings {
                mapping["hostPort"] =
                    json!(mapping["hostPort"].as_u64().unwrap_or_default() + 1000);
            }
        } else {
            plugin
                .as_object_mut()
                .expect("a configuration")
                .remove("runtimeConfig");
        }
        chain.add(&neighbour);
        self.neighbour = Some(neighbour);
    }

    /// Creates the container and attaches it to the plugins before the subject.
    pub(crate) fn create_container(&mut self) {
        let container = self.host.container(CONTAINER);
        // Duplicate address detection would take a second of each ADD.
        container.set_sysctl("net/ipv6/conf/default/accept_dad", "0");
        self.previous = self.setup.add(&container);
        self.container = Some(container);
    }

    /// Deletes the container after all its attachments.
    pub(crate) fn delete_container(&mut self) {
        answer::silent(self.call("DEL", &Value::Null).run());
        let container = self.container.take().expect("a container");
        self.setup.del(&container);
    }

    pub(crate) fn container(&self) -> &Container {
        self.container.as_ref().expect("a container")
    }

    /// Returns a call of the plugin that is killed. `result` is that of its ADD, null if it has none.
    pub(crate) fn call(&self, verb: &str, result: &Value) -> Invocation {
        let previous = match verb {
            "ADD" => &self.previous,
            _ => result,
        };
        let call = self.subject.calls(verb, self.container().netns(), previous);
        call.into_iter().next().expect("one plugin")
    }

    /// Runs GC of all plugins; only the neighbour's attachment is valid. Returns the run of the first that fails, or of the
    /// last.
    pub(crate) fn gc(&self) -> Run {
        let if_name = &self.subject.if_name;
        let valid = self
            .neighbour
            .iter()
            .map(|neighbour| json!({"containerID": neighbour.id(), "ifname": if_name}));
        let valid: Vec<Value> = valid.collect();
        let keys = json!({"cni.dev/valid-attachments": valid});
        let calls = [&self.setup, &self.subject].map(|chain| chain.gc_calls(&keys));
        let mut runs = calls.into_iter().flatten().map(Invocation::run).peekable();
        loop {
            let run = runs.next().expect("a plugin");
            if !run.is_ok() || runs.peek().is_none() {
                return run;
            }
        }
    }

    /// Runs the subject until it is killed.
    pub(crate) fn trace(&self, verb: &str, result: &Value, kill: Option<Kill>) -> (Run, Trace) {
        self.call(verb, result).trace(kill)
    }

    pub(crate) fn state(&self) -> State {
        let mut sysctls = BTreeMap::from([("host".to_owned(), self.host.sysctls())]);
        for container in self.container.iter().chain(&self.neighbour) {
            sysctls.insert(container.id().to_owned(), container.sysctls());
        }
        // An empty directory of state, and the file of iptables' lock, count as none: the next user removes them.
        let is_empty = |line: &str| {
            let is_topic = line.starts_with("/run/cni/") && line.ends_with('/');
            is_topic || line.starts_with("/run/cni/locks/iptables:")
        };
        let snapshot = state::of(&self.host).filtered(|line| !is_empty(line));
        State { snapshot, sysctls }
    }

    /// Returns what differs from `before`, looked at by `of`, once two seconds have passed; empty as soon as nothing differs: the
    /// kernel finishes some deletions in the background.
    pub(crate) fn remains(&self, before: &State, of: fn(State) -> State) -> String {
        let end = Instant::now() + Duration::from_secs(2) * patience();
        loop {
            let diff = before.diff(&of(self.state()));
            if diff.is_empty() || Instant::now() > end {
                return diff;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}
