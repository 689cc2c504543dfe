//! What is left after a failure, and after many attachments.

use serde_json::{Value, json};
use testkit::{Node, merge};

use super::delegate::{Delegate, GOOD};
use super::delegation::with_bad_route;
use super::support::{applies_if, attach_with, call, del, end, ipam_type};
use crate::demand;
use crate::rig::{Pod, Rig};
use crate::rule::{Only, Rule, must, runtime, should};
use crate::subject::Class;

const ADD: &str = "spec 2: ADD";
const DEL: &str = "spec 2: DEL";
const NODE: &str = "kubelet, containerd";
const ALL: &[Only] = &[Only::Since("0.3.0")];
const MAIN: &[Only] = &[Only::Since("0.3.0"), Only::Classes(&[Class::Main])];
/// `flannel`, like upstream's, keeps its record of a failed ADD until DEL.
const UNDOES: &[Only] = &[
    Only::Since("0.3.0"),
    Only::Classes(&[Class::Main]),
    Only::Except(&["flannel"]),
];

pub(crate) const RULES: &[Rule] = &[
    must(
        "leaks.cycles",
        DEL,
        "After many ADDs and DELs the host is as after the first",
        cycles,
    )
    .only(ALL),
    must(
        "leaks.reservation-after-del",
        DEL,
        "After DEL no address is reserved",
        reservations,
    )
    .only(MAIN),
    should(
        "leaks.failed-delegate",
        ADD,
        "An ADD whose IPAM plugin fails leaves nothing",
        failed_delegate,
    )
    .only(UNDOES),
    should(
        "leaks.dead-delegate",
        ADD,
        "An ADD whose IPAM plugin is killed leaves nothing",
        dead_delegate,
    )
    .only(UNDOES),
    should(
        "leaks.bad-answer",
        ADD,
        "An ADD whose IPAM plugin prints garbage leaves nothing",
        bad_answer,
    )
    .only(UNDOES),
    should(
        "leaks.no-address",
        ADD,
        "An ADD whose IPAM plugin allocates nothing leaves nothing",
        no_address,
    )
    .only(UNDOES),
    should(
        "leaks.missing-delegate",
        ADD,
        "An ADD whose IPAM plugin is missing leaves nothing",
        missing_delegate,
    )
    .only(UNDOES),
    should(
        "leaks.unreachable-gateway",
        ADD,
        "An ADD that fails at a route leaves nothing",
        unreachable_gateway,
    )
    .only(UNDOES),
    should(
        "leaks.exhausted",
        ADD,
        "An ADD that fails since no address is free leaves nothing",
        exhausted,
    )
    .only(&[
        Only::Since("0.3.0"),
        Only::Classes(&[Class::Main, Class::Ipam]),
        Only::Two,
    ]),
    should(
        "leaks.second-range-exhausted",
        ADD,
        "An ADD whose second range is exhausted keeps no address of the first",
        second_range,
    )
    .only(&[
        Only::Since("0.3.0"),
        Only::Classes(&[Class::Main, Class::Ipam]),
        Only::Two,
    ]),
    should(
        "leaks.missing-master",
        ADD,
        "An ADD without the master leaves nothing",
        missing_master,
    )
    .only(&[
        Only::Since("0.3.0"),
        Only::Plugins(&["macvlan", "ipvlan", "vlan"]),
    ]),
    should(
        "leaks.impossible-mtu",
        ADD,
        "An ADD with an MTU that the kernel refuses leaves nothing",
        impossible_mtu,
    )
    .only(&[
        Only::Since("0.3.0"),
        Only::Plugins(&["bridge", "ptp", "macvlan", "vlan", "tuning"]),
    ]),
    should(
        "leaks.invalid-sysctl",
        ADD,
        "An ADD with a sysctl that does not exist leaves nothing",
        invalid_sysctl,
    )
    .only(&[Only::Since("0.3.0"), Only::Plugins(&["tuning"])]),
    must(
        "leaks.del-after-failed-add",
        DEL,
        "DEL after a failed ADD succeeds and leaves nothing",
        del_after_failed,
    )
    .only(MAIN),
    runtime(
        "leaks.add-after-failed-add",
        NODE,
        "The same attachment can be added after a failed ADD and DEL",
        add_after_failed,
    )
    .only(MAIN),
    runtime(
        "leaks.killed-add",
        NODE,
        "After an ADD that was killed at once, DEL leaves nothing",
        killed_add,
    )
    .only(ALL),
    runtime(
        "leaks.killed-del",
        NODE,
        "After a DEL that was killed at once, another DEL leaves nothing",
        killed_del,
    )
    .only(ALL),
    should(
        "leaks.chained-interface-gone",
        ADD,
        "An ADD of a chained plugin whose interface is gone leaves nothing on the host",
        interface_gone,
    )
    .only(&[
        Only::Since("0.3.0"),
        Only::Plugins(&["bandwidth", "sbr", "vrf"]),
    ]),
];

fn cycles(rig: &Rig) {
    let before = rig.warmed_up();
    for number in 0..4 {
        let attached = rig.attach(&format!("c{number}"));
        del(rig, &attached);
        end(rig, attached.pod);
    }
    rig.assert_back(&before);
}

fn reservations(rig: &Rig) {
    applies_if(
        ipam_type(rig) == "host-local",
        "the IPAM plugin is not host-local",
    );
    let attached = rig.attach("c1");
    let network = rig.subject.config["name"].as_str().unwrap_or_default();
    assert!(
        !testkit::leases(network).is_empty(),
        "no reservation after ADD"
    );
    del(rig, &attached);
    assert_eq!(testkit::leases(network), [""; 0], "reservations after DEL");
}

/// An IPAM plugin that runs these commands on ADD, on a host that had an attachment before.
fn delegate<'r>(rig: &'r Rig, commands: &str) -> Delegate<'r> {
    rig.warmed_up();
    Delegate::new(rig, &format!("cat >/dev/null\n{commands}"))
}

fn failed_delegate(rig: &Rig) {
    delegate(rig, r#"echo '{"code":11,"msg":"not now"}'; exit 1"#).undone();
}

fn dead_delegate(rig: &Rig) {
    delegate(rig, "kill -9 $$").undone();
}

fn bad_answer(rig: &Rig) {
    delegate(rig, "echo garbage").undone();
}

fn no_address(rig: &Rig) {
    delegate(rig, r#"echo '{"cniVersion":"1.0.0","ips":[]}'"#).undone();
}

fn missing_delegate(rig: &Rig) {
    let delegate = delegate(rig, "");
    let before = rig.state();
    let config = merge(
        delegate.config(),
        &json!({"ipam": {"type": "no-such-ipam"}}),
    );
    demand::error(delegate.call_with("ADD", &config).run());
    rig.assert_back(&before);
}

fn unreachable_gateway(rig: &Rig) {
    rig.warmed_up();
    let delegate = with_bad_route(rig);
    let before = rig.state();
    let run = delegate.call("ADD").run();
    applies_if(
        !run.is_ok(),
        "the plugin accepts routes through gateways that are not reachable",
    );
    demand::error(run);
    rig.assert_back(&before);
}

/// ADD must fail and leave everything as it is.
#[track_caller]
fn refused(rig: &Rig, pod: &Pod, config: &Value) {
    let before = rig.state();
    demand::error(rig.add(&pod.container, config));
    rig.assert_back(&before);
}

/// ADD with the keys of `extra` must fail and leave everything as it is.
#[track_caller]
fn refused_with(rig: &Rig, extra: &Value) {
    rig.warmed_up();
    let pod = rig.pod("c1");
    let config = merge(pod.config(rig), extra);
    refused(rig, &pod, &config);
}

/// The keys of an IPv4 range, and of an IPv6 range with one address.
fn ranges(rig: &Rig, v4: &Value) -> Value {
    applies_if(
        ipam_type(rig) == "host-local",
        "the IPAM plugin is not host-local",
    );
    let v6 =
        json!({"subnet": "fd00:7:9::/64", "rangeStart": "fd00:7:9::9", "rangeEnd": "fd00:7:9::9"});
    json!({"ipam": {"type": "host-local", "ranges": [[v4], [v6]]}})
}

/// After an attachment with these keys another one is refused.
fn second_is_refused(rig: &Rig, keys: &Value) {
    let _first = attach_with(rig, "holder", keys);
    let pod = rig.pod("c1");
    let config = merge(pod.config(rig), keys);
    refused(rig, &pod, &config);
}

fn exhausted(rig: &Rig) {
    let one = json!({"subnet": "10.7.0.0/16", "rangeStart": "10.7.0.9", "rangeEnd": "10.7.0.9"});
    second_is_refused(rig, &ranges(rig, &one));
}

fn second_range(rig: &Rig) {
    second_is_refused(rig, &ranges(rig, &json!({"subnet": "10.7.0.0/16"})));
}

fn missing_master(rig: &Rig) {
    refused_with(rig, &json!({"master": "nowhere0"}));
}

fn impossible_mtu(rig: &Rig) {
    refused_with(rig, &json!({"mtu": 70000}));
}

fn invalid_sysctl(rig: &Rig) {
    rig.warmed_up();
    let pod = rig.pod("c1");
    let keys =
        json!({"mtu": 1400, "sysctl": {"net.core.somaxconn": "700", "net.core.no_such_key": "1"}});
    let sysctls = pod.container.sysctls();
    refused(rig, &pod, &merge(pod.config(rig), &keys));
    assert_eq!(
        sysctls,
        pod.container.sysctls(),
        "sysctls of the container before and after ADD"
    );
}

fn del_after_failed(rig: &Rig) {
    let delegate = delegate(rig, "exit 1");
    let before = rig.state();
    delegate.refused();
    demand::success(delegate.call("DEL").run());
    rig.assert_back(&before);
}

fn add_after_failed(rig: &Rig) {
    let delegate = Delegate::new(rig, "cat >/dev/null; exit 1");
    delegate.refused();
    demand::success(delegate.call("DEL").run());
    delegate.change(&format!(
        "[ $CNI_COMMAND = ADD ] || exit 0\n{}",
        super::delegate::print(GOOD)
    ));
    let run = delegate.added();
    demand::success(delegate.call("DEL").config(&run.with_prev()).run());
}

fn killed_add(rig: &Rig) {
    let before = rig.warmed_up();
    for _ in 0..3 {
        let pod = rig.pod("c1");
        let config = pod.config(rig);
        let mut running = rig.call("ADD", &pod.container, &config).start();
        running.kill();
        drop(running);
        demand::success(rig.del(&pod.container, &config));
        end(rig, pod);
        rig.assert_back(&before);
    }
}

fn killed_del(rig: &Rig) {
    let before = rig.warmed_up();
    let attached = rig.attach("c1");
    let mut running = call(rig, "DEL", &attached).start();
    running.kill();
    drop(running);
    del(rig, &attached);
    end(rig, attached.pod);
    rig.assert_back(&before);
}

fn interface_gone(rig: &Rig) {
    rig.warmed_up();
    let pod = rig.pod("c1");
    let config = pod.config(rig);
    pod.container
        .ip(&format!("link del {}", rig.subject.if_name));
    refused(rig, &pod, &config);
}
