//! ADD.

use crate::rig::{Rig, addresses, attachment, list, mode, parsed, result};
use libcni::Error;
use serde_json::json;
use std::fs;

#[test]
fn each_plugin_receives_the_result_of_the_previous_one() {
    let rig = Rig::new();
    rig.answering("one", &result("1.0.0", "10.0.0.1/8"));
    rig.answering("two", &result("1.1.0", "10.0.0.2/8"));
    let list = parsed(&json!({
        "cniVersion": "1.1.0", "name": "net", "plugins": [
            {"type": "one", "z": 1500.0, "a": {"d": 1, "c": "<"}, "capabilities": {"mac": true, "ips": false}},
            {"type": "two", "name": "other", "runtimeConfig": {"own": 1}},
        ],
    }));
    let mut attachment = attachment();
    attachment.args = vec![
        ("IgnoreUnknown".into(), "1".into()),
        ("K".into(), String::new()),
    ];
    let values = json!({"mac": "02:00:00:00:00:01", "ips": ["10.0.0.9"], "unknown": 1});
    attachment.capability_args = values.as_object().unwrap().clone();

    let added = rig.cni().add(&list, &attachment).unwrap();
    assert_eq!(addresses(added), ["10.0.0.2/8"]);
    let calls = rig.calls();
    assert_eq!(
        String::from_utf8_lossy(&calls[0].stdin),
        concat!(
            r#"{"a":{"c":"\u003c","d":1},"capabilities":{"ips":false,"mac":true},"#,
            r#""cniVersion":"1.1.0","name":"net","runtimeConfig":{"mac":"02:00:00:00:00:01"},"#,
            r#""type":"one","z":1500}"#
        )
    );
    let second = calls[1].conf();
    assert_eq!(second["prevResult"], result("1.0.0", "10.0.0.1/8"));
    assert_eq!(second["name"], "net");
    assert_eq!(second["runtimeConfig"], json!({"own": 1}));
    let env = &calls[0].env;
    assert_eq!(env["CNI_COMMAND"], "ADD");
    assert_eq!(env["CNI_CONTAINERID"], "c1");
    assert_eq!(env["CNI_NETNS"], "/run/netns/c1");
    assert_eq!(env["CNI_IFNAME"], "eth0");
    assert_eq!(env["CNI_ARGS"], "IgnoreUnknown=1;K=");
    assert_eq!(env["CNI_PATH"].as_str(), rig.bin().to_str());

    let file = rig.results().join("net-c1-eth0");
    assert_eq!([mode(&file), mode(&rig.results())], [0o600, 0o700]);
    rig.cni().del(&list, &attachment).unwrap();
    assert!(!file.exists());
    let prev = rig.calls()[2].conf()["prevResult"].clone();
    assert_eq!(prev, result("1.1.0", "10.0.0.2/8"));
    assert_eq!(rig.take()[2..], ["DEL two", "DEL one"]);
}

#[test]
fn no_plugin_runs_unless_all_could() {
    let rig = Rig::new();
    rig.answering("one", &result("1.1.0", "10.0.0.1/8"));
    let list = list("1.1.0", &["one", "two"]);
    let bin = rig.bin();
    let bin = bin.display();
    let error = rig.cni().add(&list, &attachment()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(r#"plugin type="two" failed (add): failed to find plugin "two" in path [{bin}]"#)
    );
    fs::write(rig.bin().join("two"), "").unwrap();
    let error = rig.cni().add(&list, &attachment()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            r#"plugin type="two" failed (add): netplugin failed with no error message: fork/exec {bin}/two: permission denied"#
        )
    );
    assert!(rig.take().is_empty());
    // A missing plugin is reported before an invalid name, as by upstream.
    let mut nameless = attachment();
    nameless.container_id = String::new();
    let error = rig.cni().add(&list, &nameless).unwrap_err();
    assert!(matches!(error, Error::Step { kind, .. } if kind == "two"));
}

/// Writes a plugin that fails with this message and code in one verb.
fn failing(rig: &Rig, name: &str, verb: &str, answer: &serde_json::Value) {
    let error = r#"{"code": 42, "msg": "broken", "details": "really"}"#;
    rig.plugin(
        name,
        &format!("[ $CNI_COMMAND = {verb} ] && echo '{error}' && exit 1\n[ $CNI_COMMAND = ADD ] && echo '{answer}'; exit 0"),
    );
}

#[test]
fn a_failure_stops_the_chain_and_nothing_is_undone() {
    let rig = Rig::new();
    let answer = result("1.1.0", "10.0.0.1/8");
    rig.answering("one", &answer);
    failing(&rig, "two", "ADD", &answer);
    rig.answering("three", &answer);
    let list = list("1.1.0", &["one", "two", "three"]);
    let error = rig.cni().add(&list, &attachment()).unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"plugin type="two" failed (add): broken; really"#
    );
    assert_eq!(error.cni_error().map(|error| error.code.0), Some(42));
    assert_eq!(rig.take(), ["ADD one", "ADD two"]);
    assert!(!rig.results().exists());
    let named = parsed(&json!({
        "cniVersion": "1.1.0", "name": "net", "plugins": [{"type": "two", "name": "own"}],
    }));
    let error = rig
        .cni()
        .add(&named, &attachment())
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        r#"plugin type="two" name="own" failed (add): broken; really"#
    );
}

#[test]
fn rollback_deletes_what_was_called_and_reports_both_failures() {
    let rig = Rig::new();
    let answer = result("1.1.0", "10.0.0.1/8");
    failing(&rig, "one", "DEL", &answer);
    failing(&rig, "two", "ADD", &answer);
    rig.answering("three", &answer);
    let chain = list("1.1.0", &["one", "two", "three"]);
    let cni = rig.cni().rollback(true);
    let error = cni.add(&chain, &attachment()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "plugin type=\"two\" failed (add): broken; really; deleting what it had done failed too: \
         plugin type=\"one\" failed (delete): broken; really"
    );
    let deletions = rig.calls().split_off(2);
    assert!(
        deletions
            .iter()
            .all(|call| call.conf()["prevResult"] == answer)
    );
    assert_eq!(rig.take(), ["ADD one", "ADD two", "DEL two", "DEL one"]);

    // A second ADD fails since the attachment exists, which must not take it away.
    let one = list("1.1.0", &["three"]);
    cni.add(&one, &attachment()).unwrap();
    rig.take();
    failing(&rig, "three", "ADD", &answer);
    cni.add(&one, &attachment()).unwrap_err();
    assert_eq!(rig.take(), ["ADD three"]);
}

#[test]
fn invalid_names_are_refused_before_a_plugin_runs() {
    let rig = Rig::new();
    rig.answering("one", &result("1.1.0", "10.0.0.1/8"));
    let good = list("1.1.0", &["one"]);
    let prefix = r#"plugin type="one" failed (add): "#;
    let refuse = |list, change: &dyn Fn(&mut libcni::Attachment), expected: &str, code| {
        let mut attachment = attachment();
        change(&mut attachment);
        let error = rig.cni().add(list, &attachment).unwrap_err();
        assert_eq!(error.to_string(), format!("{prefix}{expected}"));
        assert_eq!(error.cni_error().map(|error| error.code.0), Some(code));
    };
    refuse(
        &good,
        &|a| a.container_id = String::new(),
        "missing containerID",
        3,
    );
    let text = "invalid characters in containerID; ../../etc/x";
    refuse(&good, &|a| a.container_id = "../../etc/x".into(), text, 4);
    refuse(
        &good,
        &|a| a.if_name = String::new(),
        "interface name is empty",
        4,
    );
    let text = "interface name contains / or : or whitespace characters";
    refuse(&good, &|a| a.if_name = "../x".into(), text, 4);
    let mut bad = good.clone();
    bad.name = "../net".into();
    refuse(
        &bad,
        &|_| (),
        "invalid characters found in network name; ../net",
        7,
    );
    assert!(rig.take().is_empty());
    assert!(!rig.results().exists());
}

#[test]
fn a_result_keeps_the_version_of_the_plugin() {
    let rig = Rig::new();
    let old = json!({"cniVersion": "0.3.1", "ips": [{"version": "4", "address": "10.0.0.1/8"}], "dns": {}});
    rig.answering("one", &old);
    let list = list("1.1.0", &["one"]);
    let added = rig.cni().add(&list, &attachment()).unwrap().unwrap();
    let text: serde_json::Value = serde_json::from_str(&added.to_json().unwrap()).unwrap();
    assert_eq!(text, old);
    // CHECK and DEL get the version of the network.
    let cached = rig
        .cni()
        .cached_result(&list, &attachment())
        .unwrap()
        .unwrap();
    assert_eq!(cached.version.as_str(), "1.1.0");
    let mut list = list;
    list.cni_version = "7.7.7".into();
    let error = rig
        .cni()
        .check(&list, &attachment())
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "failed to get network \"net\" cached result: failed to convert cached result to config version \
         \"7.7.7\": no converter for CNI result version 0.3.1 to 7.7.7"
    );
}

#[test]
fn a_network_without_plugins_has_no_result() {
    let rig = Rig::new();
    let list = parsed(&json!({"cniVersion": "1.1.0", "name": "net"}));
    assert_eq!(rig.cni().add(&list, &attachment()).unwrap(), None);
    let cached = rig.cni().cached_attachment("net", &attachment()).unwrap();
    assert_eq!(cached.unwrap().result, None);
}
