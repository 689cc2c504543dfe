//! Configurations, calls and comparisons that the tests share.

use serde_json::{Value, json};
use std::thread;
use std::time::{Duration, Instant};
use testkit::{Container, Host, Node, Plugin, Run, SCRIPTED, ScriptedIpam, Snapshot, state};

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

/// The network `net` with a [`ScriptedIpam`].
pub(crate) fn scripted(extra: Value) -> Value {
    merge(layer2(json!({"ipam": {"type": SCRIPTED}})), extra)
}

/// `base` with the keys of `extra` added or replaced. Unlike with [`testkit::merge`], null
/// stays as the value of its key.
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

/// A scripted IPAM plugin whose ADD hands out `ips`.
#[track_caller]
pub(crate) fn handing_out(host: &Host, ips: Value) -> ScriptedIpam<'_> {
    ScriptedIpam::answering(host, &json!({"cniVersion": "1.1.0", "ips": ips}))
}

/// Runs `verb` for `eth0` of the container with a scripted IPAM plugin.
#[track_caller]
pub(crate) fn call(
    ipam: &ScriptedIpam<'_>,
    verb: &str,
    container: &Container,
    config: &Value,
) -> Run {
    let call = ipam.command(&bridge(), verb).container(container);
    call.config(config).run()
}

/// ADD and CHECK of `config` for `eth0` of a new container. Returns it and the ADD.
#[track_caller]
pub(crate) fn attached(host: &Host, name: &str, config: &Value) -> (Container, Run) {
    let container = host.container(name);
    let run = bridge().add(&container, config).expect_ok();
    bridge().check(&container, &run.with_prev()).expect_ok();
    (container, run)
}

/// Returns the name of the host's end, the second interface of a result.
#[track_caller]
pub(crate) fn host_end(run: &Run) -> String {
    let result = run.json();
    let name = result["interfaces"][1]["name"]
        .as_str()
        .expect("a second interface");
    assert!(result["interfaces"][1]["sandbox"].is_null(), "{result}");
    name.to_owned()
}

/// Whether a link has a flag such as `UP` or `PROMISC`.
#[track_caller]
pub(crate) fn has_flag(node: &impl Node, link: &str, flag: &str) -> bool {
    let flags = node.link_attribute(link, "/flags");
    flags
        .as_array()
        .is_some_and(|flags| flags.iter().any(|f| f == flag))
}

/// Whether `to` answers `from`.
pub(crate) fn reaches(from: &Container, to: &str) -> bool {
    from.can_reach(to.parse().expect("an address"), Duration::from_millis(500))
}

/// Creates a veth pair on the host: interfaces that are not bridges.
pub(crate) fn make_veth(host: &Host, name: &str, peer: &str) {
    host.ip(&format!("link add {name} type veth peer name {peer}"));
}

/// A host on which the network was used before. Only host-local's directory is left.
pub(crate) fn used_host(config: &Value) -> Host {
    let host = Host::new();
    let container = host.container("before");
    bridge().add(&container, config).expect_ok();
    bridge().del(&container, config).expect_ok();
    host.ip("link del cni0");
    host
}

/// Adds an address to a link, and waits until the kernel has its local route.
#[track_caller]
pub(crate) fn give_address(node: &impl Node, address: &str, link: &str) {
    node.ip(&format!("addr add {address} dev {link} nodad"));
    let bare = address.split('/').next().unwrap_or_default();
    let family = if bare.contains(':') { "-6" } else { "-4" };
    let local = || node.ip(&format!("{family} route show table local {bare}"));
    wait_until("the local route is there", || !local().is_empty());
}

/// How long the kernel may take for work in the background. On a machine that runs many
/// tests at once this sometimes takes seconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until `holds` returns `true`; `what` names the condition in the failure.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until the host's state is that of `before`: the kernel deletes some objects in
/// the background.
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

/// The VLANs of a bridge port as `bridge vlan` prints them, ranges expanded, each with `p`
/// if it is the port's PVID and `u` if its frames leave untagged.
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

/// The network `net<vlan>` in one VLAN, with subnets of both families of its own.
pub(crate) fn in_vlan(vlan: u16, extra: Value) -> Value {
    let third = vlan % 250;
    let ranges = json!([
        [{"subnet": format!("10.1.{third}.0/24")}], [{"subnet": format!("fd00:{vlan}::/64")}],
    ]);
    let name = format!("net{vlan}");
    let base = with_ranges(ranges, json!({"name": name, "vlan": vlan}));
    merge(base, extra)
}
