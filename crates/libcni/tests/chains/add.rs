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
