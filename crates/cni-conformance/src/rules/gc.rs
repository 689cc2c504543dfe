//! GC: what no attachment needs is removed, and nothing else.

use std::fs;

use serde_json::{Value, json};
use testkit::{Node, merge};

use super::support::{
    add_second, applies_if, attach_with, del, del_second, end, keeping, passes, second_network,
};
use crate::demand;
use crate::rig::{Attached, Rig};
use crate::rule::{Only, Rule, must, runtime, should};

const SPEC: &str = "spec 2: GC";
const VALID: &str = "cni.dev/valid-attachments";
const OLD_KEY: &str = "cni.dev/attachments";
const GC: &[Only] = &[Only::Since("1.1.0")];
const TWO: &[Only] = &[Only::Since("1.1.0"), Only::Two];
/// The kernel deletes the virtual device of `host-device` with the namespace.
const ADDED_AGAIN: &[Only] = &[Only::Since("1.1.0"), Only::Except(&["host-device"])];
/// Plugins that leave nothing on the host when the namespace is gone accept any list.
const KEEPS_STATE: &[Only] = &[
    Only::Since("1.1.0"),
    Only::Except(&["loopback", "static", "vrf", "dhcp"]),
];

pub(crate) const RULES: &[Rule] = &[
    should(
        "gc.fresh-host",
        SPEC,
        "GC of a host without attachments succeeds and changes nothing",
        fresh_host,
    )
    .only(GC),
    runtime(
        "gc.without-list",
        "libcni: GC without arguments",
        "GC without a list of valid attachments changes nothing",
        without_list,
    )
    .only(GC),
    must(
        "gc.valid-stays",
        SPEC,
        "Attachments in the list of valid ones stay",
        valid_stays,
    )
    .only(TWO),
    must(
        "gc.order-of-list",
        SPEC,
        "The order of the list does not matter, nor do attachments in it that never existed",
        order_of_list,
    )
    .only(TWO),
    should(
        "gc.stale-goes",
        SPEC,
        "What an attachment left that is not in the list is removed",
        stale_goes,
    )
    .only(TWO),
    should(
        "gc.partial-list",
        SPEC,
        "Of several attachments, those in the list stay and the others go",
        partial_list,
    )
    .only(TWO),
    should(
        "gc.empty-list",
        SPEC,
        "An empty list means that no attachment is valid",
        empty_list,
    )
    .only(GC),
    should(
        "gc.null-list",
        SPEC,
        "A list that is null, as Go writes an empty one, means that no attachment is valid",
        null_list,
    )
    .only(GC),
    should(
        "gc.former-key",
        "spec 1.1.0, first text",
        "cni.dev/attachments counts if the other key is absent",
        first_name,
    )
    .only(GC),
    should(
        "gc.malformed-list",
        SPEC,
        "A list of another form is refused, since a guess could release addresses in use",
        malformed_list,
    )
    .only(KEEPS_STATE),
    should(
        "gc.similar-ids",
        SPEC,
        "Container IDs with a common beginning are told apart",
        similar_ids,
    )
    .only(TWO),
    should(
        "gc.other-interface",
        SPEC,
        "Another interface of a container in the list is stale",
        other_interface,
    )
    .only(&[
        Only::Since("1.1.0"),
        Only::Plugins(&["bridge", "host-local"]),
    ]),
    must(
        "gc.other-network",
        SPEC,
        "Attachments of other networks stay",
        other_network,
    )
    .only(TWO),
    must(
        "gc.unknown-keys",
        SPEC,
        "Unknown keys in the configuration and in the list are ignored",
        unknown_keys,
    )
    .only(GC),
    should(
        "gc.without-capabilities",
        SPEC,
        "GC works without the runtimeConfig of ADD, which runtimes do not pass",
        without_capabilities,
    )
    .only(&[
        Only::Since("1.1.0"),
        Only::Plugins(&["portmap", "bandwidth", "tuning"]),
    ]),
    should(
        "gc.repeated",
        SPEC,
        "GC succeeds again after it has removed everything",
        repeated,
    )
    .only(GC),
    should(
        "gc.living-namespace",
        SPEC,
        "GC removes the host's side of a stale attachment whose namespace lives on",
        living_namespace,
    )
    .only(&[
        Only::Since("1.1.0"),
        Only::Plugins(&["bridge", "ptp", "portmap", "firewall", "host-local"]),
    ]),
    must(
        "gc.late-del",
        "spec 2: DEL",
        "DEL of an attachment that GC has removed succeeds",
        late_del,
    )
    .only(GC),
    should(
        "gc.add-after-gc",
        SPEC,
        "An attachment that GC has removed can be added again",
        add_after,
    )
    .only(ADDED_AGAIN),
    must(
        "gc.foreign-files",
        SPEC,
        "Files that are not the plugin's stay",
        foreign_files,
    )
    .only(&[
        Only::Since("1.1.0"),
        Only::Plugins(&[
            "host-local",
            "bridge",
            "ptp",
            "portmap",
            "firewall",
            "tuning",
            "flannel",
        ]),
    ]),
    must(
        "gc.foreign-links",
        SPEC,
        "Links of others on the host stay, whatever their names",
        foreign_links,
    )
    .only(&[
        Only::Since("1.1.0"),
        Only::Plugins(&["bridge", "ptp", "bandwidth"]),
    ]),
    must(
        "gc.foreign-rules",
        SPEC,
        "Rules of others in packet filters stay",
        foreign_rules,
    )
    .only(&[
        Only::Since("1.1.0"),
        Only::Plugins(&["bridge", "ptp", "portmap", "firewall"]),
    ]),
];

/// GC, which must succeed.
#[track_caller]
fn collect(rig: &Rig, config: &Value) {
    demand::success(rig.plugin.gc(config));
}

fn fresh_host(rig: &Rig) {
    for config in [rig.config(), keeping(rig, &[]), keeping(rig, &["c1"])] {
        rig.unchanged(|| collect(rig, &config));
    }
}

/// GC with this configuration must leave the attachments as they are.
#[track_caller]
fn keeps(rig: &Rig, attached: &[Attached], config: &Value) {
    rig.unchanged(|| collect(rig, config));
    attached.iter().for_each(|attached| passes(rig, attached));
}

fn without_list(rig: &Rig) {
    keeps(rig, &[rig.attach("c1")], &rig.config());
}

/// Two attachments.
fn pair(rig: &Rig) -> [Attached; 2] {
    ["c1", "c2"].map(|id| rig.attach(id))
}

fn valid_stays(rig: &Rig) {
    keeps(rig, &pair(rig), &keeping(rig, &["c1", "c2"]));
}

fn order_of_list(rig: &Rig) {
    keeps(rig, &pair(rig), &keeping(rig, &["c2", "never", "c1", "c2"]));
}

/// An attachment `stays`, and the state of the host before others.
fn one_that_stays(rig: &Rig) -> (Attached, testkit::Snapshot) {
    rig.warmed_up();
    let stays = rig.attach("stays");
    let before = rig.state();
    (stays, before)
}

/// Attaches containers that end without DEL.
fn vanish(rig: &Rig, ids: &[&str]) {
    for id in ids {
        end(rig, rig.attach(id).pod);
    }
}

fn stale_goes(rig: &Rig) {
    let (stays, before) = one_that_stays(rig);
    vanish(rig, &["gone"]);
    collect(rig, &keeping(rig, &["stays"]));
    rig.assert_back(&before);
    passes(rig, &stays);
}

fn partial_list(rig: &Rig) {
    let (stays, _) = one_that_stays(rig);
    let also = rig.attach("also");
    let before = rig.state();
    vanish(rig, &["gone1", "gone2", "gone3"]);
    collect(rig, &keeping(rig, &["also", "stays"]));
    rig.assert_back(&before);
    passes(rig, &stays);
    passes(rig, &also);
}

/// With this configuration, GC removes all attachments.
#[track_caller]
fn removes_all(rig: &Rig, config: &Value) {
    let before = rig.warmed_up();
    vanish(rig, &["gone"]);
    collect(rig, config);
    rig.assert_back(&before);
}

fn empty_list(rig: &Rig) {
    removes_all(rig, &keeping(rig, &[]));
}

fn null_list(rig: &Rig) {
    removes_all(rig, &merge_key(rig, VALID, Value::Null));
}

/// The configuration with a key, which may be `null`.
fn merge_key(rig: &Rig, key: &str, value: Value) -> Value {
    let mut config = rig.config();
    config[key] = value;
    config
}

fn first_name(rig: &Rig) {
    removes_all(rig, &merge_key(rig, OLD_KEY, json!([])));
}

fn malformed_list(rig: &Rig) {
    let attached = rig.attach("c1");
    for list in [
        json!("c1"),
        json!({"containerID": "c1"}),
        json!([7]),
        json!([["c1", "eth0"]]),
    ] {
        let config = merge_key(rig, VALID, list);
        rig.unchanged(|| demand::error(rig.plugin.gc(&config)));
    }
    passes(rig, &attached);
}

fn similar_ids(rig: &Rig) {
    let (stays, before) = one_that_stays(rig);
    vanish(rig, &["stays1", "stay", "Stays"]);
    collect(rig, &keeping(rig, &["stays"]));
    rig.assert_back(&before);
    passes(rig, &stays);
}

fn other_interface(rig: &Rig) {
    let (stays, before) = one_that_stays(rig);
    let second = demand::success(add_second(rig, &stays));
    collect(rig, &keeping(rig, &["stays"]));
    rig.assert_back(&before);
    passes(rig, &stays);
    del_second(rig, &stays, &second);
}

fn other_network(rig: &Rig) {
    rig.warmed_up();
    let stays = attach_with(rig, "stays", &second_network(rig));
    vanish(rig, &["gone"]);
    collect(rig, &keeping(rig, &[]));
    passes(rig, &stays);
    del(rig, &stays);
}

fn unknown_keys(rig: &Rig) {
    let mut config = keeping(rig, &["c1"]);
    config[VALID][0]["netns"] = json!("/run/netns/c1");
    config[VALID][0]["extra"] = json!({"a": null});
    let keys = json!({"vendor.example/key": [1], "cni.dev/unknown": {"b": 2}});
    keeps(rig, &[rig.attach("c1")], &merge(config, &keys));
}

fn without_capabilities(rig: &Rig) {
    let mut config = keeping(rig, &[]);
    applies_if(
        config["runtimeConfig"].is_object(),
        "the configuration has no runtimeConfig",
    );
    config["runtimeConfig"] = Value::Null;
    removes_all(rig, &config);
}

fn repeated(rig: &Rig) {
    removes_all(rig, &keeping(rig, &[]));
    rig.unchanged(|| collect(rig, &keeping(rig, &[])));
}

fn living_namespace(rig: &Rig) {
    let (before, _attached) = rig.attach_later("c1");
    collect(rig, &keeping(rig, &[]));
    let after = rig.state().without_node("c1");
    before.without_node("c1").assert_same(&after);
}

fn late_del(rig: &Rig) {
    let attached = rig.attach("c1");
    collect(rig, &keeping(rig, &[]));
    del(rig, &attached);
}

fn add_after(rig: &Rig) {
    drop(rig.attach("c1"));
    collect(rig, &keeping(rig, &[]));
    let again = rig.attach("c1");
    passes(rig, &again);
    del(rig, &again);
}

fn foreign_files(rig: &Rig) {
    rig.warmed_up();
    let network = rig.config()["name"].as_str().unwrap_or_default().to_owned();
    let mut files = Vec::new();
    for dir in [
        "/run/cni",
        "/var/lib/cni",
        "/var/lib/cni/networks",
        &format!("/var/lib/cni/networks/{network}"),
    ] {
        if fs::metadata(dir).is_ok_and(|found| found.is_dir()) {
            for name in ["notes.txt", ".hidden"] {
                let file = format!("{dir}/{name}");
                fs::write(&file, "c1").unwrap_or_else(|err| panic!("{file}: {err}"));
                files.push(file);
            }
        }
    }
    collect(rig, &keeping(rig, &[]));
    for file in files {
        let text = fs::read_to_string(&file).unwrap_or_else(|err| panic!("{file}: {err}"));
        assert_eq!(text, "c1", "{file}");
    }
}

fn foreign_links(rig: &Rig) {
    rig.warmed_up();
    rig.host.ip_batch(&[
        "link add veth0a1b2c3d type veth peer name vethffffffff",
        "link add bwp000000000000 type bridge",
        "link set bwp000000000000 alias cni:elsewhere/c1/eth0",
    ]);
    rig.unchanged(|| collect(rig, &keeping(rig, &[])));
}

fn foreign_rules(rig: &Rig) {
    rig.warmed_up();
    for (family, address) in [("ip", "10.7.0.2"), ("ip6", "fd00:7::2")] {
        let rules = format!(
            "add table {family} others; add chain {family} others forward {{ type filter hook forward priority 0; }}; \
             add rule {family} others forward {family} saddr {address} counter accept comment \"c1\""
        );
        rig.host.command(&["nft", &rules]);
    }
    rig.unchanged(|| collect(rig, &keeping(rig, &[])));
}
