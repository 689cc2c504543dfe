//! Steps that rules of several groups share.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Container, Invocation, Node, Run, merge};

use crate::demand;
use crate::rig::{Attached, Pod, Rig};
use crate::subject::Class;
use crate::worker::not_applicable;

/// The time within which a packet must get an answer.
pub(super) const SOON: Duration = Duration::from_secs(15);

/// Ends a rule that says nothing about the subject unless `condition` holds.
pub(super) fn applies_if(condition: bool, reason: &str) {
    if !condition {
        not_applicable(reason);
    }
}

/// Attaches a new container with the keys of `extra` in the configuration.
#[track_caller]
pub(super) fn attach_with(rig: &Rig, id: &str, extra: &Value) -> Attached {
    let pod = rig.pod(id);
    let config = merge(pod.config(rig), extra);
    rig.attach_pod(pod, config)
}

/// Ends a container. For a chained plugin, its interface ends first, as by DEL of the plugin that made it: otherwise the
/// kernel deletes it in the background.
pub(super) fn end(rig: &Rig, pod: Pod) {
    if rig.subject.class == Class::Chained {
        // The plugin or the rule may have deleted it.
        let delete = ["ip", "link", "del", &rig.subject.if_name];
        let _ = pod.container.try_command(&delete);
    }
    drop(pod);
}

/// Returns a call for an attachment, with the result of ADD as `prevResult`.
pub(super) fn call(rig: &Rig, verb: &str, attached: &Attached) -> Invocation {
    rig.call(verb, attached.container(), &attached.with_prev())
}

/// ADD and DEL of a new container, each changed by `change`, must succeed.
#[track_caller]
pub(super) fn add_and_del(rig: &Rig, change: impl Fn(Invocation) -> Invocation) {
    let pod = rig.pod("c1");
    let added = change(super::call(rig, "ADD", &pod)).run();
    demand::result(&added);
    let del = rig.call("DEL", &pod.container, &added.with_prev());
    demand::success(change(del).run());
}

/// Runs a script on the host that has the variables of a call, and the path of the plugin in `$PLUGIN`.
pub(super) fn by_shell(rig: &Rig, verb: &str, pod: &Pod, script: &str) -> Result<String, String> {
    let program = rig.plugin.program();
    let dir = program.parent().unwrap_or(Path::new("/"));
    let variables = [
        format!("PLUGIN={}", program.display()),
        format!("CNI_COMMAND={verb}"),
        format!("CNI_CONTAINERID={}", pod.container.id()),
        format!("CNI_NETNS={}", pod.container.netns().display()),
        format!("CNI_IFNAME={}", rig.subject.if_name),
        format!("CNI_PATH={}", dir.display()),
    ];
    let variables = variables.iter().map(String::as_str);
    let argv: Vec<&str> = ["env"]
        .into_iter()
        .chain(variables)
        .chain(["sh", "-c", script])
        .collect();
    rig.host.try_command(&argv)
}

/// CHECK must succeed.
#[track_caller]
pub(super) fn passes(rig: &Rig, attached: &Attached) {
    demand::success(call(rig, "CHECK", attached).run());
}

/// CHECK must succeed, if the plugin has CHECK.
#[track_caller]
pub(super) fn is_intact(rig: &Rig, attached: &Attached) {
    if rig.versions_from("0.4.0").next().is_some() {
        passes(rig, attached);
    }
}

/// CHECK must fail, since `drift`.
#[track_caller]
pub(super) fn fails_since(rig: &Rig, attached: &Attached, drift: &str) {
    let run = call(rig, "CHECK", attached).run();
    assert!(
        !run.is_ok(),
        "CHECK succeeds although {drift}\n{}",
        run.report()
    );
    demand::error(run);
}

/// DEL must succeed.
#[track_caller]
pub(super) fn del(rig: &Rig, attached: &Attached) {
    demand::success(call(rig, "DEL", attached).run());
}

/// The name of a container's second interface.
pub(super) const SECOND: &str = "net1";

/// ADD of the same network with [`SECOND`].
pub(super) fn add_second(rig: &Rig, attached: &Attached) -> Run {
    let call = rig.call("ADD", attached.container(), &attached.config);
    call.ifname(SECOND).run()
}

/// DEL of what [`add_second`] has added, which must succeed.
#[track_caller]
pub(super) fn del_second(rig: &Rig, attached: &Attached, added: &Run) {
    let call = rig.call("DEL", attached.container(), &added.with_prev());
    demand::success(call.ifname(SECOND).run());
}

/// The addresses in a result of version 0.3.0 or later, without prefix length.
pub(super) fn ips(result: &Value) -> Vec<String> {
    let ips = result["ips"].as_array().into_iter().flatten();
    let address = |ip: &Value| Some(ip["address"].as_str()?.split('/').next()?.to_owned());
    ips.filter_map(address).collect()
}

/// The first address of a family (`.` or `:` is in it) with its prefix length. Without one the rule does not apply.
pub(super) fn cidr(attached: &Attached, mark: char) -> String {
    let ips = attached.result["ips"].as_array().into_iter().flatten();
    let mut addresses = ips.filter_map(|ip| ip["address"].as_str());
    match addresses.find(|address| address.contains(mark)) {
        Some(address) => address.to_owned(),
        None => not_applicable(match mark {
            '.' => "the result has no IPv4 address",
            _ => "the result has no IPv6 address",
        }),
    }
}

/// The same without prefix length.
pub(super) fn ip(attached: &Attached, mark: char) -> String {
    let cidr = cidr(attached, mark);
    cidr.split('/').next().unwrap_or_default().to_owned()
}

/// The keys that give containers an address of each family. Plugins without `host-local` in the configuration keep what
/// they have.
pub(super) fn dual_stack(rig: &Rig) -> Value {
    let config = &rig.subject.config;
    if config["ipam"]["type"] != "host-local" {
        return json!({});
    }
    let mut ipam = json!({
        "type": "host-local", "ranges": [[{"subnet": "10.7.0.0/16"}], [{"subnet": "fd00:7::/64"}]],
    });
    // A plugin that adds default routes by itself need not accept them a second time.
    if config["isDefaultGateway"] != true {
        ipam["routes"] = json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]);
    }
    json!({"ipam": ipam})
}

/// The keys of another network: its name, and with `host-local` a subnet of its own.
pub(super) fn second_network(rig: &Rig) -> Value {
    let keys = json!({"name": "other-network"});
    if rig.subject.config["ipam"]["type"] != "host-local" {
        return keys;
    }
    let ipam = json!({"type": "host-local", "ranges": [[{"subnet": "10.6.0.0/16"}]]});
    let bridge = (rig.subject.plugin == "bridge").then_some("cni1");
    merge(keys, &json!({"ipam": ipam, "bridge": bridge}))
}

/// The name of the IPAM plugin. Without one the rule does not apply.
pub(super) fn ipam_type(rig: &Rig) -> &str {
    match rig.subject.config["ipam"]["type"].as_str() {
        Some(name) => name,
        None => not_applicable("the configuration has no ipam"),
    }
}

/// Runs `ip` in the container, with `IF` replaced by the name of the interface.
#[track_caller]
pub(super) fn ip_in(rig: &Rig, attached: &Attached, command: &str) {
    let command = command.replace("IF", &rig.subject.if_name);
    attached.container().ip(&command);
}

/// The name of the host's end of a container's veth pair.
#[track_caller]
pub(super) fn host_end(rig: &Rig, container: &Container) -> String {
    let peer = container.link_attribute(&rig.subject.if_name, "/link_index");
    let links = rig.host.ip_json(&["link", "show"]);
    let mut links = links.as_array().into_iter().flatten();
    let link = links.find(|link| link["ifindex"] == peer);
    let link = link.unwrap_or_else(|| panic!("the host has no link with index {peer}"));
    link["ifname"].as_str().unwrap_or_default().to_owned()
}

/// The configuration of GC for which the attachments of these containers are valid.
pub(super) fn keeping(rig: &Rig, ids: &[&str]) -> Value {
    let name = &rig.subject.if_name;
    let valid = ids
        .iter()
        .map(|id| json!({"containerID": id, "ifname": name}));
    let valid: Vec<Value> = valid.collect();
    merge(rig.config(), &json!({"cni.dev/valid-attachments": valid}))
}

/// `address` must answer the node soon.
#[track_caller]
pub(super) fn reaches(from: &impl Node, address: &str) {
    reaches_within(from, address, SOON);
}

/// The same within `limit`.
#[track_caller]
pub(super) fn reaches_within(from: &impl Node, address: &str, limit: Duration) {
    let target = address
        .parse()
        .unwrap_or_else(|err| panic!("{address}: {err}"));
    let answers = from.can_reach(target, limit * testkit::patience());
    assert!(
        answers,
        "{} does not reach {address}; it has\n{}{}{}",
        from.label(),
        from.command(&["ip", "addr"]),
        from.command(&["ip", "route"]),
        from.command(&["ip", "-6", "route"])
    );
}
