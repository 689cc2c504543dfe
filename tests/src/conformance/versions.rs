//! Rules about versions of the specification: which are supported, and which verbs they have.

use serde_json::{Value, json};

use super::Rig;
use crate::networks::VERSIONS;
use crate::{answer, state};

/// VERSION prints one line, whatever the input and the environment.
#[track_caller]
pub fn version_is_answered_whatever_the_input(rig: &Rig) {
    // The newest version that the plugin supports.
    let newest = rig.subject.newest();
    let supported: Vec<String> = rig
        .subject
        .versions
        .iter()
        .map(|v| format!("{v:?}"))
        .collect();
    let expected = format!(
        "{{\"cniVersion\":\"{newest}\",\"supportedVersions\":[{}]}}\n",
        supported.join(",")
    );
    for input in [
        r#"{"cniVersion":"1.1.0"}"#,
        r#"{"cniVersion":"9.9.9"}"#,
        "",
        "{",
        "\u{0}",
    ] {
        let call = rig
            .plugin
            .command("VERSION")
            .without_env("CNI_PATH")
            .stdin(input);
        assert_eq!(call.clone().run().expect_ok().stdout_text(), expected);
        let odd = call.id("../..").ifname("a/b").args("nonsense");
        assert_eq!(odd.run().expect_ok().stdout_text(), expected);
    }
}

/// A version that the plugin does not support is refused, and the error lists those that it supports.
#[track_caller]
pub fn unknown_versions_are_refused(rig: &Rig) {
    let container = rig.host.container("c1");
    let before = state::of(&rig.host);
    let known: Vec<String> = rig
        .subject
        .versions
        .iter()
        .map(|v| format!("{v:?}"))
        .collect();
    let others = VERSIONS
        .into_iter()
        .filter(|v| !rig.subject.versions.iter().any(|s| s == v));
    for version in others.chain(["0.5.0", "1.1", "1.2.0", "2.0.0", "v1.0.0", "1.0.0 ", "x"]) {
        for verb in ["ADD", "DEL"] {
            let error =
                answer::refusal(rig.call(verb, &container, &rig.config_in(version)).run(), 1);
            assert_eq!(error.msg, "incompatible CNI versions");
            let details = format!(
                "config is {version:?}, plugin supports [{}]",
                known.join(" ")
            );
            assert_eq!(error.details, details);
        }
    }
    for version in [
        json!(1),
        json!(1.0),
        json!(["1.0.0"]),
        json!({}),
        json!(true),
    ] {
        for verb in ["ADD", "CHECK", "DEL"] {
            let mut config = rig.config();
            config["cniVersion"] = version.clone();
            answer::refusal(rig.call(verb, &container, &config).run(), 6).mentions("cniVersion");
        }
    }
    before.assert_same(&state::of(&rig.host));
}

/// A configuration without a version has version 0.1.0.
#[track_caller]
pub fn a_missing_version_means_the_oldest(rig: &Rig) {
    if rig
        .subject
        .versions
        .first()
        .is_none_or(|oldest| oldest != "0.1.0")
    {
        return;
    }
    for version in [json!(""), Value::Null] {
        let container = rig.host.container("c1");
        let mut config = rig.config();
        config["cniVersion"] = version;
        let result = answer::result(&rig.add(&container, &config));
        assert_eq!(result["cniVersion"], "0.1.0");
        answer::silent(rig.del(&container, &config));
        config
            .as_object_mut()
            .expect("a configuration is an object")
            .remove("cniVersion");
        let result = answer::result(&rig.add(&container, &config));
        assert_eq!(result["cniVersion"], "0.1.0");
        answer::silent(rig.del(&container, &config));
    }
}

/// CHECK is refused below version 0.4.0, GC and STATUS below 1.1.0.
#[track_caller]
pub fn verbs_are_refused_in_versions_without_them(rig: &Rig) {
    let container = rig.host.container("c1");
    let verbs: &[(&str, &str)] = match rig.subject.has_upkeep() {
        true => &[("CHECK", "0.4.0"), ("GC", "1.1.0"), ("STATUS", "1.1.0")],
        false => &[("CHECK", "0.4.0")],
    };
    for (verb, since) in verbs {
        let refused = |version: &str, code: u64| {
            answer::refusal(
                rig.call(verb, &container, &rig.config_in(version)).run(),
                code,
            )
            .text()
        };
        for version in VERSIONS
            .into_iter()
            .take_while(|v| v != since)
            .chain(["", "0.3.9"])
        {
            assert_eq!(
                refused(version, 1),
                format!("config version does not allow {verb}")
            );
        }
        for version in ["2.0.0", "1.99.0"] {
            assert_eq!(
                refused(version, 1),
                format!("plugin version does not allow {verb}")
            );
        }
        assert_eq!(
            refused("x", 6),
            "failed to convert major version part \"x\": strconv.Atoi: parsing \"x\": invalid syntax"
        );
        // Between two versions: neither too old nor too new, but unknown.
        if *verb == "CHECK" && rig.subject.versions.iter().any(|v| v == "1.0.0") {
            assert!(refused("0.9.0", 1).starts_with("incompatible CNI versions; "));
        }
    }
}
