//! Rules about GC and STATUS, the verbs of version 1.1.0 of the specification.

use serde_json::{Value, json};

use super::Rig;
use crate::{answer, state};

/// Returns the configuration of a GC for which the attachments of these containers are valid.
fn keeping(rig: &Rig, containers: &[&str]) -> Value {
    let mut config = rig.config();
    let valid = containers
        .iter()
        .map(|id| json!({"containerID": id, "ifname": rig.subject.if_name}));
    config["cni.dev/valid-attachments"] = valid.collect();
    config
}

/// STATUS and GC do not change a host without attachments.
#[track_caller]
pub fn gc_and_status_of_a_fresh_host_change_nothing(rig: &Rig) {
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

/// STATUS does not change a host with an attachment.
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

/// GC without a list of valid attachments changes nothing; with a list, the listed attachments stay.
#[track_caller]
pub fn gc_keeps_valid_attachments(rig: &Rig) {
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

/// GC deletes the attachments of containers that ended without DEL, and nothing else.
#[track_caller]
pub fn gc_deletes_stale_attachments(rig: &Rig) {
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

/// An empty list means that no attachment is valid, and so does `null`, which a runtime written in Go produces for an
/// empty list.
#[track_caller]
pub fn gc_with_an_empty_list_deletes_all_attachments(rig: &Rig) {
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
    // A late DEL succeeds.
    let late = rig.host.container("gone1");
    answer::silent(rig.del(&late, &rig.config()));
}

/// A malformed list is refused: a guess could release the addresses of running containers.
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
