//! What the tests share: configurations, calls, and an IPAM plugin that says what
//! it is told to.

use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::{Duration, Instant};
use testkit::{Container, Host, Invocation, Node, Plugin, Run, Snapshot, bin_dir};

pub(crate) use testkit::state;

/// The network `net` on bridge `cni0` with an IPv4 and an IPv6 range of host-local,
/// with the keys of `extra` added or replaced.
pub(crate) fn dual(extra: Value) -> Value {
    with_ranges(
        json!([[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]]),
        extra,
    )
}

/// The same with IPv4 only.
pub(crate) fn ipv4(extra: Value) -> Value {
    with_ranges(json!([[{"subnet": "10.1.0.0/24"}]]), extra)
}

/// The same with IPv6 only.
pub(crate) fn ipv6(extra: Value) -> Value {
    with_ranges(json!([[{"subnet": "fd00:1::/64"}]]), extra)
}

/// The same without IPAM.
pub(crate) fn layer2(extra: Value) -> Value {
    merge(
        json!({"cniVersion": "1.1.0", "name": "net", "type": "bridge"}),
        extra,
    )
}

fn with_ranges(ranges: Value, extra: Value) -> Value {
    let base = layer2(json!({"ipam": {"type": "host-local", "ranges": ranges}}));
    merge(base, extra)
}

pub(crate) fn merge(mut base: Value, extra: Value) -> Value {
    for (key, value) in extra.as_object().expect("an object of keys to add") {
        base[key] = value.clone();
    }
    base
}

/// The plugin under test.
pub(crate) fn bridge() -> Plugin {
    Plugin::new("bridge")
}

/// A call that finds scripted IPAM plugins beside the real ones.
pub(crate) fn call(host: &Host, verb: &str) -> Invocation {
    let path = format!("{}:{}", host.dir().display(), bin_dir().display());
    bridge().command(verb).path(path)
}

/// ADD of `eth0`, finding scripted IPAM plugins too.
#[track_caller]
pub(crate) fn add(host: &Host, container: &Container, config: &Value) -> Run {
    call(host, "ADD").container(container).config(config).run()
}

/// Writes an IPAM plugin `name` whose ADD runs the shell commands `on_add`. Its calls
/// are written down, see [`ipam_calls`], and the last standard input in `name.stdin`.
pub(crate) fn script_ipam(host: &Host, name: &str, on_add: &str) {
    let log = host.dir().join(format!("{name}.calls"));
    let script = format!(
        "#!/bin/sh\ncat > \"$0.stdin\"\necho \"$CNI_COMMAND\" >> {}\n\
         if [ \"$CNI_COMMAND\" = ADD ]; then\n:\n{on_add}\nfi\n",
        log.display()
    );
    let path = host.write(name, script);
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The same for one that prints `result`.
pub(crate) fn script_result(host: &Host, name: &str, result: &Value) {
    script_ipam(host, name, &format!("cat <<'EOF'\n{result}\nEOF"));
}

/// The verbs a scripted IPAM plugin was called with, in order.
pub(crate) fn ipam_calls(host: &Host, name: &str) -> Vec<String> {
    let log = fs::read_to_string(host.dir().join(format!("{name}.calls"))).unwrap_or_default();
    log.lines().map(String::from).collect()
}

/// The addresses that host-local has handed out.
pub(crate) fn leases() -> Vec<String> {
    testkit::leases("net")
}

/// The name of the host's end: the interface of a result that is neither the bridge
/// nor in a container.
#[track_caller]
pub(crate) fn host_end(run: &Run) -> String {
    let result = run.json();
    let name = result["interfaces"][1]["name"]
        .as_str()
        .expect("a second interface");
    assert!(result["interfaces"][1]["sandbox"].is_null(), "{result}");
    name.to_owned()
}

/// One attribute of a link, as `ip -json -details link` tells it.
#[track_caller]
pub(crate) fn attribute(node: &impl Node, link: &str, pointer: &str) -> Value {
    let link = node
        .link(link)
        .unwrap_or_else(|| panic!("no link {link} on {}", node.label()));
    link.pointer(pointer).cloned().unwrap_or_default()
}

/// Whether a link has a flag such as `UP` or `PROMISC`.
#[track_caller]
pub(crate) fn has_flag(node: &impl Node, link: &str, flag: &str) -> bool {
    let flags = attribute(node, link, "/flags");
    flags
        .as_array()
        .is_some_and(|flags| flags.iter().any(|f| f == flag))
}

/// A veth pair of the host's own, to stand in for any interface that is no bridge.
pub(crate) fn make_veth(host: &Host, name: &str, peer: &str) {
    host.command(&[
        "ip", "link", "add", name, "type", "veth", "peer", "name", peer,
    ]);
}

/// A host that has seen the network before: host-local's directory is there, and
/// nothing else.
pub(crate) fn used_host(config: &Value) -> Host {
    let host = Host::new();
    let container = host.container("before");
    add(&host, &container, config).expect_ok();
    bridge().del(&container, config).expect_ok();
    host.command(&["ip", "link", "del", "cni0"]);
    host
}

/// Gives a link an address, and waits until the kernel is through with it.
#[track_caller]
pub(crate) fn give_address(node: &impl Node, address: &str, link: &str) {
    node.command(&["ip", "addr", "add", address, "dev", link, "nodad"]);
    let bare = address.split('/').next().unwrap_or_default();
    let family = if bare.contains(':') { "-6" } else { "-4" };
    let local = || node.command(&["ip", family, "route", "show", "table", "local", bare]);
    wait_until("the local route is there", || !local().is_empty());
}

/// How long the kernel may take with what it does in the background. On a machine that
/// runs many tests at once it takes seconds now and then.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until `holds`; `what` it is that should come true.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Demands that the host is as it was `before`, or will be as soon as the kernel has
/// worked off what it does in the background.
#[track_caller]
pub(crate) fn assert_restored(host: &Host, before: &Snapshot, what: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let diff = before.diff(&state(host));
        if diff.is_empty() {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{what}: the state has changed\n{diff}"
        );
        thread::sleep(Duration::from_millis(5));
    }
}

/// The VLANs of a bridge port as `bridge vlan` tells them, ranges written out, each
/// with `p` if it is the port's VLAN ID and `u` if its frames leave untagged.
#[track_caller]
pub(crate) fn vlans_of(host: &Host, port: &str) -> Vec<(u64, &'static str)> {
    let text = host.command(&["bridge", "-json", "vlan", "show", "dev", port]);
    let ports: Value = serde_json::from_str(&text).unwrap_or_default();
    let mut vlans = Vec::new();
    for vlan in ports[0]["vlans"].as_array().into_iter().flatten() {
        let flags = vlan["flags"].as_array().cloned().unwrap_or_default();
        let has = |flag: &str| flags.iter().any(|f| f == flag);
        let flags = match (has("PVID"), has("Egress Untagged")) {
            (true, true) => "pu",
            (true, false) => "p",
            (false, true) => "u",
            (false, false) => "",
        };
        let first = vlan["vlan"].as_u64().expect("an ID");
        let last = vlan["vlanEnd"].as_u64().unwrap_or(first);
        vlans.extend((first..=last).map(|id| (id, flags)));
    }
    vlans
}

/// The network `net` in one VLAN, with addresses of both families that differ from
/// VLAN to VLAN.
pub(crate) fn in_vlan(vlan: u16, extra: Value) -> Value {
    let third = vlan % 250;
    let ranges = json!([
        [{"subnet": format!("10.1.{third}.0/24")}], [{"subnet": format!("fd00:{vlan}::/64")}],
    ]);
    let name = format!("net{vlan}");
    let base = with_ranges(ranges, json!({"name": name, "vlan": vlan}));
    merge(base, extra)
}

/// Runs a command line of words without blanks in them.
#[track_caller]
pub(crate) fn run_on(node: &impl Node, line: &str) -> String {
    node.command(&line.split(' ').collect::<Vec<_>>())
}
