//! Addresses and ranges that the runtime asks for.

use serde_json::{Value, json};
use testkit::{Run, merge};

use super::support::{attach_with, ips};
use crate::demand;
use crate::rig::Rig;
use crate::rule::{Only, Rule, runtime};

const UPSTREAM: &str = "reference host-local";
const HOST_LOCAL: &[Only] = &[Only::Since("0.3.0"), Only::Plugins(&["host-local"])];

pub(crate) const RULES: &[Rule] = &[
    runtime(
        "requested.by-arguments",
        "Podman, Multus",
        "IP in CNI_ARGS is the address",
        by_arguments,
    )
    .only(HOST_LOCAL),
    runtime(
        "requested.by-runtime",
        "Podman, Multus",
        "runtimeConfig.ips are the addresses",
        by_runtime,
    )
    .only(HOST_LOCAL),
    runtime(
        "requested.by-args",
        "conventions: args.cni",
        "args.cni.ips are the addresses",
        by_args,
    )
    .only(HOST_LOCAL),
    runtime(
        "requested.taken",
        "Podman, Multus",
        "A requested address that is taken is refused",
        requested_taken,
    )
    .only(HOST_LOCAL),
    runtime(
        "requested.outside",
        "Podman, Multus",
        "A requested address that is in no range is refused, and nothing is reserved",
        requested_outside,
    )
    .only(HOST_LOCAL),
    runtime(
        "requested.gateway",
        UPSTREAM,
        "The gateway is refused as requested address",
        requested_gateway,
    )
    .only(HOST_LOCAL),
    runtime(
        "requested.ranges",
        "CRI-O: ipRanges",
        "Addresses come from runtimeConfig.ipRanges",
        ranges_of_runtime,
    )
    .only(HOST_LOCAL),
];

/// ADD with `arguments` in `CNI_ARGS`.
fn with_arguments(rig: &Rig, arguments: &str) -> Run {
    let pod = rig.pod("c1");
    rig.call("ADD", &pod.container, &pod.config(rig))
        .args(arguments)
        .run()
}

fn by_arguments(rig: &Rig) {
    let run = with_arguments(rig, "IgnoreUnknown=1;K8S_POD_NAME=web;IP=10.7.0.77");
    assert_eq!(ips(&demand::result(&run))[0], "10.7.0.77");
}

fn by_runtime(rig: &Rig) {
    let keys = json!({"capabilities": {"ips": true}, "runtimeConfig": {"ips": ["10.7.0.77", "fd00:7::77/64"]}});
    assert_eq!(
        ips(&attach_with(rig, "c1", &keys).result),
        ["10.7.0.77", "fd00:7::77"]
    );
}

fn by_args(rig: &Rig) {
    let keys = json!({"args": {"cni": {"ips": ["10.7.0.77"]}}});
    assert_eq!(ips(&attach_with(rig, "c1", &keys).result)[0], "10.7.0.77");
}

/// The keys that request addresses.
fn requesting(list: &[&str]) -> Value {
    json!({"runtimeConfig": {"ips": list}})
}

fn refused(rig: &Rig, id: &str, keys: &Value) {
    let pod = rig.pod(id);
    let before = rig.state();
    demand::error(rig.add(&pod.container, &merge(pod.config(rig), keys)));
    rig.assert_back(&before);
}

fn requested_taken(rig: &Rig) {
    let keys = requesting(&["10.7.0.77"]);
    let _holder = attach_with(rig, "holder", &keys);
    refused(rig, "c1", &keys);
}

fn requested_outside(rig: &Rig) {
    rig.warmed_up();
    refused(rig, "c1", &requesting(&["192.0.2.7"]));
}

fn requested_gateway(rig: &Rig) {
    rig.warmed_up();
    refused(rig, "c1", &requesting(&["10.7.0.1"]));
}

fn ranges_of_runtime(rig: &Rig) {
    let ranges = json!([[{"subnet": "10.7.3.0/24"}], [{"subnet": "fd00:7:3::/64"}]]);
    let keys = json!({"ipam": {"type": "host-local"}, "runtimeConfig": {"ipRanges": ranges}});
    assert_eq!(
        ips(&attach_with(rig, "c1", &keys).result),
        ["10.7.3.2", "fd00:7:3::2"]
    );
}
