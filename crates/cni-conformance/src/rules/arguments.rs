//! `CNI_ARGS`, and the configuration's `args`, `capabilities` and `runtimeConfig`.

use serde_json::{Value, json};
use testkit::Run;

use super::support::{call, del};
use crate::demand;
use crate::rig::Rig;
use crate::rule::{Rule, must, runtime, should};

const PARAMETERS: &str = "spec 2: Parameters";
const KUBERNETES: &str = "containerd, CRI-O: arguments of pods";
const ADVICE: &str =
    "ignore keys that the plugin does not know if IgnoreUnknown is 1 or true, wherever it stands";
const KEYS: &str = "spec 1: Configuration format";

pub(crate) const RULES: &[Rule] = &[
    must(
        "arguments.empty",
        PARAMETERS,
        "An empty CNI_ARGS is accepted",
        empty,
    ),
    runtime(
        "arguments.kubernetes",
        KUBERNETES,
        "ADD accepts the arguments of pods with IgnoreUnknown=1",
        kubernetes,
    )
    .advice(ADVICE),
    runtime(
        "arguments.kubernetes-del",
        KUBERNETES,
        "DEL accepts the arguments of pods",
        kubernetes_del,
    )
    .advice(ADVICE),
    runtime(
        "arguments.kubernetes-check",
        KUBERNETES,
        "CHECK accepts the arguments of pods",
        kubernetes_check,
    )
    .only(&[crate::rule::Only::Since("0.4.0")])
    .advice(ADVICE),
    runtime(
        "arguments.ignore-unknown-true",
        KUBERNETES,
        "IgnoreUnknown=true means the same as IgnoreUnknown=1",
        ignore_unknown_true,
    )
    .advice(ADVICE),
    runtime(
        "arguments.ignore-unknown-last",
        KUBERNETES,
        "IgnoreUnknown counts at the end of CNI_ARGS as well",
        ignore_unknown_last,
    )
    .advice(ADVICE),
    runtime(
        "arguments.empty-value",
        KUBERNETES,
        "An argument may have an empty value",
        empty_value,
    ),
    should(
        "arguments.not-utf8",
        "library: types",
        "CNI_ARGS that are not UTF-8 do not crash the plugin",
        not_utf8,
    ),
    should(
        "arguments.malformed",
        "library: types",
        "CNI_ARGS without key and value do not crash the plugin",
        malformed,
    ),
    runtime(
        "arguments.args-of-others",
        KEYS,
        "The key args with members for others is accepted",
        args_of_others,
    ),
    runtime(
        "arguments.capabilities",
        "libcni: capabilities stay in the configuration",
        "The key capabilities with a capability that the plugin does not have is accepted",
        capabilities,
    ),
    runtime(
        "arguments.runtime-config-of-others",
        KEYS,
        "The key runtimeConfig with members for others is accepted",
        runtime_config_of_others,
    ),
    runtime(
        "arguments.cni-labels",
        "conventions: args.cni",
        "Labels in args.cni are accepted",
        cni_labels,
    ),
];

const POD: &str = "K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=c1;\
                   K8S_POD_UID=11111111-2222-3333-4444-555555555555";

/// Runs ADD with these arguments.
fn add(rig: &Rig, args: &str) -> Run {
    let pod = rig.pod("c1");
    super::call(rig, "ADD", &pod).args(args).run()
}

fn empty(rig: &Rig) {
    demand::result(&add(rig, ""));
}

fn kubernetes(rig: &Rig) {
    demand::result(&add(rig, &format!("IgnoreUnknown=1;{POD}")));
}

/// ADD and then `verb` with the arguments of a pod.
#[track_caller]
fn of_pod(rig: &Rig, verb: &str) {
    let attached = rig.attach("c1");
    let call = call(rig, verb, &attached);
    demand::success(call.args(&format!("IgnoreUnknown=1;{POD}")).run());
}

fn kubernetes_del(rig: &Rig) {
    of_pod(rig, "DEL");
}

fn kubernetes_check(rig: &Rig) {
    of_pod(rig, "CHECK");
}

fn ignore_unknown_true(rig: &Rig) {
    demand::result(&add(rig, &format!("IgnoreUnknown=true;{POD}")));
}

fn ignore_unknown_last(rig: &Rig) {
    demand::result(&add(rig, &format!("{POD};IgnoreUnknown=1")));
}

fn empty_value(rig: &Rig) {
    demand::result(&add(rig, "IgnoreUnknown=1;K8S_POD_UID="));
}

fn not_utf8(rig: &Rig) {
    use std::os::unix::ffi::OsStrExt;
    let pod = rig.pod("c1");
    let odd = std::ffi::OsStr::from_bytes(b"IgnoreUnknown=1;A=\xff\xfe");
    demand::orderly(super::call(rig, "ADD", &pod).env("CNI_ARGS", odd).run());
}

fn malformed(rig: &Rig) {
    for (number, args) in [";", "=", "A", "A=B=C", "IP=", "IgnoreUnknown=maybe", ";;;"]
        .iter()
        .enumerate()
    {
        let pod = rig.pod(&format!("c{number}"));
        let call = super::call(rig, "ADD", &pod).args(args);
        demand::orderly(call.run());
        demand::orderly(super::call(rig, "DEL", &pod).run());
    }
}

/// ADD and DEL succeed with a key added to the configuration.
#[track_caller]
fn accepts(rig: &Rig, key: &str, value: &Value) {
    let pod = rig.pod("c1");
    let mut config = pod.config(rig);
    match config[key].as_object_mut() {
        // Beside what the plugin needs.
        Some(members) => members.extend(value.as_object().cloned().unwrap_or_default()),
        None => config[key] = value.clone(),
    }
    del(rig, &rig.attach_pod(pod, config));
}

fn args_of_others(rig: &Rig) {
    accepts(rig, "args", &json!({"com.example": [1, {"a": null}]}));
}

fn capabilities(rig: &Rig) {
    accepts(
        rig,
        "capabilities",
        &json!({"com.example": true, "dns": false}),
    );
}

fn runtime_config_of_others(rig: &Rig) {
    accepts(
        rig,
        "runtimeConfig",
        &json!({"com.example": {"a": 1}, "aliases": ["web"]}),
    );
}

fn cni_labels(rig: &Rig) {
    accepts(
        rig,
        "args",
        &json!({"cni": {"labels": [{"key": "app", "value": "web"}]}}),
    );
}
