//! Calls at the same time, as a node makes them when it starts.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testkit::{Invocation, Run, merge, run_all};

use super::support::{call, del, end, ips, keeping, passes, second_network};
use crate::demand;
use crate::rig::{Attached, Pod, Rig};
use crate::rule::{Only, Rule, must, runtime};
use crate::subject::Class;

const SPEC: &str = "spec 3: Lifecycle & Ordering";
const NODE: &str = "kubelet, containerd";
/// Several attachments, and results with interfaces and addresses.
const TWO: &[Only] = &[Only::Since("0.3.0"), Only::Two];
const CHECKED: &[Only] = &[Only::Since("0.4.0"), Only::Two];
const ALLOCATES: &[Only] = &[
    Only::Since("0.3.0"),
    Only::Two,
    Only::Except(&["loopback", "static"]),
    Only::Classes(&[Class::Main, Class::Ipam]),
];

/// Containers at a time.
const CROWD: usize = 6;

pub(crate) const RULES: &[Rule] = &[
    must(
        "concurrency.first-adds",
        SPEC,
        "ADDs of different containers at once, the first on the host, succeed",
        first_adds,
    )
    .only(TWO),
    must(
        "concurrency.adds",
        SPEC,
        "ADDs of different containers at once pass CHECK afterwards",
        adds,
    )
    .only(CHECKED),
    must(
        "concurrency.unique-addresses",
        SPEC,
        "ADDs of different containers at once get different addresses",
        unique_addresses,
    )
    .only(ALLOCATES),
    must(
        "concurrency.dels",
        SPEC,
        "DELs of different containers at once succeed and leave nothing",
        dels,
    )
    .only(TWO),
    must(
        "concurrency.adds-and-dels",
        SPEC,
        "ADDs and DELs of different containers at once do not disturb each other",
        adds_and_dels,
    )
    .only(CHECKED),
    must("concurrency.checks", SPEC, "CHECKs at once succeed", checks).only(CHECKED),
    runtime(
        "concurrency.same-add-twice",
        NODE,
        "Of two ADDs of the same attachment at once, one succeeds, and DEL leaves nothing",
        same_add_twice,
    )
    .only(&[Only::Since("0.3.0"), Only::Once]),
    runtime(
        "concurrency.same-del-twice",
        NODE,
        "Two DELs of the same attachment at once succeed and leave nothing",
        same_del_twice,
    )
    .only(&[Only::Since("0.3.0")]),
    runtime(
        "concurrency.add-and-del-of-one",
        NODE,
        "After an ADD and a DEL of the same attachment at once, another DEL leaves nothing",
        add_and_del_of_one,
    )
    .only(&[Only::Since("0.3.0")]),
    must(
        "concurrency.two-networks",
        SPEC,
        "ADDs of two networks at once do not disturb each other",
        two_networks,
    )
    .only(CHECKED),
    runtime(
        "concurrency.two-interfaces",
        "Multus, Podman: several networks",
        "ADDs of two interfaces of different networks of a container at once succeed",
        two_interfaces,
    )
    .only(&[
        Only::Since("0.4.0"),
        Only::Plugins(&["bridge", "ptp", "macvlan", "host-local"]),
    ]),
    runtime(
        "concurrency.gc-twice",
        NODE,
        "Two GCs at once succeed, and valid attachments stay",
        gc_twice,
    )
    .only(&[Only::Since("1.1.0"), Only::Two]),
    runtime(
        "concurrency.gc-and-check",
        NODE,
        "GC and CHECK of a valid attachment at once succeed",
        gc_and_check,
    )
    .only(&[Only::Since("1.1.0"), Only::Two]),
    runtime(
        "concurrency.status-and-add",
        NODE,
        "STATUS and ADD at once succeed",
        status_and_add,
    )
    .only(&[Only::Since("1.1.0"), Only::Two]),
];

fn pods(rig: &Rig, prefix: &str, count: usize) -> Vec<Pod> {
    (0..count)
        .map(|number| rig.pod(&format!("{prefix}{number}")))
        .collect()
}

/// ADDs all pods at once.
#[track_caller]
fn add_all(rig: &Rig, pods: Vec<Pod>) -> Vec<Attached> {
    let runs = run_all(pods.iter().map(|pod| super::call(rig, "ADD", pod)));
    let attached = |(pod, run): (Pod, Run)| {
        let config = pod.config(rig);
        Attached::new(pod, config, run)
    };
    pods.into_iter().zip(runs).map(attached).collect()
}

#[track_caller]
fn succeed(runs: Vec<Run>) {
    for run in runs {
        demand::success(run);
    }
}

fn first_adds(rig: &Rig) {
    add_all(rig, pods(rig, "c", CROWD));
}

fn adds(rig: &Rig) {
    let attached = add_all(rig, pods(rig, "c", CROWD));
    attached.iter().for_each(|attached| passes(rig, attached));
}

fn unique_addresses(rig: &Rig) {
    let attached = add_all(rig, pods(rig, "c", CROWD));
    let all: Vec<String> = attached
        .iter()
        .flat_map(|attached| ips(&attached.result))
        .collect();
    let different: BTreeSet<&String> = all.iter().collect();
    assert!(all.len() >= CROWD, "addresses: {all:?}");
    assert_eq!(
        different.len(),
        all.len(),
        "an address occurs twice: {all:?}"
    );
}

fn dels(rig: &Rig) {
    let before = rig.warmed_up();
    let attached = add_all(rig, pods(rig, "c", CROWD));
    let dels = attached.iter().map(|attached| call(rig, "DEL", attached));
    succeed(run_all(dels));
    attached
        .into_iter()
        .for_each(|attached| end(rig, attached.pod));
    rig.assert_back(&before);
}

fn adds_and_dels(rig: &Rig) {
    let old = add_all(rig, pods(rig, "old", 3));
    let new = pods(rig, "new", 3);
    let dels = old.iter().map(|attached| call(rig, "DEL", attached));
    let adds = new.iter().map(|pod| super::call(rig, "ADD", pod));
    let calls: Vec<Invocation> = dels.zip(adds).flat_map(|(del, add)| [del, add]).collect();
    let runs = run_all(calls);
    let (dels, adds): (Vec<_>, Vec<_>) =
        runs.into_iter().enumerate().partition(|(n, _)| n % 2 == 0);
    succeed(dels.into_iter().map(|(_, run)| run).collect());
    for (pod, (_, run)) in new.iter().zip(adds) {
        demand::result(&run);
        rig.check(&pod.container, &run.with_prev()).expect_ok();
    }
}

fn checks(rig: &Rig) {
    let attached = add_all(rig, pods(rig, "c", 3));
    let calls = attached
        .iter()
        .flat_map(|attached| [call(rig, "CHECK", attached), call(rig, "CHECK", attached)]);
    succeed(run_all(calls));
}

fn same_add_twice(rig: &Rig) {
    rig.warmed_up();
    let pod = rig.pod("c1");
    let before = rig.state();
    let runs = run_all([super::call(rig, "ADD", &pod), super::call(rig, "ADD", &pod)]);
    let successes = runs.iter().filter(|run| run.is_ok()).count();
    assert!(
        successes == 1,
        "{successes} of 2 succeeded\n{}\n{}",
        runs[0].report(),
        runs[1].report()
    );
    super::call(rig, "DEL", &pod).run().expect_ok();
    rig.assert_back(&before);
}

fn same_del_twice(rig: &Rig) {
    let before = rig.warmed_up();
    let pod = rig.pod("c1");
    let run = demand::success(super::call(rig, "ADD", &pod).run());
    let del = rig.call("DEL", &pod.container, &run.with_prev());
    succeed(run_all([del.clone(), del]));
    end(rig, pod);
    rig.assert_back(&before);
}

fn add_and_del_of_one(rig: &Rig) {
    let before = rig.warmed_up();
    let pod = rig.pod("c1");
    // Either may fail, and either may be first.
    let runs = run_all([super::call(rig, "ADD", &pod), super::call(rig, "DEL", &pod)]);
    runs.into_iter().for_each(demand::orderly);
    demand::success(super::call(rig, "DEL", &pod).run());
    end(rig, pod);
    rig.assert_back(&before);
}

fn two_networks(rig: &Rig) {
    let pods = pods(rig, "c", 4);
    let config = |(number, pod): (usize, &Pod)| match number % 2 {
        0 => pod.config(rig),
        _ => merge(pod.config(rig), &second_network(rig)),
    };
    let configs: Vec<Value> = pods.iter().enumerate().map(config).collect();
    let calls = pods.iter().zip(&configs);
    let runs = run_all(calls.map(|(pod, config)| rig.call("ADD", &pod.container, config)));
    for (pod, run) in pods.iter().zip(runs) {
        demand::result(&run);
        demand::success(rig.check(&pod.container, &run.with_prev()));
    }
}

fn two_interfaces(rig: &Rig) {
    let pod = rig.pod("c1");
    // One of the networks has no default route, so that they do not collide.
    let plain = json!({"type": "host-local", "ranges": [[{"subnet": "10.6.0.0/16"}]]});
    let other = merge(
        pod.config(rig),
        &json!({"name": "other-network", "ipam": plain, "isDefaultGateway": false, "bridge": "cni1"}),
    );
    let calls = [
        super::call(rig, "ADD", &pod),
        rig.call("ADD", &pod.container, &other).ifname("net1"),
    ];
    for (run, name) in run_all(calls)
        .iter()
        .zip([rig.subject.if_name.as_str(), "net1"])
    {
        demand::result(run);
        let check = rig
            .call("CHECK", &pod.container, &run.with_prev())
            .ifname(name);
        check.run().expect_ok();
    }
}

fn gc_twice(rig: &Rig) {
    let attached = rig.attach("c1");
    drop(rig.attach("gone"));
    let gc = || rig.plugin.command("GC").config(&keeping(rig, &["c1"]));
    succeed(run_all([gc(), gc()]));
    passes(rig, &attached);
    del(rig, &attached);
}

fn gc_and_check(rig: &Rig) {
    let attached = rig.attach("c1");
    drop(rig.attach("gone"));
    let gc = rig.plugin.command("GC").config(&keeping(rig, &["c1"]));
    succeed(run_all([gc, call(rig, "CHECK", &attached)]));
}

fn status_and_add(rig: &Rig) {
    let pod = rig.pod("c1");
    let status = rig.plugin.command("STATUS").config(&rig.config());
    succeed(run_all([
        status.clone(),
        super::call(rig, "ADD", &pod),
        status,
    ]));
}
