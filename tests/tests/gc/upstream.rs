//! What upstream's binaries leave on the host when they are killed, and what our GC removes of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use blackbox::{answer, state};
use serde_json::{Value, json};
use testkit::{Container, Host, Invocation, Node, Plugin, Running, merge, patience, peer_dir};

use crate::{VALID, ipam};

/// The number of kills, a multiple of the number of plugins.
const KILLS: u32 = 12;

/// Plugins that keep state on the host; the mapping is of the port `port`.
fn plugins(port: u16) -> Vec<Value> {
    let mapping = json!({"hostPort": port, "containerPort": 80, "protocol": "tcp"});
    vec![
        json!({"type": "bridge", "isGateway": true, "ipMasq": true, "macspoofchk": true, "ipam": ipam()}),
        json!({
            "type": "portmap", "capabilities": {"portMappings": true},
            "runtimeConfig": {"portMappings": [mapping]}
        }),
        json!({"type": "firewall", "backend": "iptables"}),
        json!({"type": "bandwidth", "ingressRate": 5_000_000, "ingressBurst": 500_000,
               "egressRate": 5_000_000, "egressBurst": 500_000}),
    ]
}

fn config(plugin: &Value, version: &str) -> Value {
    merge(
        plugin.clone(),
        &json!({"cniVersion": version, "name": "net"}),
    )
}

fn name(plugin: &Value) -> &str {
    plugin["type"].as_str().expect("a type")
}

/// ADD by upstream, which knows the specification up to 1.0.0.
fn add(plugin: &Value, container: &Container, previous: &Value) -> Invocation {
    let config = merge(config(plugin, "1.0.0"), &json!({"prevResult": previous}));
    let call = Plugin::peer(name(plugin)).command("ADD").path(peer_dir());
    call.container(container).config(&config)
}

/// GC by ours. Only these containers are valid.
fn collect(valid: &[&str]) {
    let valid: Vec<Value> = valid
        .iter()
        .map(|id| json!({"containerID": id, "ifname": "eth0"}))
        .collect();
    for plugin in plugins(0) {
        let config = merge(config(&plugin, "1.1.0"), &json!({VALID: valid}));
        answer::silent(Plugin::new(name(&plugin)).gc(&config));
    }
}

/// Kills the plugin and its children after `part` thousandths of `estimate`, which is corrected.
fn kill(mut running: Running, part: u32, estimate: &mut Duration) {
    let start = Instant::now();
    while start.elapsed() < *estimate * part / 1000 && !running.has_ended() {
        thread::sleep(Duration::from_micros(200));
    }
    let group = running.pid().to_string();
    running.kill();
    let run = running.wait();
    // A transaction of `nft` that the kernel has begun goes on.
    let end = Instant::now() + Duration::from_secs(10) * patience();
    while is_running(&group) {
        assert!(
            Instant::now() < end,
            "processes of {group} cannot be killed"
        );
        thread::sleep(Duration::from_millis(1));
    }
    match run.status.code() {
        Some(_) => *estimate = run.elapsed,
        None if part > 700 => *estimate = *estimate * 5 / 4,
        None => {}
    }
}

/// Whether the process group has a process that is no zombie.
fn is_running(group: &str) -> bool {
    let entries = fs::read_dir("/proc").expect("/proc is there").flatten();
    let stats = entries.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    stats
        .filter_map(|stat| stat.rsplit_once(") ").map(|(_, rest)| rest.to_owned()))
        .any(|rest| {
            // State, parent, process group.
            let fields: Vec<&str> = rest.split(' ').take(3).collect();
            matches!(fields[..], [state, _, of] if of == group && state != "Z")
        })
}

/// Rules, chains, links and leases of the host, a line each.
fn objects(host: &Host) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for command in ["iptables-save", "ip6tables-save"] {
        let text = host.command(&[command]);
        let text = text.lines().filter(|line| !line.starts_with('#'));
        lines.extend(text.map(|line| line.split(" [").next().unwrap_or(line).to_owned()));
    }
    let filters = host.try_command(&["nft", "list", "table", "bridge", "nat"]);
    let filters = filters.unwrap_or_default();
    lines.extend(filters.lines().map(|line| line.trim().to_owned()));
    lines.extend(host.link_names().iter().map(|name| format!("link {name}")));
    let leases = state::leases("net");
    lines.extend(leases.iter().map(|(ip, id)| format!("lease {ip} {id}")));
    lines
}

/// Upstream creates the chains of the spoof check before it has an address, and the rules in another transaction. If it
/// is killed in between, nothing tells of which network they are, and they stay.
fn chains_without_network(left: &BTreeSet<String>, container: u32) -> Vec<String> {
    let owner = format!(" c{container}\r\n");
    let port = format!("cni-br-iface-c{container}-eth0");
    let has_address = |line: &String| line.starts_with("lease ") && line.contains(&owner);
    let has_rule = |line: &String| line.contains(&format!("jump {port} "));
    if left.iter().any(|line| has_address(line) || has_rule(line)) {
        return Vec::new();
    }
    let chains = [format!("chain {port} {{"), format!("chain {port}-mac {{")];
    chains
        .into_iter()
        .filter(|chain| left.contains(chain))
        .collect()
}

#[test]
fn gc_collects_what_killed_upstream_plugins_left() {
    let host = Host::new();
    let neighbour = host.container("neighbour");
    let mut result = Value::Null;
    for plugin in plugins(8081) {
        result = answer::result(&add(&plugin, &neighbour, &result).run());
    }
    collect(&["neighbour"]);
    let mut before = objects(&host);
    let plugins = plugins(8080);
    let mut estimates = vec![Duration::from_millis(100); plugins.len()];
    let mut collected = 0;
    for n in 0..KILLS {
        let container = host.container(&format!("c{n}"));
        let victim = n as usize % plugins.len();
        let mut previous = Value::Null;
        for plugin in &plugins[..victim] {
            previous = answer::result(&add(plugin, &container, &previous).run());
        }
        let running = add(&plugins[victim], &container, &previous).start();
        kill(running, n * 618 % 1000, &mut estimates[victim]);
        drop(container);
        let end = Instant::now() + Duration::from_secs(10) * patience();
        // The kernel deletes the links of a namespace in the background.
        while state::veths(&host).len() > 1 {
            assert!(Instant::now() < end, "the veth pair of c{n} is still there");
            thread::sleep(Duration::from_millis(20));
        }
        let left = objects(&host);
        before.extend(chains_without_network(&left, n));
        collect(&["neighbour"]);
        let after = objects(&host);
        collected += left.difference(&after).count();
        let lost: Vec<&String> = before.difference(&after).collect();
        assert!(lost.is_empty(), "GC of c{n} has removed {lost:#?}");
        let kept: Vec<&String> = after.difference(&before).collect();
        assert!(
            kept.is_empty(),
            "c{n}, {}: {kept:#?} are left",
            plugins[victim]
        );
    }
    // Otherwise nothing is shown.
    assert!(collected > 50, "only {collected} objects were collected");
    assert!(
        state::leases("net")
            .values()
            .all(|id| id.starts_with("neighbour"))
    );
    neighbour.ping("10.60.0.1");
}

/// GC has noted whose address it has released; the next GC must not take that for the owner of rules of the next
/// container.
#[test]
fn gc_leaves_a_reused_address_alone() {
    let host = Host::new();
    let attach = |id: &str, port: u16| {
        let container = host.container(id);
        let mut result = Value::Null;
        for plugin in plugins(port) {
            let call =
                add(&plugin, &container, &result).env("CNI_ARGS", "IgnoreUnknown=1;IP=10.60.0.99");
            result = answer::result(&call.run());
        }
        container
    };
    drop(attach("old", 8080));
    collect(&[]);
    let _new = attach("new", 8081);
    let before = objects(&host);
    for _ in 0..4 {
        collect(&["new"]);
        assert_eq!(objects(&host), before);
    }
    // The notes are old enough.
    assert!(!Path::new("/run/cni/released").exists());
}
