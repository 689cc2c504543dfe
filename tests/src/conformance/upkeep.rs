//! GC and STATUS, which came with version 1.1.0 of the specification.

use serde_json::{Value, json};

use super::Rig;
use crate::{answer, state};

/// The configuration of a GC that keeps these containers' interfaces.
fn keeping(rig: &Rig, containers: &[&str]) -> Value {
    let mut config = rig.config();
    let valid = containers
        .iter()
        .map(|id| json!({"containerID": id, "ifname": rig.subject.if_name}));
    config["cni.dev/valid-attachments"] = valid.collect();
    config
}

/// Asking for readiness and collecting nothing leave a fresh host as it is.
#[track_caller]
pub fn upkeep_of_a_fresh_host_changes_nothing(rig: &Rig) {
    if !rig.subject.has_upkeep() {
        return;
    }
    let before = rig.host.snapshot();
    answer::silent(rig.plugin.status(&rig.config()));
    answer::silent(rig.plugin.gc(&rig.config()));
    answer::silent(rig.plugin.gc(&keeping(rig, &[])));
    answer::silent(rig.plugin.gc(&keeping(rig, &["c1"])));
    before.assert_same(&rig.host.snapshot());
}

/// STATUS looks, and changes nothing.
#[track_caller]
pub fn status_of_a_host_in_use_changes_nothing(rig: &Rig) {
    if !rig.subject.has_upkeep() {
        return;
    }
    let container = rig.host.container("c1");
    answer::result(&rig.add(&container, &rig.config()));
    let attached = rig.host.snapshot();
    answer::silent(rig.plugin.status(&rig.config()));
    attached.assert_same(&rig.host.snapshot());
}

/// Without the list of valid attachments nobody knows what is garbage; with it, what is listed stays.
#[track_caller]
pub fn gc_keeps_what_is_valid(rig: &Rig) {
    if !rig.subject.has_upkeep() {
        return;
    }
    let (one, other) = (rig.host.container("c1"), rig.host.container("c2"));
    let (first, second) = (rig.add(&one, &rig.config()), rig.add(&other, &rig.config()));
    let attached = rig.host.snapshot();
    for config in [
        rig.config(),
        keeping(rig, &["c1", "c2"]),
        keeping(rig, &["c2", "c0", "c1"]),
    ] {
        answer::silent(rig.plugin.gc(&config));
        attached.assert_same(&rig.host.snapshot());
    }
    answer::silent(rig.check(&one, &first.with_prev()));
    answer::silent(rig.check(&other, &second.with_prev()));
}

/// What containers left behind that ended without DEL is collected, and nothing else.
#[track_caller]
pub fn gc_collects_what_was_left_behind(rig: &Rig) {
    if !rig.subject.has_upkeep() {
        return;
    }
    rig.warmed_up();
    let stays = rig.host.container("stays");
    let added = rig.add(&stays, &rig.config());
    answer::result(&added);
    let before = state::of(&rig.host);
    for id in ["gone1", "gone2", "stays1"] {
        let gone = rig.host.container(id);
        answer::result(&rig.add(&gone, &rig.config()));
    }
    for _ in 0..2 {
        answer::silent(rig.plugin.gc(&keeping(rig, &["stays"])));
        state::assert_back(&before, &rig.host);
    }
    answer::silent(rig.check(&stays, &added.with_prev()));
}

/// An empty list means that nobody is left, and so does `null`, which a runtime in Go writes for it.
#[track_caller]
pub fn gc_of_an_empty_list_collects_all(rig: &Rig) {
    if !rig.subject.has_upkeep() {
        return;
    }
    let before = rig.warmed_up();
    let mut null = rig.config();
    null["cni.dev/valid-attachments"] = Value::Null;
    null["cni.dev/attachments"] = Value::Null;
    for config in [keeping(rig, &[]), null] {
        for id in ["gone1", "gone2"] {
            let gone = rig.host.container(id);
            answer::result(&rig.add(&gone, &rig.config()));
        }
        answer::silent(rig.plugin.gc(&config));
        state::assert_back(&before, &rig.host);
    }
    // DEL may still come.
    let late = rig.host.container("gone1");
    answer::silent(rig.del(&late, &rig.config()));
}

/// A list that is none is refused; guessing could take living containers' addresses away.
#[track_caller]
pub fn gc_refuses_a_malformed_list(rig: &Rig) {
    if !rig.subject.has_upkeep() || rig.subject.repeatable {
        return;
    }
    let container = rig.host.container("c1");
    answer::result(&rig.add(&container, &rig.config()));
    let attached = rig.host.snapshot();
    for list in [
        json!("c1"),
        json!({"containerID": "c1"}),
        json!([7]),
        json!([["c1", "eth0"]]),
    ] {
        let mut config = rig.config();
        config["cni.dev/valid-attachments"] = list;
        answer::failure(rig.plugin.gc(&config));
        attached.assert_same(&rig.host.snapshot());
    }
}
