//! DEL: repeated, before ADD, after the namespace, and of one attachment among others.

use std::fs;

use serde_json::json;
use testkit::{Container, Node, Run, Snapshot};

use crate::demand;
use crate::rig::{Attached, Pod, Rig};
use crate::rule::{Only, Rule, must, runtime, should};
use crate::subject::Class;

const DEL: &str = "spec 2: DEL";
const IDEMPOTENT: &str = "what is gone has been deleted: succeed, and go on with the rest";
const MAIN: &[Only] = &[Only::Classes(&[Class::Main])];
const TWO: &[Only] = &[Only::Two];

pub(crate) const RULES: &[Rule] = &[
    must(
        "del.restores",
        DEL,
        "DEL restores the state before ADD",
        restores,
    ),
    must("del.twice", DEL, "A second DEL succeeds", twice).advice(IDEMPOTENT),
    must(
        "del.twice-changes-nothing",
        DEL,
        "A second DEL changes nothing",
        twice_changes_nothing,
    ),
    must(
        "del.before-add",
        DEL,
        "DEL of an attachment that never was succeeds",
        before_add,
    )
    .advice(IDEMPOTENT),
    should(
        "del.before-add-creates-nothing",
        DEL,
        "DEL of an attachment that never was creates nothing",
        before_add_creates_nothing,
    ),
    must(
        "del.after-failed-add",
        DEL,
        "DEL after an ADD that failed succeeds",
        after_failed_add,
    )
    .only(&[Only::Netns])
    .advice(IDEMPOTENT),
    should(
        "del.after-failed-add-restores",
        DEL,
        "DEL after an ADD that failed leaves nothing",
        after_failed_add_restores,
    )
    .only(&[Only::Netns]),
    must(
        "del.without-netns",
        DEL,
        "DEL without CNI_NETNS succeeds",
        without_netns,
    )
    .advice(IDEMPOTENT),
    must(
        "del.empty-netns",
        DEL,
        "DEL with an empty CNI_NETNS succeeds",
        empty_netns,
    )
    .advice(IDEMPOTENT),
    must(
        "del.namespace-gone",
        DEL,
        "DEL succeeds if there is nothing at CNI_NETNS any more",
        namespace_gone,
    )
    .advice(IDEMPOTENT),
    must(
        "del.namespace-gone-cleans-up",
        DEL,
        "DEL cleans up on the host if the namespace is gone",
        namespace_gone_cleans_up,
    )
    .advice(IDEMPOTENT),
    must(
        "del.without-netns-cleans-up",
        DEL,
        "DEL cleans up on the host without CNI_NETNS",
        without_netns_cleans_up,
    )
    .advice(IDEMPOTENT),
    runtime(
        "del.namespace-is-file",
        "containerd, CRI-O: after a reboot",
        "DEL succeeds if CNI_NETNS is a plain file, as an unmounted namespace leaves it",
        namespace_is_file,
    )
    .advice("the runtime's files outlive a reboot, and the mounts do not: the namespace is gone"),
    must(
        "del.interface-gone",
        DEL,
        "DEL succeeds if the container's interface is gone",
        interface_gone,
    )
    .only(MAIN)
    .advice(IDEMPOTENT),
    must(
        "del.interface-gone-cleans-up",
        DEL,
        "DEL cleans up on the host if the container's interface is gone",
        interface_gone_cleans_up,
    )
    .only(&[
        Only::Classes(&[Class::Main]),
        Only::Except(&["loopback", "host-device"]),
    ])
    .advice(IDEMPOTENT),
    must(
        "del.other-container",
        DEL,
        "DEL of one container leaves others alone",
        other_container,
    )
    .only(TWO),
    must(
        "del.other-interface",
        DEL,
        "DEL of another interface leaves the attachment alone",
        other_interface,
    )
    .only(&[
        Only::Classes(&[Class::Main, Class::Chained]),
        Only::Except(&["loopback"]),
    ]),
    must(
        "del.other-network",
        DEL,
        "DEL in another network leaves the reservations and rules of the attachment alone",
        other_network,
    )
    .only(&[Only::Plugins(&["host-local", "static"])]),
    runtime(
        "del.prefix-of-id",
        "runtimes: any IDs",
        "DEL of container c1 leaves c10 alone",
        prefix_of_id,
    )
    .only(TWO),
    must(
        "del.one-of-two-interfaces",
        DEL,
        "DEL of one interface leaves another of the same container alone",
        one_of_two_interfaces,
    )
    .only(&[
        Only::Classes(&[Class::Main]),
        Only::Except(&["loopback", "ptp"]),
        Only::Two,
    ]),
    runtime(
        "del.other-keys",
        "libcni: configuration in the cache",
        "DEL succeeds with keys that ADD did not have",
        other_keys,
    ),
];

/// Attaches a container after another, so that what outlives an attachment exists. Returns the state before, too.
#[track_caller]
fn attached_later(rig: &Rig) -> (Snapshot, Pod, Run) {
    rig.warmed_up();
    let pod = rig.pod("c1");
    let before = rig.state();
    let added = super::call(rig, "ADD", &pod).run();
    demand::result(&added);
    (before, pod, added)
}

fn restores(rig: &Rig) {
    let (before, pod, added) = attached_later(rig);
    demand::success(rig.del(&pod.container, &added.with_prev()));
    rig.assert_back(&before);
}

fn twice(rig: &Rig) {
    let attached = rig.attach("c1");
    for _ in 0..3 {
        demand::success(rig.del(attached.container(), &attached.with_prev()));
    }
}

fn twice_changes_nothing(rig: &Rig) {
    let (before, pod, added) = attached_later(rig);
    for _ in 0..2 {
        rig.del(&pod.container, &added.with_prev());
        rig.assert_back(&before);
    }
}

fn before_add(rig: &Rig) {
    let pod = rig.pod("c1");
    demand::success(super::call(rig, "DEL", &pod).run());
}

fn before_add_creates_nothing(rig: &Rig) {
    let pod = rig.pod("c1");
    let before = rig.state();
    // Whether it succeeds is another rule.
    super::call(rig, "DEL", &pod).run();
    before.assert_same(&rig.state());
}

fn fail(rig: &Rig, pod: &Pod) {
    let path = rig.host.dir().join("missing");
    demand::error(super::call(rig, "ADD", pod).netns(path).run());
}

fn after_failed_add(rig: &Rig) {
    let pod = rig.pod("c1");
    fail(rig, &pod);
    demand::success(super::call(rig, "DEL", &pod).run());
}

fn after_failed_add_restores(rig: &Rig) {
    rig.warmed_up();
    let pod = rig.pod("c1");
    let before = rig.state();
    fail(rig, &pod);
    demand::success(super::call(rig, "DEL", &pod).run());
    rig.assert_back(&before);
}

fn without_netns(rig: &Rig) {
    let attached = rig.attach("c1");
    let del = rig.call("DEL", attached.container(), &attached.with_prev());
    demand::success(del.without_env("CNI_NETNS").run());
}

fn empty_netns(rig: &Rig) {
    let attached = rig.attach("c1");
    let del = rig.call("DEL", attached.container(), &attached.with_prev());
    demand::success(del.netns("").run());
}

fn namespace_gone(rig: &Rig) {
    let attached = rig.attach("c1");
    let del = rig.call("DEL", attached.container(), &attached.with_prev());
    drop(attached);
    demand::success(del.run());
}

/// The namespace ends, then DEL comes, with its path or without.
#[track_caller]
fn cleans_up(rig: &Rig, has_netns: bool) {
    let before = rig.warmed_up();
    let attached = rig.attach("c1");
    let mut del = rig.call("DEL", attached.container(), &attached.with_prev());
    if !has_netns {
        del = del.without_env("CNI_NETNS");
    }
    drop(attached);
    demand::success(del.run());
    rig.assert_back(&before);
}

fn namespace_gone_cleans_up(rig: &Rig) {
    cleans_up(rig, true);
}

fn without_netns_cleans_up(rig: &Rig) {
    cleans_up(rig, false);
}

fn namespace_is_file(rig: &Rig) {
    let attached = rig.attach("c1");
    let del = rig.call("DEL", attached.container(), &attached.with_prev());
    let path = attached.container().netns().to_path_buf();
    drop(attached);
    fs::write(&path, b"").unwrap_or_else(|err| panic!("write {}: {err}", path.display()));
    demand::success(del.run());
}

/// Deletes the container's interface behind the plugin's back.
fn delete_interface(rig: &Rig, container: &Container) {
    let name = &rig.subject.if_name;
    match name.as_str() {
        "lo" => container.ip("link set lo down"),
        _ => container.ip(&format!("link del {name}")),
    };
}

fn interface_gone(rig: &Rig) {
    let attached = rig.attach("c1");
    delete_interface(rig, attached.container());
    demand::success(rig.del(attached.container(), &attached.with_prev()));
}

fn interface_gone_cleans_up(rig: &Rig) {
    let (before, pod, added) = attached_later(rig);
    delete_interface(rig, &pod.container);
    demand::success(rig.del(&pod.container, &added.with_prev()));
    rig.assert_back(&before);
}

fn other_container(rig: &Rig) {
    let attached = rig.attach("c1");
    let pod = rig.pod("c2");
    let before = rig.state();
    let added = super::call(rig, "ADD", &pod).run();
    demand::result(&added);
    demand::success(rig.del(&pod.container, &added.with_prev()));
    rig.assert_back(&before);
    is_intact(rig, &attached);
}

/// Demands that CHECK of an attachment succeeds, if there is CHECK.
#[track_caller]
fn is_intact(rig: &Rig, attached: &Attached) {
    if rig.versions_from("0.4.0").next().is_some() {
        demand::success(rig.check(attached.container(), &attached.with_prev()));
    }
}

fn other_interface(rig: &Rig) {
    let attached = rig.attach("c1");
    let before = rig.state();
    let del = rig.call("DEL", attached.container(), &attached.with_prev());
    demand::success(del.ifname("other0").run());
    before.assert_same(&rig.state());
}

fn other_network(rig: &Rig) {
    let attached = rig.attach("c1");
    let own = || rig.state().without("/networks/other");
    let before = own();
    let mut config = attached.with_prev();
    config["name"] = json!("other");
    demand::success(rig.del(attached.container(), &config));
    before.assert_same(&own());
}

fn prefix_of_id(rig: &Rig) {
    let (short, long) = (rig.attach("c1"), rig.attach("c10"));
    demand::success(rig.del(short.container(), &short.with_prev()));
    is_intact(rig, &long);
}

fn one_of_two_interfaces(rig: &Rig) {
    let attached = rig.attach("c1");
    let second = rig
        .call("ADD", attached.container(), &attached.config)
        .ifname("net1")
        .run();
    demand::result(&second);
    let del = rig.call("DEL", attached.container(), &second.with_prev());
    demand::success(del.ifname("net1").run());
    let names = attached.container().link_names();
    assert!(
        !names.iter().any(|name| name == "net1"),
        "net1 is still there: {names:?}"
    );
    is_intact(rig, &attached);
}

fn other_keys(rig: &Rig) {
    let attached = rig.attach("c1");
    let mut config = attached.with_prev();
    config["com.example/added"] = json!({"a": 1});
    config["dns"] = json!({"nameservers": ["192.0.2.53"]});
    demand::success(rig.del(attached.container(), &config));
}
