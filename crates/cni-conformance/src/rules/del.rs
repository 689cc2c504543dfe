//! DEL: repeated, before ADD, after the namespace, and of one attachment among others.

use std::fs;

use serde_json::json;
use testkit::{Invocation, Node, merge};

use super::support::{
    SECOND, add_second, applies_if, call, del, del_second, end, ip_in, is_intact,
};
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
        Only::Except(&["loopback"]),
        Only::Two,
    ]),
    runtime(
        "del.other-keys",
        "libcni: configuration in the cache",
        "DEL with keys that ADD did not have deletes everything",
        other_keys,
    ),
];

fn restores(rig: &Rig) {
    let (before, attached) = rig.attach_later("c1");
    del(rig, &attached);
    rig.assert_back(&before);
}

fn twice(rig: &Rig) {
    let attached = rig.attach("c1");
    for _ in 0..3 {
        del(rig, &attached);
    }
}

fn twice_changes_nothing(rig: &Rig) {
    let (before, attached) = rig.attach_later("c1");
    for _ in 0..2 {
        // Whether it succeeds is another rule.
        call(rig, "DEL", &attached).run();
        rig.assert_back(&before);
    }
}

fn before_add(rig: &Rig) {
    let pod = rig.pod("c1");
    demand::success(super::call(rig, "DEL", &pod).run());
}

fn before_add_creates_nothing(rig: &Rig) {
    let pod = rig.pod("c1");
    // Whether it succeeds is another rule.
    rig.unchanged(|| super::call(rig, "DEL", &pod).run());
}

/// ADD that does not find the namespace, and then DEL, which must succeed.
#[track_caller]
fn fail_and_delete(rig: &Rig, pod: &Pod) {
    let path = rig.host.dir().join("missing");
    demand::error(super::call(rig, "ADD", pod).netns(path).run());
    demand::success(super::call(rig, "DEL", pod).run());
}

fn after_failed_add(rig: &Rig) {
    fail_and_delete(rig, &rig.pod("c1"));
}

fn after_failed_add_restores(rig: &Rig) {
    rig.warmed_up();
    let pod = rig.pod("c1");
    let before = rig.state();
    fail_and_delete(rig, &pod);
    rig.assert_back(&before);
}

fn without_netns(rig: &Rig) {
    let attached = rig.attach("c1");
    let del = call(rig, "DEL", &attached).without_env("CNI_NETNS");
    demand::success(del.run());
}

fn empty_netns(rig: &Rig) {
    let attached = rig.attach("c1");
    demand::success(call(rig, "DEL", &attached).netns("").run());
}

fn namespace_gone(rig: &Rig) {
    let attached = rig.attach("c1");
    let del = call(rig, "DEL", &attached);
    drop(attached);
    demand::success(del.run());
}

/// The namespace ends, then DEL comes, changed by `change`.
#[track_caller]
fn cleans_up(rig: &Rig, change: impl FnOnce(Invocation) -> Invocation) {
    let before = rig.warmed_up();
    let attached = rig.attach("c1");
    let del = change(call(rig, "DEL", &attached));
    end(rig, attached.pod);
    demand::success(del.run());
    rig.assert_back(&before);
}

fn namespace_gone_cleans_up(rig: &Rig) {
    cleans_up(rig, |del| del);
}

fn without_netns_cleans_up(rig: &Rig) {
    cleans_up(rig, |del| del.without_env("CNI_NETNS"));
}

fn namespace_is_file(rig: &Rig) {
    let attached = rig.attach("c1");
    let del = call(rig, "DEL", &attached);
    let path = attached.container().netns().to_path_buf();
    drop(attached);
    fs::write(&path, b"").unwrap_or_else(|err| panic!("write {}: {err}", path.display()));
    demand::success(del.run());
}

/// Deletes the container's interface behind the plugin's back, and then the attachment.
#[track_caller]
fn delete_without_interface(rig: &Rig, attached: &Attached) {
    ip_in(
        rig,
        attached,
        match rig.subject.if_name.as_str() {
            "lo" => "link set IF down",
            _ => "link del IF",
        },
    );
    del(rig, attached);
}

fn interface_gone(rig: &Rig) {
    delete_without_interface(rig, &rig.attach("c1"));
}

fn interface_gone_cleans_up(rig: &Rig) {
    let (before, attached) = rig.attach_later("c1");
    delete_without_interface(rig, &attached);
    rig.assert_back(&before);
}

fn other_container(rig: &Rig) {
    let attached = rig.attach("c1");
    let pod = rig.pod("c2");
    let before = rig.state();
    let config = pod.config(rig);
    let other = rig.attach_pod(pod, config);
    del(rig, &other);
    rig.assert_back(&before);
    is_intact(rig, &attached);
}

fn other_interface(rig: &Rig) {
    let attached = rig.attach("c1");
    // There is no result of an interface that was never added.
    let del = rig.call("DEL", attached.container(), &rig.config());
    rig.unchanged(|| demand::success(del.ifname("other0").run()));
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
    del(rig, &short);
    is_intact(rig, &long);
}

fn one_of_two_interfaces(rig: &Rig) {
    let attached = rig.attach("c1");
    let second = add_second(rig, &attached);
    applies_if(
        second.is_ok(),
        "the plugin refuses a second interface of one network",
    );
    del_second(rig, &attached, &second);
    let names = attached.container().link_names();
    assert!(
        !names.iter().any(|name| name == SECOND),
        "{SECOND} is still there: {names:?}"
    );
    is_intact(rig, &attached);
}

fn other_keys(rig: &Rig) {
    let (before, attached) = rig.attach_later("c1");
    let keys = json!({
        "com.example/added": {"a": 1}, "dns": {"nameservers": ["192.0.2.53"]}, "capabilities": null,
    });
    let config = merge(attached.with_prev(), &keys);
    demand::success(rig.del(attached.container(), &config));
    rig.assert_back(&before);
}
