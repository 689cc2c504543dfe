//! The plugin chain of Kubernetes nodes: bridge with masquerading, portmap, bandwidth, firewall, tuning, called as a
//! runtime calls them; and bridge with sbr for the second interface of a container.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use blackbox::{answer, state};
use serde_json::{Value, json};
use testkit::{
    Container, Host, Invocation, Node, Plugin, Run, bin_dir, legacy_iptables, peer_dir, run_all,
};

const BACKENDS: [&str; 2] = ["iptables", "nftables"];

/// The network list as one container uses it.
struct Chain {
    backend: &'static str,
    version: &'static str,
    number: usize,
    /// Whether it is the network of second interfaces, with sbr.
    second: bool,
    /// Only the plugins that add packet filters.
    filters_only: bool,
    /// `PATH` of the plugins, if not the default.
    path: Option<String>,
}

/// The implementation whose binaries are called.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Ours,
    Peer,
}

impl Chain {
    fn new(backend: &'static str, number: usize) -> Chain {
        Chain {
            backend,
            version: "1.1.0",
            number,
            second: false,
            filters_only: false,
            path: None,
        }
    }

    fn ifname(config: &Value) -> &'static str {
        if config["name"] == "second" {
            "net1"
        } else {
            "eth0"
        }
    }

    /// The configurations of the plugins in their order.
    fn plugins(&self) -> Vec<Value> {
        let rate = json!({
            "ingressRate": 50_000_000, "ingressBurst": 5_000_000, "egressRate": 50_000_000, "egressBurst": 5_000_000
        });
        let ports = json!([
            {"hostPort": 8000 + self.number, "containerPort": 80, "protocol": "tcp"},
            {"hostPort": 8000 + self.number, "containerPort": 53, "protocol": "udp"},
        ]);
        let mut plugins = vec![
            json!({
                "type": "bridge", "bridge": "cni0", "isDefaultGateway": true, "hairpinMode": true,
                "ipMasq": true, "ipMasqBackend": self.backend,
                "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.60.0.0/24"}], [{"subnet": "fd00:60::/64"}]]}
            }),
            json!({
                "type": "portmap", "backend": self.backend, "capabilities": {"portMappings": true},
                "runtimeConfig": {"portMappings": ports}
            }),
            json!({"type": "bandwidth", "capabilities": {"bandwidth": true}, "runtimeConfig": {"bandwidth": rate}}),
            json!({"type": "firewall", "backend": self.backend, "ingressPolicy": "same-bridge"}),
            json!({"type": "tuning", "sysctl": {"net.core.somaxconn": "500"}}),
        ];
        if self.filters_only {
            plugins
                .retain(|plugin| plugin.get("ipMasq").is_some() || plugin.get("backend").is_some());
        }
        if self.second {
            plugins.truncate(1);
            plugins[0]["bridge"] = "cni1".into();
            plugins[0]["ipam"]["ranges"] =
                json!([[{"subnet": "10.61.0.0/24"}], [{"subnet": "fd00:61::/64"}]]);
            plugins.push(json!({"type": "sbr"}));
        }
        for plugin in &mut plugins {
            plugin["cniVersion"] = self.version.into();
            plugin["name"] = if self.second { "second" } else { "k8s" }.into();
        }
        plugins
    }

    fn call(
        &self,
        side: Side,
        verb: &str,
        id: &str,
        netns: Option<&Container>,
        config: &Value,
    ) -> Invocation {
        let name = config["type"].as_str().unwrap_or_default();
        let (plugin, path) = match side {
            Side::Ours => (Plugin::new(name), bin_dir()),
            Side::Peer => (Plugin::peer(name), peer_dir()),
        };
        let call = plugin
            .command(verb)
            .path(path)
            .id(id)
            .ifname(Chain::ifname(config));
        let call = match netns {
            Some(container) => call.netns(container.netns().display().to_string()),
            None => call,
        };
        let call = match &self.path {
            Some(path) => call.env("PATH", path),
            None => call,
        };
        // Thirty run at once, possibly on two cores.
        call.config(config).deadline(Duration::from_secs(120))
    }

    /// Runs ADD of each plugin and returns the last result.
    #[track_caller]
    fn add(&self, side: Side, container: &Container) -> Value {
        self.add_as(side, container.id(), container)
    }

    #[track_caller]
    fn add_as(&self, side: Side, id: &str, container: &Container) -> Value {
        let mut result = None;
        for mut config in self.plugins() {
            if let Some(result) = result.take() {
                config["prevResult"] = result;
            }
            let run = self.call(side, "ADD", id, Some(container), &config);
            result = Some(run.run().expect_ok().json());
        }
        result.unwrap_or_default()
    }

    fn check(&self, side: Side, container: &Container, result: &Value) -> Vec<Run> {
        // The peer's portmap checks both families with the IPv4 address. The tests of portmap compare its CHECK.
        let is_comparable = |config: &Value| side == Side::Ours || config["type"] != "portmap";
        let plugins = self.plugins().into_iter().filter(is_comparable);
        let calls = plugins.map(|mut config| {
            config["prevResult"] = result.clone();
            self.call(side, "CHECK", container.id(), Some(container), &config)
                .run()
        });
        calls.collect()
    }

    #[track_caller]
    fn del(&self, side: Side, id: &str, netns: Option<&Container>, result: Option<&Value>) {
        for mut config in self.plugins().into_iter().rev() {
            if let Some(result) = result {
                config["prevResult"] = result.clone();
            }
            answer::silent(self.call(side, "DEL", id, netns, &config).run());
        }
    }

    /// Runs GC of each plugin with no valid attachment.
    #[track_caller]
    fn collect_all(&self) {
        for mut config in self.plugins() {
            config["cni.dev/valid-attachments"] = json!([]);
            answer::silent(self.call(Side::Ours, "GC", "", None, &config).run());
        }
    }

    /// Attaches and detaches a container, so that what outlives attachments exists: bridge, tables, shared chains.
    #[track_caller]
    fn warm_up(&self, host: &Host) {
        let first = host.container("first");
        let result = self.add(Side::Ours, &first);
        self.del(Side::Ours, "first", Some(&first), Some(&result));
    }
}

/// STATUS, ADD and CHECK succeed, and DEL, called twice, restores the previous state of the host.
#[track_caller]
fn every_verb_works(host: &Host, chain: &Chain) {
    chain.warm_up(host);
    let container = host.container("c1");
    let before = state::of(host);
    for config in chain.plugins() {
        answer::silent(chain.call(Side::Ours, "STATUS", "", None, &config).run());
    }
    let result = chain.add(Side::Ours, &container);
    for run in chain.check(Side::Ours, &container, &result) {
        answer::silent(run);
    }
    for gateway in ["10.60.0.1", "fd00:60::1"] {
        assert!(container.can_reach(gateway.parse().expect("an address"), Duration::from_secs(5)));
    }
    for _ in 0..2 {
        chain.del(Side::Ours, "c1", Some(&container), Some(&result));
        state::assert_back(&before, host);
    }
}

#[test]
fn every_verb_with_each_backend() {
    for backend in BACKENDS {
        every_verb_works(&Host::new(), &Chain::new(backend, 1));
    }
}

#[test]
fn every_verb_with_legacy_iptables() {
    let host = Host::new();
    let chain = Chain {
        path: Some(legacy_iptables(&host)),
        ..Chain::new("iptables", 1)
    };
    every_verb_works(&host, &chain);
    // The rules are in the legacy tables, and only there.
    let saved = host.command(&["iptables-legacy-save", "-t", "nat"]);
    assert!(saved.contains(":CNI-HOSTPORT-DNAT"), "{saved}");
    assert!(host.command(&["nft", "list", "tables"]).is_empty());
}

/// iptables limits comments to 255 bytes.
#[test]
fn a_container_id_may_have_300_characters() {
    let host = Host::new();
    let legacy = Chain {
        path: Some(legacy_iptables(&host)),
        ..Chain::new("iptables", 1)
    };
    let id = "c".repeat(300);
    for mut chain in [legacy, Chain::new("iptables", 1)] {
        chain.filters_only = true;
        chain.warm_up(&host);
        let before = state::of(&host);
        let container = host.container("c1");
        let result = chain.add_as(Side::Ours, &id, &container);
        for mut config in chain.plugins() {
            config["prevResult"] = result.clone();
            let check = chain.call(Side::Ours, "CHECK", &id, Some(&container), &config);
            answer::silent(check.run());
        }
        chain.del(Side::Ours, &id, Some(&container), Some(&result));
        drop(container);
        state::assert_back(&before, &host);

        let container = host.container("c1");
        chain.add_as(Side::Ours, &id, &container);
        drop(container);
        chain.collect_all();
        state::assert_back(&before, &host);
    }
}

/// If `iptables` is switched to the other variant after ADD, DEL and GC still delete the rules.
#[test]
fn the_iptables_variant_changes_after_add() {
    let host = Host::new();
    let legacy = Chain {
        path: Some(legacy_iptables(&host)),
        ..Chain::new("iptables", 1)
    };
    let nft = Chain::new("iptables", 1);
    legacy.warm_up(&host);
    nft.warm_up(&host);
    let before = state::of(&host);
    for (added_by, deleted_by) in [(&legacy, &nft), (&nft, &legacy)] {
        let container = host.container("c1");
        let result = added_by.add(Side::Ours, &container);
        deleted_by.del(Side::Ours, "c1", Some(&container), Some(&result));
        drop(container);
        state::assert_back(&before, &host);

        let container = host.container("c1");
        let result = added_by.add(Side::Ours, &container);
        drop(container);
        deleted_by.del(Side::Ours, "c1", None, Some(&result));
        state::assert_back(&before, &host);

        let container = host.container("c2");
        added_by.add(Side::Ours, &container);
        drop(container);
        deleted_by.collect_all();
        state::assert_back(&before, &host);
    }
}

/// Replies leave through the second interface if the request arrived there, and DEL restores the previous state.
#[test]
fn a_second_interface_has_its_own_routes() {
    for backend in BACKENDS {
        let host = Host::new();
        let first = Chain::new(backend, 1);
        let second = Chain {
            second: true,
            ..Chain::new(backend, 1)
        };
        first.warm_up(&host);
        second.warm_up(&host);
        let container = host.container("c1");
        let before = state::of(&host);
        let of_first = first.add(Side::Ours, &container);
        let with_one = state::of(&host);
        let of_second = second.add(Side::Ours, &container);
        for run in first.check(Side::Ours, &container, &of_first) {
            answer::silent(run);
        }
        for run in second.check(Side::Ours, &container, &of_second) {
            answer::silent(run);
        }
        // Replies from an address of the second interface must leave through that interface.
        for ip in of_second["ips"].as_array().unwrap() {
            let address = ip["address"].as_str().unwrap().split('/').next().unwrap();
            let route =
                container.command(&["ip", "route", "get", outside(address), "from", address]);
            assert!(route.contains("dev net1"), "{route}");
            assert!(host.can_reach(address.parse().unwrap(), Duration::from_secs(5)));
        }
        second.del(Side::Ours, "c1", Some(&container), Some(&of_second));
        state::assert_back(&with_one, &host);
        first.del(Side::Ours, "c1", Some(&container), Some(&of_first));
        state::assert_back(&before, &host);
    }
}

/// An address of the same family outside of both networks.
fn outside(address: &str) -> &'static str {
    if address.contains(':') {
        "2001:db8::1"
    } else {
        "198.51.100.1"
    }
}

/// DEL without `CNI_NETNS` and `prevResult` cleans up, as after a reboot of the node.
#[test]
fn del_cleans_up_when_the_container_is_gone() {
    for backend in BACKENDS {
        let host = Host::new();
        let chain = Chain::new(backend, 1);
        chain.warm_up(&host);
        let before = state::of(&host);
        let container = host.container("c1");
        chain.add(Side::Ours, &container);
        drop(container);
        chain.del(Side::Ours, "c1", None, None);
        state::assert_back(&before, &host);
    }
}

/// GC deletes the attachments of containers that ended without DEL, and keeps valid ones.
#[test]
fn gc_deletes_stale_attachments() {
    for backend in BACKENDS {
        let host = Host::new();
        let chain = |number| Chain::new(backend, number);
        chain(1).warm_up(&host);
        let valid = host.container("valid");
        let result = chain(1).add(Side::Ours, &valid);
        let before = state::of(&host);
        for number in 2..5 {
            let stale = host.container(&format!("stale{number}"));
            chain(number).add(Side::Ours, &stale);
        }
        for _ in 0..2 {
            for mut config in chain(1).plugins() {
                config["cni.dev/valid-attachments"] =
                    json!([{"containerID": "valid", "ifname": "eth0"}]);
                answer::silent(chain(1).call(Side::Ours, "GC", "", None, &config).run());
            }
            state::assert_back(&before, &host);
        }
        for run in chain(1).check(Side::Ours, &valid, &result) {
            answer::silent(run);
        }
    }
}

/// The peer checks and deletes what we added, and the other way round.
#[test]
fn attachments_are_interchangeable_with_the_peer() {
    for (adder, other) in [(Side::Ours, Side::Peer), (Side::Peer, Side::Ours)] {
        let host = Host::new();
        // The peer has neither version 1.1.0 nor the nftables backend.
        let chain = Chain {
            version: "1.0.0",
            ..Chain::new("iptables", 1)
        };
        chain.warm_up(&host);
        let first = host.container("peers-first");
        let result = chain.add(Side::Peer, &first);
        chain.del(Side::Peer, "peers-first", Some(&first), Some(&result));
        drop(first);
        let container = host.container("c1");
        let before = state::of(&host).without("/run/cni/");
        let result = chain.add(adder, &container);
        state::wait_for_addresses(&host);
        let checks = chain.check(other, &container, &result).into_iter();
        checks.for_each(|run| drop(answer::silent(run)));
        chain.del(other, "c1", Some(&container), Some(&result));
        // The peer leaves our records. They are verified before use, so that a stale one does no harm.
        before.assert_same(&state::of(&host).without("/run/cni/"));
    }
}

const MANY: usize = 30;

/// StopOnDrop the other program, also when the test fails.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Adds and deletes rules of another program.
fn rewrite() {
    const ROUND: &str = "iptables -w -t nat -A POSTROUTING -s 192.0.2.1 -j ACCEPT \
                         && iptables -w -A FORWARD -s 192.0.2.1 -j ACCEPT \
                         && iptables -w -t nat -D POSTROUTING -s 192.0.2.1 -j ACCEPT \
                         && iptables -w -D FORWARD -s 192.0.2.1 -j ACCEPT \
                         && nft 'flush chain ip mine c; add rule ip mine c counter; add rule ip mine c accept'";
    let done = Command::new("sh").args(["-c", ROUND]).output();
    let done = done.expect("sh runs");
    let stderr = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "the other program: {stderr}");
}

/// Thirty containers are attached and detached at once while another program changes its own rules.
#[test]
fn thirty_containers_at_once_beside_another_program() {
    for backend in BACKENDS {
        let host = Host::new();
        host.command(&["nft", "add table ip mine; add chain ip mine c"]);
        // The base chains that iptables creates with its first rule stay.
        rewrite();
        Chain::new(backend, 99).warm_up(&host);
        let containers: Vec<Container> = (0..MANY)
            .map(|number| host.container(&format!("c{number}")))
            .collect();
        let before = state::of(&host);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let _stop = StopOnDrop(&stop);
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    rewrite();
                }
            });
            let results = add_all(backend, &containers);
            let of = |verb: &'static str, backwards: bool| {
                let count = Chain::new(backend, 0).plugins().len();
                for step in 0..count {
                    let index = if backwards { count - 1 - step } else { step };
                    let calls = containers.iter().enumerate().map(|(number, container)| {
                        let chain = Chain::new(backend, number);
                        let mut config = chain.plugins().swap_remove(index);
                        config["prevResult"] = results[number].clone();
                        chain.call(Side::Ours, verb, container.id(), Some(container), &config)
                    });
                    for run in run_all(calls) {
                        answer::silent(run);
                    }
                }
            };
            of("CHECK", false);
            of("DEL", true);
        });
        state::assert_back(&before, &host);
    }
}

/// Runs ADD plugin by plugin, for all containers at once. Returns the results.
#[track_caller]
fn add_all(backend: &'static str, containers: &[Container]) -> Vec<Value> {
    let mut results = vec![Value::Null; containers.len()];
    for index in 0..Chain::new(backend, 0).plugins().len() {
        let calls = containers.iter().enumerate().map(|(number, container)| {
            let chain = Chain::new(backend, number);
            let mut config = chain.plugins().swap_remove(index);
            if index > 0 {
                config["prevResult"] = results[number].clone();
            }
            chain.call(Side::Ours, "ADD", container.id(), Some(container), &config)
        });
        let calls: Vec<Invocation> = calls.collect();
        for (number, run) in run_all(calls).into_iter().enumerate() {
            results[number] = run.expect_ok().json();
        }
    }
    results
}
