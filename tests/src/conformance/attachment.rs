//! ADD, CHECK and DEL of an interface.

use std::fs;

use serde_json::{Value, json};

use super::Rig;
use crate::networks::ordinal;
use crate::{answer, state};

const OWN_NETNS: &str = "plugin's netns and netns from CNI_NETNS should not be the same";

/// The way of every attachment, in every version: ADD answers with a result of that version, CHECK finds
/// nothing wrong and changes nothing, DEL leaves nothing.
#[track_caller]
pub fn attachments_come_and_go_in_every_version(rig: &Rig) {
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

/// CHECK fails once DEL has been.
#[track_caller]
pub fn check_notices_what_is_gone(rig: &Rig) {
    let container = rig.host.container("c1");
    let added = rig.add(&container, &rig.config());
    answer::result(&added);
    let with_prev = added.with_prev();
    answer::silent(rig.check(&container, &with_prev));
    answer::silent(rig.del(&container, &with_prev));
    answer::failure(rig.check(&container, &with_prev));
}

/// An interface that exists already is somebody's.
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

/// ADD needs a namespace, and says which one it did not find.
#[track_caller]
pub fn add_needs_a_namespace(rig: &Rig) {
    if rig.subject.ipam {
        return;
    }
    let container = rig.host.container("c1");
    let config = rig.config();
    let file = rig.host.write("file", b"no namespace");
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

/// A plugin that is given its own namespace would plug the host into itself.
#[track_caller]
pub fn its_own_namespace_is_refused_before_anything_is_done(rig: &Rig) {
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
    // Whoever says so means it. What comes of it is the plugin's own business.
    for value in ["1", "true", "TRUE"] {
        let call = rig
            .call("ADD", &container, &rig.config())
            .netns("/proc/self/ns/net");
        let run = call.env("CNI_NETNS_OVERRIDE", value).run();
        assert!(run.is_ok() || run.json()["code"] != 8, "{}", run.report());
    }
}

/// DEL of what was never there, or no longer is, is done.
#[track_caller]
pub fn del_may_come_at_any_time_and_again(rig: &Rig) {
    let container = rig.host.container("c1");
    let config = rig.config();
    // Before the first ADD of all: nothing is made in passing either.
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

/// DEL does its part when the namespace is gone, whether its path is still told or not.
#[track_caller]
pub fn del_comes_after_the_namespace(rig: &Rig) {
    rig.warmed_up();
    let nobody = state::of(&rig.host);
    let config = rig.config();
    for tell in [true, false] {
        let container = rig.host.container("c1");
        answer::result(&rig.add(&container, &config));
        let mut del = rig.call("DEL", &container, &config);
        if !tell {
            del = del.without_env("CNI_NETNS");
        }
        drop(container);
        answer::silent(del.clone().run());
        answer::silent(del.run());
        state::assert_back(&nobody, &rig.host);
    }
}

/// DEL of one attachment leaves the others alone.
#[track_caller]
pub fn del_keeps_to_its_own(rig: &Rig) {
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

/// DEL and CHECK live with the `prevResult` a runtime remembers; DEL also without, and with one it cannot use.
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
