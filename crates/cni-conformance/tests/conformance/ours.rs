//! Our plugins pass every rule. Those whose devices the kernel lacks are checked on two kernels.

use std::collections::BTreeSet;

use testkit::bin_dir;

use crate::check;

/// Checks a plugin on any kernel: rules that the kernel prevents do not apply.
#[track_caller]
fn passes(plugin: &str) {
    let findings = check(&bin_dir(), plugin, &["--strict"]);
    findings.assert_failed(&BTreeSet::new());
    assert!(findings.run.is_ok(), "{}", findings.run.report());
    let passed = findings.results("passed").count();
    assert!(passed > 100, "only {passed} rules passed");
}

for_plugins! { passes,
    bandwidth: "bandwidth";
    bridge: "bridge";
    dhcp: "dhcp";
    dummy: "dummy";
    firewall: "firewall";
    flannel: "flannel";
    host_device: "host-device";
    host_local: "host-local";
    ipvlan: "ipvlan";
    loopback: "loopback";
    macvlan: "macvlan";
    portmap: "portmap";
    ptp: "ptp";
    sbr: "sbr";
    r#static: "static";
    tap: "tap";
    tuning: "tuning";
    vlan: "vlan";
    vrf: "vrf";
}

/// What is checked in User Mode Linux, where starting a process takes twenty times as long as elsewhere: each verb, all
/// versions, failures, and what the device does.
const RULES: &[&str] = &[
    "versions.check",
    "kernel.mac",
    "kernel.addresses",
    "kernel.routes",
    "previous.del-without-cleans-up",
    "add.twice-changes-nothing",
    "add.existing-interface-leaves-nothing",
    "del.restores",
    "del.namespace-gone-cleans-up",
    "check.interface-deleted",
    "check.ipv4-address-removed",
    "drift.vrf-left",
    "gc.stale-goes",
    "connectivity.gateway",
    "effects.vrf-member",
    "effects.vrf-deleted-with-last",
    "leaks.failed-delegate",
];

/// Checks what the rules above could not, on a kernel with `feature`.
#[track_caller]
fn passes_with(feature: &str, plugin: &str) {
    testkit::needs(&[feature]);
    let rules = RULES.iter().flat_map(|rule| ["--rule", *rule]);
    let arguments: Vec<&str> = ["--strict", "--attaching"]
        .into_iter()
        .chain(rules)
        .collect();
    let findings = check(&bin_dir(), plugin, &arguments);
    findings.assert_failed(&BTreeSet::new());
    assert!(findings.run.is_ok(), "{}", findings.run.report());
    assert!(
        findings.results("passed").count() > 5,
        "{}",
        findings.run.report()
    );
}

macro_rules! with_a_device {
    ($($module:ident: $feature:literal, $plugin:literal;)*) => {
        $(
            mod $module {
                #[test]
                fn on_a_kernel_with_its_device() {
                    super::passes_with($feature, $plugin);
                }
            }
        )*
    };
}

with_a_device! {
    dummy_attached: "dummy", "dummy";
    ipvlan_attached: "ipvlan", "ipvlan";
    vlan_attached: "vlan", "vlan";
    vrf_attached: "vrf", "vrf";
}
