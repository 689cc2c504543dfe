//! Rules about standard input: malformed configurations, and keys that a plugin must ignore.

use serde_json::{Value, json};

use super::Rig;
use crate::{answer, state};

const VERBS: [&str; 5] = ["ADD", "CHECK", "DEL", "GC", "STATUS"];

/// Input that is not a JSON object, or whose `name` is not a string, is refused.
#[track_caller]
pub fn input_that_is_not_a_configuration_is_refused(rig: &Rig) {
    let container = rig.host.container("c1");
    let before = state::of(&rig.host);
    let whole = rig.config().to_string();
    let half = &whole[..whole.len() / 2];
    let trailing = format!("{whole}{whole}");
    let texts: [&[u8]; 12] = [
        b"",
        b" ",
        b"{",
        half.as_bytes(),
        trailing.as_bytes(),
        b"[]",
        b"\"text\"",
        b"7",
        b"{\"name\":}",
        b"\xff\xfe{}",
        b"{\"name\": 7}",
        b"{\"name\": [\"net\"]}",
    ];
    for text in texts {
        for verb in ["ADD", "CHECK", "DEL"] {
            let call = rig.call(verb, &container, &Value::Null).stdin(text);
            let error = answer::refusal(call.run(), 6);
            let prefix = "error unmarshall network config: ";
            assert!(error.msg.starts_with(prefix), "{verb}: {}", error.msg);
        }
    }
    for text in ["", "{", half] {
        let call = rig.call("ADD", &container, &Value::Null).stdin(text);
        answer::refusal(call.run(), 6).mentions("unexpected end of JSON input");
    }
    let call = rig.call("ADD", &container, &Value::Null).stdin("xyz");
    answer::refusal(call.run(), 6).mentions("invalid character 'x' looking for beginning of value");
    before.assert_same(&state::of(&rig.host));
}

/// A network without a name, or with characters that the specification forbids, is refused: plugins use the name in
/// paths.
#[track_caller]
pub fn networks_without_a_valid_name_are_refused(rig: &Rig) {
    let container = rig.host.container("c1");
    let before = state::of(&rig.host);
    for verb in VERBS {
        if !rig.subject.has_upkeep() && matches!(verb, "GC" | "STATUS") {
            continue;
        }
        for nameless in [
            json!(null),
            json!({}),
            json!({"name": ""}),
            json!({"name": null}),
        ] {
            let error = answer::refusal(rig.call(verb, &container, &nameless).run(), 7);
            assert_eq!(error.text(), "missing network name");
        }
        for name in ["../etc", "-net", ".net", "a net", "a/b", "net\n", "né"] {
            let mut config = rig.config();
            config["name"] = json!(name);
            let error = answer::refusal(rig.call(verb, &container, &config).run(), 7);
            assert_eq!(
                (error.msg.as_str(), error.details.as_str()),
                ("invalid characters found in network name", name)
            );
        }
    }
    before.assert_same(&state::of(&rig.host));
}

/// Verbs are case-sensitive, and an unknown verb is reported only if the input is valid: runtimes detect old
/// plugins by this text.
#[track_caller]
pub fn unknown_verbs_are_refused(rig: &Rig) {
    let container = rig.host.container("c1");
    for verb in ["add", "Del", "PING", "GET", "VERSION "] {
        let error = answer::refusal(rig.call(verb, &container, &rig.config()).run(), 4);
        assert_eq!(error.text(), format!("unknown CNI_COMMAND: {verb}"));
        // An unknown verb requires no variables.
        let bare = rig
            .plugin
            .command(verb)
            .without_env("CNI_PATH")
            .config(&rig.config());
        answer::refusal(bare.run(), 4).mentions("unknown CNI_COMMAND");
        answer::refusal(rig.plugin.command(verb).stdin("{").run(), 6);
        answer::refusal(rig.plugin.command(verb).stdin("{}").run(), 7);
    }
}

/// Unknown keys are ignored, because they may be meant for others.
#[track_caller]
pub fn unknown_keys_are_ignored(rig: &Rig) {
    let container = rig.host.container("c1");
    let mut config = rig.config();
    config["com.example/note"] = json!({"deep": [1, 2.5, null, {"er": "x"}]});
    config["capabilities"] = json!({"portMappings": true});
    config["runtimeConfig"] = json!({"com.example": {"a": 1}});
    config["args"] = json!({"com.example": [1], "cni": {"labels": [{"key": "a", "value": "b"}]}});
    answer::result(&rig.add(&container, &config));
    answer::silent(rig.del(&container, &config));
}

/// The case of keys is ignored, as in the reference library.
#[track_caller]
pub fn keys_match_in_any_case(rig: &Rig) {
    let container = rig.host.container("c1");
    let config = rig.config();
    let members = config.as_object().expect("a configuration is an object");
    let upper_case: Value = members
        .iter()
        .map(|(key, value)| (key.to_uppercase(), value.clone()))
        .collect();
    let result = answer::result(&rig.add(&container, &upper_case));
    assert_eq!(result["cniVersion"], rig.subject.newest());
    answer::silent(rig.del(&container, &upper_case));
}

/// A configuration may be larger than the buffer of a pipe.
#[track_caller]
pub fn large_configurations_are_read_whole(rig: &Rig) {
    let container = rig.host.container("c1");
    let mut config = rig.config();
    config["com.example/note"] = json!("x".repeat(1 << 20));
    answer::result(&rig.add(&container, &config));
    answer::silent(rig.del(&container, &config));
}

/// Kubernetes runtimes pass arguments that the plugin does not know, together with `IgnoreUnknown`.
#[track_caller]
pub fn arguments_of_kubernetes_are_accepted(rig: &Rig) {
    let container = rig.host.container("c1");
    let pod =
        "K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=";
    let config = rig.config();
    for args in [
        format!("IgnoreUnknown=1;{pod}"),
        format!("IgnoreUnknown=true;{pod}"),
        format!("{pod};IgnoreUnknown=TRUE"),
    ] {
        let call = |verb: &str, config: &Value| rig.call(verb, &container, config).args(&args);
        let added = call("ADD", &config).run();
        answer::result(&added);
        if rig.subject.versions_from("0.4.0").next().is_some() {
            answer::silent(call("CHECK", &added.with_prev()).run());
        }
        answer::silent(call("DEL", &config).run());
    }
}
