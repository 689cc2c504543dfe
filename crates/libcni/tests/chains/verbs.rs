//! CHECK, DEL, GC, STATUS and validation.

use crate::rig::{Rig, attachment, list, parsed, result};
use cni_core::types;
use libcni::{Attachment, Error};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;

/// Three plugins that succeed, and `two` fails in the verb `failing`.
fn rig(failing: &str) -> Rig {
    let rig = Rig::new();
    let answer = result("1.1.0", "10.0.0.1/8");
    rig.answering("one", &answer);
    rig.answering("three", &answer);
    rig.plugin(
        "two",
        &format!(
            "[ $CNI_COMMAND = {failing} ] && echo '{{\"code\": 50, \"msg\": \"down\"}}' && exit 1\n\
             [ $CNI_COMMAND = ADD ] && echo '{answer}'; exit 0"
        ),
    );
    rig
}

const ALL: [&str; 3] = ["one", "two", "three"];

#[test]
fn check_needs_version_0_4_0_and_can_be_disabled() {
    let rig = rig("CHECK");
    for version in ["", "0.3.1"] {
        let mut list = list(version, &ALL);
        list.disable_check = true;
        let error = rig.cni().check(&list, &attachment()).unwrap_err();
        let expected =
            format!(r#"configuration version "{version}" does not support the CHECK command"#);
        assert_eq!(error.to_string(), expected);
        assert!(matches!(error, Error::CheckUnsupported { .. }));
    }
    let error = rig
        .cni()
        .check(&list("x", &ALL), &attachment())
        .unwrap_err();
    assert!(matches!(error, Error::Version(_)), "{error}");
    let mut list = list("0.4.0", &ALL);
    let error = rig
        .cni()
        .check(&list, &attachment())
        .unwrap_err()
        .to_string();
    assert_eq!(error, "down");
    assert_eq!(rig.calls()[0].conf().get("prevResult"), None);
    assert_eq!(rig.take(), ["CHECK one", "CHECK two"]);
    list.disable_check = true;
    rig.cni().check(&list, &attachment()).unwrap();
    assert!(rig.take().is_empty());
}

#[test]
fn del_stops_at_the_first_error_unless_told_to_go_on() {
    let rig = rig("DEL");
    let (cni, list) = (rig.cni(), list("1.1.0", &ALL));
    cni.add(&list, &attachment()).unwrap();
    rig.take();
    let error = cni.del(&list, &attachment()).unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"plugin type="two" failed (delete): down"#
    );
    assert_eq!(rig.take(), ["DEL three", "DEL two"]);
    let error = cni
        .clone()
        .keep_going(true)
        .del(&list, &attachment())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"plugin type="two" failed (delete): down"#
    );
    assert_eq!(
        rig.calls()[2].conf()["prevResult"],
        result("1.1.0", "10.0.0.1/8")
    );
    assert_eq!(rig.take(), ["DEL three", "DEL two", "DEL one"]);
    // What is left of the attachment can be deleted with its result.
    assert!(rig.results().join("net-c1-eth0").exists());
    fs::remove_file(rig.bin().join("three")).unwrap();
    let error = cni.keep_going(true).del(&list, &attachment()).unwrap_err();
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].contains(r#"type="three" failed (delete): failed to find plugin"#));
    assert_eq!(error.cni_error().map(|error| error.code.0), Some(50));
}

#[test]
fn del_below_0_4_0_has_no_result_and_clears_the_cache() {
    let rig = Rig::new();
    let old = json!({"cniVersion": "0.3.1", "ips": [{"version": "4", "address": "10.0.0.1/8"}]});
    rig.answering("one", &old);
    let list = list("0.3.1", &["one"]);
    rig.cni().add(&list, &attachment()).unwrap();
    rig.cni().del(&list, &attachment()).unwrap();
    assert_eq!(rig.calls()[1].conf().get("prevResult"), None);
    assert_eq!(fs::read_dir(rig.results()).unwrap().count(), 0);
    // Nothing is known of it any more.
    rig.cni().del(&list, &attachment()).unwrap();
}

fn attached(container_id: &str) -> Attachment {
    Attachment {
        args: vec![("K".into(), container_id.into())],
        capability_args: json!({"mac": container_id}).as_object().unwrap().clone(),
        ..Attachment::new(container_id, format!("/run/netns/{container_id}"), "eth0")
    }
}

fn valid(container_id: &str) -> types::Attachment {
    types::Attachment {
        container_id: container_id.into(),
        if_name: "eth0".into(),
    }
}

#[test]
fn gc_deletes_stale_attachments_of_the_network_and_tells_plugins_the_valid_ones() {
    let rig = rig("none");
    let cni = rig.cni();
    let network = |name: &str| {
        parsed(&json!({"cniVersion": "1.1.0", "name": name, "plugins": [
            {"type": "one", "capabilities": {"mac": true}}, {"type": "two"}]}))
    };
    for id in ["c1", "c2"] {
        cni.add(&network("net"), &attached(id)).unwrap();
    }
    cni.add(&network("other"), &attached("c2")).unwrap();
    rig.take();
    cni.gc(&network("net"), Some(&[valid("c1")])).unwrap();
    let calls = rig.calls();
    let del = &calls[1];
    assert_eq!(del.env["CNI_CONTAINERID"], "c2");
    assert_eq!(del.env["CNI_NETNS"], "/run/netns/c2");
    assert_eq!(del.env["CNI_ARGS"], "K=c2");
    assert_eq!(del.conf()["runtimeConfig"], json!({"mac": "c2"}));
    let gc = &calls[2];
    let list = json!([{"containerID": "c1", "ifname": "eth0"}]);
    assert_eq!(gc.conf()["cni.dev/valid-attachments"], list);
    assert_eq!(gc.conf()["cni.dev/attachments"], list);
    for name in ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"] {
        assert_eq!(gc.env[name], "", "{name}");
    }
    assert_eq!(rig.take(), ["DEL two", "DEL one", "GC one", "GC two"]);
    let left: Vec<_> = cni.cached_attachments("").unwrap();
    let left: Vec<_> = left
        .iter()
        .map(|one| (&*one.network, &*one.attachment.container_id))
        .collect();
    assert_eq!(left, [("net", "c1"), ("other", "c2")]);

    // Without a list none is valid, and plugins are not told so.
    cni.gc(&network("net"), None).unwrap();
    assert_eq!(rig.calls()[2].conf().get("cni.dev/valid-attachments"), None);
    assert_eq!(rig.take(), ["DEL two", "DEL one", "GC one", "GC two"]);
    let mut disabled = network("other");
    disabled.disable_gc = true;
    cni.gc(&disabled, None).unwrap();
    assert!(rig.take().is_empty());
}

#[test]
fn gc_tries_everything_and_reports_all_errors() {
    let rig = Rig::new();
    let answer = result("1.1.0", "10.0.0.1/8");
    let broken = |name: &str| {
        rig.plugin(name, &format!(
            "[ $CNI_COMMAND = ADD ] && echo '{answer}' && exit 0\necho '{{\"code\": 5, \"msg\": \"no\"}}'; exit 1"
        ));
    };
    broken("one");
    broken("two");
    let (cni, chain) = (rig.cni(), list("1.1.0", &["one", "two"]));
    for id in ["c1", "c2"] {
        cni.add(&chain, &attached(id)).unwrap();
    }
    rig.take();
    let error = cni.gc(&chain, Some(&[])).unwrap_err().to_string();
    let failed = |id| {
        format!(
            "failed to delete stale attachment {id} eth0: plugin type=\"two\" failed (delete): no\n"
        )
    };
    assert_eq!(
        error,
        failed("c1") + &failed("c2") + "failed to GC plugin one: no\nfailed to GC plugin two: no"
    );
    assert_eq!(
        rig.calls()[2].conf()["cni.dev/valid-attachments"],
        json!([])
    );
    assert_eq!(rig.take(), ["DEL two", "DEL two", "GC one", "GC two"]);
    // Below 1.1.0 plugins have no GC.
    cni.gc(&list("1.0.0", &["one", "two"]), Some(&[]))
        .unwrap_err();
    assert_eq!(rig.take(), ["DEL two", "DEL two"]);

    // A cache that cannot be listed is an error; plugins collect all the same.
    fs::remove_dir_all(rig.results()).unwrap();
    symlink(rig.results(), rig.results()).unwrap();
    let error = cni
        .gc(&chain, Some(&[valid("c1")]))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("too many levels of symbolic links\nfailed to GC"),
        "{error}"
    );
    assert_eq!(rig.take(), ["GC one", "GC two"]);
}

#[test]
fn status_is_that_of_the_first_plugin_that_is_not_available() {
    let rig = rig("STATUS");
    for old in ["1.0.0", "x"] {
        rig.cni().status(&list(old, &ALL)).unwrap();
        assert!(rig.take().is_empty());
    }
    let error = rig.cni().status(&list("1.1.0", &ALL)).unwrap_err();
    assert_eq!(error.to_string(), "down");
    assert_eq!(error.cni_error().map(|error| error.code.0), Some(50));
    let keys: Vec<String> = rig.calls()[0]
        .conf()
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    assert_eq!(keys, ["cniVersion", "name", "type"]);
    assert_eq!(rig.take(), ["STATUS one", "STATUS two"]);
}

#[test]
fn validation_reports_the_faults_of_all_plugins() {
    let rig = Rig::new();
    let reply = |name: &str, reply: &str| rig.script(name, &format!("echo '{reply}'"));
    reply(
        "new",
        r#"{"cniVersion": "1.1.0", "supportedVersions": ["0.4.0", "1.0.0"]}"#,
    );
    reply("old", r#"{"cniVersion": "0.2.0"}"#);
    reply("odd", r#"{"supportedVersions": []}"#);
    rig.script(
        "ancient",
        r#"echo '{"code": 4, "msg": "unknown CNI_COMMAND: VERSION"}'; exit 1"#,
    );
    let cni = rig.cni();
    assert_eq!(cni.supported_versions("old").unwrap(), ["0.1.0", "0.2.0"]);
    assert_eq!(cni.supported_versions("ancient").unwrap(), ["0.1.0"]);
    let network = |version: &str| {
        parsed(&json!({"cniVersion": version, "name": "net", "plugins": [
            {"type": "new", "capabilities": {"mac": true, "ips": false}},
            {"type": "old", "capabilities": {"mac": true, "portMappings": true}}]}))
    };
    let error = cni.validate(&network("1.0.0")).unwrap_err().to_string();
    assert_eq!(
        error,
        r#"[plugin old does not support config version "1.0.0"]"#
    );
    let error = cni
        .validate(&list("0.1.0", &["ancient", "missing", "odd"]))
        .unwrap_err()
        .to_string();
    let bin = rig.bin();
    assert_eq!(
        error,
        format!(
            "[failed to find plugin \"missing\" in path [{}] decoding version info: missing field cniVersion]",
            bin.display()
        )
    );
    reply(
        "old",
        r#"{"cniVersion": "1.0.0", "supportedVersions": ["1.0.0"]}"#,
    );
    let capabilities = cni.validate(&network("1.0.0")).unwrap();
    assert_eq!(Vec::from_iter(capabilities), ["mac", "portMappings"]);
}

#[test]
fn the_trace_context_replaces_an_inherited_one() {
    let rig = Rig::new();
    rig.answering("one", &result("1.1.0", "10.0.0.1/8"));
    let list = list("1.1.0", &["one"]);
    let trace = |state: &str, baggage: &str| libcni::TraceContext {
        trace_id: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c,
        span_id: 0xb7ad_6b71_6920_3331,
        is_sampled: true,
        state: state.into(),
        baggage: baggage.into(),
    };
    let seen = |trace| -> [Value; 3] {
        rig.cni().trace(trace).status(&list).unwrap();
        let env = rig.calls().remove(0).env;
        rig.take();
        ["TRACEPARENT", "TRACESTATE", "BAGGAGE"].map(|name| env[name].clone())
    };
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    assert_eq!(
        seen(trace("", "")),
        [json!(parent), json!(null), json!(null)]
    );
    assert_eq!(
        seen(trace("a=1", "k=v%20w")),
        [json!(parent), json!("a=1"), json!("k=v%20w")]
    );
    let mut none = trace("a=1", "");
    none.span_id = 0;
    assert_eq!(seen(none), [json!(null), json!(null), json!(null)]);
}
