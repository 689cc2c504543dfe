//! STATUS: whether ADD would work now.

use std::fs;

use serde_json::{Value, json};
use testkit::{Node, merge};

use super::support::{attach_with, del, passes};
use crate::demand;
use crate::rig::Rig;
use crate::rule::{Only, Rule, must, runtime, should};

const SPEC: &str = "spec 2: STATUS";
const STATUS: &[Only] = &[Only::Since("1.1.0")];
const ON_MASTER: &[Only] = &[
    Only::Since("1.1.0"),
    Only::Plugins(&["macvlan", "ipvlan", "vlan"]),
];
const FLANNEL: &[Only] = &[Only::Since("1.1.0"), Only::Plugins(&["flannel"])];
const HOST_LOCAL: &[Only] = &[Only::Since("1.1.0"), Only::Plugins(&["host-local"])];

pub(crate) const RULES: &[Rule] = &[
    must(
        "status.ready",
        SPEC,
        "STATUS of a plugin that is ready succeeds",
        ready,
    )
    .only(STATUS),
    should(
        "status.changes-nothing",
        SPEC,
        "STATUS of a fresh host changes nothing",
        changes_nothing,
    )
    .only(STATUS),
    should(
        "status.in-use",
        SPEC,
        "STATUS of a host with attachments succeeds and changes nothing",
        in_use,
    )
    .only(STATUS),
    must(
        "status.repeated",
        SPEC,
        "STATUS succeeds any number of times",
        repeated,
    )
    .only(STATUS),
    must(
        "status.after-del",
        SPEC,
        "STATUS succeeds after the last DEL",
        after_del,
    )
    .only(STATUS),
    runtime(
        "status.prev-result",
        "libcni",
        "A prevResult in the configuration is ignored",
        prev_result,
    )
    .only(STATUS),
    must(
        "status.add-works",
        SPEC,
        "After a STATUS that succeeds, ADD works",
        add_works,
    )
    .only(STATUS),
    runtime(
        "status.unknown-keys",
        "libcni",
        "Unknown keys in the configuration are ignored",
        unknown_keys,
    )
    .only(STATUS),
    should(
        "status.missing-master",
        SPEC,
        "STATUS fails with code 50 if the master does not exist",
        missing_master,
    )
    .only(ON_MASTER),
    should(
        "status.master-down",
        SPEC,
        "STATUS fails with code 50 or 51 if the master is down: its containers have no network",
        master_down,
    )
    .only(ON_MASTER),
    should(
        "status.exhausted",
        SPEC,
        "STATUS fails with code 50 if no address is free",
        exhausted,
    )
    .only(HOST_LOCAL),
    should(
        "status.address-free-again",
        SPEC,
        "STATUS succeeds again once an address is free",
        free_again,
    )
    .only(HOST_LOCAL),
    should(
        "status.exhausted-range-of-caller",
        "spec 4: Plugin Delegation",
        "STATUS of a plugin that delegates fails with code 50 if no address is free",
        exhausted,
    )
    .only(&[
        Only::Since("1.1.0"),
        Only::Plugins(&["bridge", "ptp", "macvlan", "ipvlan", "dummy", "tap"]),
    ]),
    should(
        "status.subnet-file-missing",
        SPEC,
        "STATUS fails with code 50 while flannel's daemon has not written its file",
        no_subnet_file,
    )
    .only(FLANNEL),
    should(
        "status.delegate-missing",
        SPEC,
        "STATUS fails with code 50 if the delegate is not installed",
        no_delegate,
    )
    .only(FLANNEL),
    should(
        "status.daemon-missing",
        SPEC,
        "STATUS fails with code 50 if the daemon does not answer",
        no_daemon,
    )
    .only(&[Only::Since("1.1.0"), Only::Plugins(&["dhcp"])]),
    should(
        "status.bridge-of-another-kind",
        SPEC,
        "STATUS fails with code 50 if the name of the bridge is that of another link",
        other_kind,
    )
    .only(&[Only::Since("1.1.0"), Only::Plugins(&["bridge"])]),
    should(
        "status.device-missing",
        SPEC,
        "STATUS fails with code 50 if the device is nowhere",
        no_device,
    )
    .only(&[Only::Since("1.1.0"), Only::Plugins(&["host-device"])]),
    should(
        "status.invalid-configuration",
        SPEC,
        "STATUS refuses a configuration that ADD would refuse",
        invalid,
    )
    .only(&[
        Only::Since("1.1.0"),
        Only::Plugins(&[
            "bridge",
            "ptp",
            "macvlan",
            "ipvlan",
            "vlan",
            "host-local",
            "static",
            "portmap",
            "bandwidth",
            "vrf",
        ]),
    ]),
];

/// STATUS, which must succeed.
#[track_caller]
fn succeeds(rig: &Rig, config: &Value) {
    demand::success(rig.plugin.status(config));
}

/// STATUS with `keys` in the configuration must fail with code 50.
#[track_caller]
fn not_ready(rig: &Rig, keys: &Value) {
    let config = merge(rig.config(), keys);
    rig.unchanged(|| demand::error_with(50, rig.plugin.status(&config)));
}

fn ready(rig: &Rig) {
    succeeds(rig, &rig.config());
}

fn changes_nothing(rig: &Rig) {
    let sysctls = rig.host.sysctls();
    rig.unchanged(|| succeeds(rig, &rig.config()));
    assert_eq!(sysctls, rig.host.sysctls(), "sysctls of the host");
}

fn in_use(rig: &Rig) {
    let attached = rig.attach("c1");
    rig.unchanged(|| succeeds(rig, &rig.config()));
    passes(rig, &attached);
}

fn repeated(rig: &Rig) {
    for _ in 0..3 {
        succeeds(rig, &rig.config());
    }
}

fn after_del(rig: &Rig) {
    rig.warmed_up();
    succeeds(rig, &rig.config());
}

fn prev_result(rig: &Rig) {
    let prev = json!({"cniVersion": rig.newest(), "ips": [{"address": "192.0.2.7/24"}]});
    succeeds(rig, &merge(rig.config(), &json!({"prevResult": prev})));
}

fn add_works(rig: &Rig) {
    succeeds(rig, &rig.config());
    let attached = rig.attach("c1");
    del(rig, &attached);
}

fn unknown_keys(rig: &Rig) {
    let keys = json!({"vendor.example/key": {"a": [null]}, "cni.dev/valid-attachments": []});
    succeeds(rig, &merge(rig.config(), &keys));
}

fn missing_master(rig: &Rig) {
    not_ready(rig, &json!({"master": "nowhere0"}));
}

fn master_down(rig: &Rig) {
    rig.host.ip("link set up0 down");
    let error = demand::error(rig.plugin.status(&rig.config()));
    assert!(
        matches!(error.code, 50 | 51),
        "code {}: {}",
        error.code,
        error.text()
    );
}

/// The keys of a range with two addresses besides the gateway.
fn small_range() -> Value {
    json!({"ipam": {"type": "host-local", "ranges": [[{"subnet": "10.7.9.0/29", "rangeEnd": "10.7.9.3"}]]}})
}

fn exhausted(rig: &Rig) {
    let keys = small_range();
    let _held = ["c1", "c2"].map(|id| attach_with(rig, id, &keys));
    not_ready(rig, &keys);
}

fn free_again(rig: &Rig) {
    let keys = small_range();
    let held = ["c1", "c2"].map(|id| attach_with(rig, id, &keys));
    not_ready(rig, &keys);
    del(rig, &held[0]);
    succeeds(rig, &merge(rig.config(), &keys));
}

fn no_subnet_file(rig: &Rig) {
    fs::remove_file("/run/flannel/subnet.env").expect("the daemon's file");
    not_ready(rig, &json!({}));
}

fn no_delegate(rig: &Rig) {
    not_ready(rig, &json!({"delegate": {"type": "no-such-plugin"}}));
}

fn no_daemon(rig: &Rig) {
    let socket = json!({"ipam": {"type": "dhcp", "daemonSocketPath": "/run/cni/nowhere.sock"}});
    not_ready(rig, &socket);
}

fn other_kind(rig: &Rig) {
    rig.host.ip("link add other0 type veth peer name other1");
    not_ready(rig, &json!({"bridge": "other0"}));
}

fn no_device(rig: &Rig) {
    not_ready(rig, &json!({"device": "nowhere0"}));
}

/// For each plugin, keys that ADD refuses.
fn invalid_keys(plugin: &str) -> Value {
    match plugin {
        "bridge" => json!({"vlan": 5000}),
        "ptp" => json!({"mtu": "large"}),
        "macvlan" | "ipvlan" => json!({"mode": "no-such-mode"}),
        "vlan" => json!({"vlanId": 5000}),
        "host-local" => {
            json!({"ipam": {"type": "host-local", "ranges": [[{"subnet": "10.7.0.0"}]]}})
        }
        "static" => json!({"ipam": {"type": "static", "addresses": [{"address": "10.7.0.5"}]}}),
        "portmap" => json!({"backend": "no-such-backend"}),
        "bandwidth" => json!({"ingressRate": 8_000_000, "ingressBurst": 0}),
        _ => json!({"vrfname": ""}),
    }
}

fn invalid(rig: &Rig) {
    demand::error(
        rig.plugin
            .status(&merge(rig.config(), &invalid_keys(&rig.subject.plugin))),
    );
}
