//! ADD, CHECK and DEL of an interface.

use std::fs;

use serde_json::{Value, json};

use super::Rig;
use crate::networks::ordinal;
use crate::{answer, state};

const OWN_NETNS: &str = "plugin's netns and netns from CNI_NETNS should not be the same";

/// In every version, ADD prints a result of that version, CHECK succeeds and changes nothing, and DEL restores the
/// previous state of the host.
#[track_caller]
pub fn add_check_and_del_work_in_every_version(rig: &Rig) {
    let before = rig.warmed_up();
    for version in &rig.subject.versions {
        let container = rig.host.container("c1");
        let untouched = state::of(&rig.host);
        let config = rig.config_in(version);
        let added = rig.add(&container, &config);
        let result = answer::result(&added);
        assert_eq!(result["cniVersion"], *version);
        if ordinal(version) >= [0, 3, 0] {
            let own: Vec<&Value> = interfaces(&result)
                .filter(|interface| interface["sandbox"].is_string())
                .collect();
            assert_eq!(own.is_empty(), rig.subject.ipam, "{result}");
            for interface in own {
                assert_eq!(interface["name"], *rig.subject.if_name);
                assert_eq!(interface["sandbox"], *container.netns().to_string_lossy());
            }
        }
        if ordinal(version) >= [0, 4, 0] {
            let attached = state::of(&rig.host);
            answer::silent(rig.check(&container, &added.with_prev()));
            attached.assert_same(&state::of(&rig.host));
        }
        answer::silent(rig.del(&container, &added.with_prev()));
        state::assert_back(&untouched, &rig.host);
    }
    state::assert_back(&before, &rig.host);
}

fn interfaces(result: &Value) -> impl Iterator<Item = &Value> {
    result["interfaces"].as_array().into_iter().flatten()
}

/// CHECK fails after DEL.
#[track_caller]
pub fn check_fails_after_del(rig: &Rig) {
    let container = rig.host.container("c1");
    let added = rig.add(&container, &rig.config());
    answer::result(&added);
    let with_prev = added.with_prev();
    answer::silent(rig.check(&container, &with_prev));
    answer::silent(rig.del(&container, &with_prev));
    answer::failure(rig.check(&container, &with_prev));
}

/// A second ADD of the same interface fails and leaves the existing interface alone.
#[track_caller]
pub fn a_second_add_fails_and_changes_nothing(rig: &Rig) {
    let container = rig.host.container("c1");
    let config = rig.config();
    let first = rig.add(&container, &config);
    let result = answer::result(&first);
    let attached = rig.host.snapshot();
    let second = rig.add(&container, &config);
    if rig.subject.repeatable {
        assert_eq!(answer::result(&second), result);
    } else {
        answer::failure(second);
    }
    attached.assert_same(&rig.host.snapshot());
    answer::silent(rig.check(&container, &first.with_prev()));
}

/// ADD and CHECK fail without a network namespace at `CNI_NETNS`, and the error contains the path.
#[track_caller]
pub fn add_needs_a_namespace(rig: &Rig) {
    if rig.subject.ipam {
        return;
    }
    let container = rig.host.container("c1");
    let config = rig.config();
    let file = rig.host.write("file", b"not a namespace");
    let dir = rig.host.dir().join("dir");
    fs::create_dir(&dir).expect("make a directory");
    let before = rig.host.snapshot();
    let missing = rig.host.dir().join("missing");
    let below = file.join("ns");
    for path in [&missing, &below, &file, &dir] {
        for verb in ["ADD", "CHECK"] {
            let call = rig.call(verb, &container, &config).netns(path);
            answer::failure(call.run()).mentions(&path.to_string_lossy());
        }
    }
    before.assert_same(&rig.host.snapshot());
}

/// ADD and DEL refuse the plugin's own namespace before they change anything: the attachment would connect the host
/// to itself.
#[track_caller]
pub fn the_plugins_own_namespace_is_refused_before_any_change(rig: &Rig) {
    let container = rig.host.container("c1");
    let bound = rig.host.write("own", b"");
    let bind = [
        "mount",
        "--bind",
        "/proc/self/ns/net",
        &bound.to_string_lossy(),
    ];
    testkit::Node::command(&rig.host, &bind);
    let before = rig.host.snapshot();
    let paths = [
        "/proc/self/ns/net",
        "/proc/thread-self/ns/net",
        &bound.to_string_lossy(),
    ];
    for path in paths {
        for verb in ["ADD", "DEL"] {
            for value in ["", "0", "no", "false"] {
                let call = rig.call(verb, &container, &rig.config()).netns(path);
                let error = answer::refusal(call.env("CNI_NETNS_OVERRIDE", value).run(), 8);
                assert_eq!(error.text(), OWN_NETNS);
            }
            before.assert_same(&rig.host.snapshot());
        }
    }
    // The override skips this check. What the plugin then does is up to the plugin.
    for value in ["1", "true", "TRUE"] {
        let call = rig
            .call("ADD", &container, &rig.config())
            .netns("/proc/self/ns/net");
        let run = call.env("CNI_NETNS_OVERRIDE", value).run();
        assert!(run.is_ok() || run.json()["code"] != 8, "{}", run.report());
    }
}

/// DEL succeeds for an attachment that never existed or was deleted before.
#[track_caller]
pub fn del_succeeds_before_add_and_repeatedly(rig: &Rig) {
    let container = rig.host.container("c1");
    let config = rig.config();
    // Before the first ADD, DEL must not create anything either.
    let fresh = rig.host.snapshot();
    answer::silent(rig.del(&container, &config));
    answer::silent(
        rig.call("DEL", &container, &config)
            .without_env("CNI_NETNS")
            .run(),
    );
    answer::silent(
        rig.call("DEL", &container, &config)
            .netns("/run/netns/gone")
            .run(),
    );
    fresh.assert_same(&rig.host.snapshot());
    let before = rig.warmed_up();
    for _ in 0..2 {
        answer::result(&rig.add(&container, &config));
        for _ in 0..3 {
            answer::silent(rig.del(&container, &config));
            state::assert_back(&before, &rig.host);
        }
    }
}

/// DEL cleans up after the namespace is gone, with and without `CNI_NETNS`.
#[track_caller]
pub fn del_cleans_up_after_the_namespace_is_gone(rig: &Rig) {
    rig.warmed_up();
    let before = state::of(&rig.host);
    let config = rig.config();
    for has_netns in [true, false] {
        let container = rig.host.container("c1");
        answer::result(&rig.add(&container, &config));
        let mut del = rig.call("DEL", &container, &config);
        if !has_netns {
            del = del.without_env("CNI_NETNS");
        }
        drop(container);
        answer::silent(del.clone().run());
        answer::silent(del.run());
        state::assert_back(&before, &rig.host);
    }
}

/// DEL of one attachment does not change others.
#[track_caller]
pub fn del_leaves_other_attachments_alone(rig: &Rig) {
    let (one, other) = (rig.host.container("c1"), rig.host.container("c10"));
    let config = rig.config();
    let added = rig.add(&one, &config);
    answer::result(&added);
    let attached = rig.host.snapshot();
    answer::silent(rig.del(&other, &config));
    if rig.subject.if_name != "lo" {
        answer::silent(rig.call("DEL", &one, &config).ifname("other").run());
    }
    attached.assert_same(&rig.host.snapshot());
    answer::silent(rig.check(&one, &added.with_prev()));
}

/// DEL succeeds without a `prevResult`, and with one that it cannot parse.
#[track_caller]
pub fn del_does_not_depend_on_prev_result(rig: &Rig) {
    let before = rig.warmed_up();
    let container = rig.host.container("c1");
    let untouched = state::of(&rig.host);
    for prev in [
        json!(null),
        json!({}),
        json!({"cniVersion": "9.9.9"}),
        json!("text"),
        json!(7),
    ] {
        let mut config = rig.config();
        answer::result(&rig.add(&container, &config));
        config["prevResult"] = prev;
        answer::silent(rig.del(&container, &config));
        state::assert_back(&untouched, &rig.host);
    }
    drop(container);
    state::assert_back(&before, &rig.host);
}
