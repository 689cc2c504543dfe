//! Setup that the tests share: a container with two interfaces, the second of which is
//! routed by source.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};
use testkit::{Container, Host, Node, Plugin, Snapshot, merge, patience};

/// The plugin under test.
pub(crate) fn sbr() -> Plugin {
    Plugin::new("sbr")
}

/// Runs a command of `ip`.
#[track_caller]
pub(crate) fn ip(node: &impl Node, command: &str) -> String {
    let argv: Vec<&str> = ["ip"].into_iter().chain(command.split(' ')).collect();
    node.command(&argv)
}

/// A host with two routers.
pub(crate) struct Network {
    _routers: Vec<Container>,
    host: Host,
}

impl std::ops::Deref for Network {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

/// A container `c1` with `eth0` to the router `r1` and `net1` to the router `r2`, and a
/// default route via each, that of `net1` first.
pub(crate) fn attached() -> (Network, Container) {
    let host = Host::new();
    let mut routers = Vec::new();
    let container = host.container("c1");
    ip(&container, "link set lo up");
    for (number, name) in [(1, "eth0"), (2, "net1")] {
        let router = host.container(&format!("r{number}"));
        ip(&router, "link set lo up");
        let pair = format!("link add {name} type veth peer name eth0 netns r{number}");
        ip(&container, &pair);
        for (node, name, last) in [(&container, name, "5"), (&router, "eth0", "1")] {
            for command in [
                format!("link set {name} addrgenmode none"),
                format!("addr add 10.{number}.0.{last}/24 dev {name}"),
                format!("addr add fd00:{number}::{last}/64 dev {name} nodad"),
                format!("link set {name} up"),
            ] {
                ip(node, &command);
            }
        }
        for command in [
            format!("route prepend default via 10.{number}.0.1"),
            format!(
                "-6 route add default via fd00:{number}::1 metric {}",
                100 - number
            ),
        ] {
            ip(&container, &command);
        }
        for (node, last) in [(&container, "5"), (&router, "1")] {
            wait_for_local_route(node, &format!("fd00:{number}::{last}"));
        }
        routers.push(router);
    }
    let network = Network {
        _routers: routers,
        host,
    };
    (network, container)
}

/// The kernel adds the local route of an IPv6 address asynchronously
/// (`addrconf_dad_work`).
#[track_caller]
fn wait_for_local_route(node: &Container, address: &str) {
    let deadline = Instant::now() + Duration::from_secs(10) * patience();
    let is_there = || {
        let routes = ip(node, "-6 route show table local");
        routes.contains(&format!("local {address} "))
    };
    while !is_there() {
        assert!(Instant::now() < deadline, "no local route for {address}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The result of the previous plugins for `net1`.
pub(crate) fn prev(version: &str) -> Value {
    json!({
        "cniVersion": version,
        "interfaces": [
            {"name": "net1", "mac": "02:00:00:00:00:99"},
            {"name": "net1", "mac": "02:00:00:00:00:01", "sandbox": "/run/netns/c1"},
        ],
        "ips": [
            {"address": "10.2.0.5/24", "gateway": "10.2.0.1", "interface": 1},
            {"address": "fd00:2::5/64", "gateway": "fd00:2::1", "interface": 1},
            {"address": "10.99.0.1/24", "interface": 0},
        ],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
    })
}

/// A configuration with `prevResult` and the keys of `extra`.
pub(crate) fn config(extra: Value) -> Value {
    let base =
        json!({"cniVersion": "1.1.0", "name": "net", "type": "sbr", "prevResult": prev("1.1.0")});
    merge(base, &extra)
}

/// A call for `net1`.
pub(crate) fn call(
    plugin: &Plugin,
    verb: &str,
    container: &Container,
    config: &Value,
) -> testkit::Run {
    let call = plugin.command(verb).container(container).ifname("net1");
    call.config(config).run()
}

/// ADD, which must succeed without output on standard error. Returns the configuration
/// for later verbs.
#[track_caller]
pub(crate) fn add(container: &Container, extra: Value) -> Value {
    let run = call(&sbr(), "ADD", container, &config(extra)).expect_ok();
    assert_eq!(run.stderr_text(), "");
    run.with_prev()
}

/// DEL, which must succeed without output.
#[track_caller]
pub(crate) fn del(container: &Container, config: &Value) {
    let run = call(&sbr(), "DEL", container, config).expect_ok();
    assert_eq!((run.stdout_text(), run.stderr_text()), Default::default());
}

/// Snapshot, sysctls, and routes and rules in order.
pub(crate) fn state(
    host: &Host,
    container: &Container,
) -> (Snapshot, BTreeMap<String, String>, String) {
    let mut order = String::new();
    for command in ["-d route show table all", "-d rule", "-d -6 rule"] {
        order += &ip(container, command);
    }
    // The order of these is the kernel's.
    for command in ["-d -6 route show table main", "-d -6 route show table 100"] {
        // Unused tables do not exist.
        let argv: Vec<&str> = ["ip"].into_iter().chain(command.split(' ')).collect();
        let text = container.try_command(&argv).unwrap_or_default();
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        order += &lines.join("\n");
    }
    let v4 = order
        .lines()
        .filter(|line| !line.contains("::") || line.contains("from"));
    // The carrier state changes asynchronously.
    let order = v4.collect::<Vec<_>>().join("\n").replace("linkdown ", "");
    (host.snapshot(), container.sysctls(), order)
}

/// Asserts that two states are equal.
#[track_caller]
pub(crate) fn assert_same(
    before: &(Snapshot, BTreeMap<String, String>, String),
    after: &(Snapshot, BTreeMap<String, String>, String),
) {
    before.0.assert_same(&after.0);
    assert_eq!(before.2, after.2);
    assert_eq!(before.1, after.1);
}

/// The routes of a table, sorted, without link-local and multicast ones.
#[track_caller]
pub(crate) fn table(container: &Container, table: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for family in ["-4", "-6"] {
        let argv = ["ip", family, "route", "show", "table", table];
        let text = container.try_command(&argv).unwrap_or_default();
        let lines = text
            .lines()
            .map(|line| line.trim().replace(" pref medium", ""));
        all.extend(
            lines.filter(|line| !line.starts_with("fe80") && !line.starts_with("multicast")),
        );
    }
    all.sort();
    all
}

/// The rules with a source.
#[track_caller]
pub(crate) fn rules(container: &Container) -> Vec<String> {
    let mut all = ip(container, "rule");
    all += &ip(container, "-6 rule");
    let lines = all.lines().map(|line| line.replace('\t', " "));
    lines.filter(|line| !line.contains("from all")).collect()
}
