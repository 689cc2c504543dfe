//! Container IDs and interface names: what is allowed, and what is refused.

use testkit::Node;

use super::support::add_and_del;
use crate::demand;
use crate::rig::Rig;
use crate::rule::{Only, Rule, must, runtime, should};
use crate::subject::Class;

const PARAMETERS: &str = "spec 2: Parameters";
const LIBRARY: &str = "library: utils";
const SAFE: &str = "refuse it with code 4 before it becomes part of a path or of a command";
const CREATES: &[Only] = &[Only::Classes(&[Class::Main]), Only::Except(&["loopback"])];

pub(crate) const RULES: &[Rule] = &[
    should(
        "identifiers.id-path",
        PARAMETERS,
        "A container ID with a slash is refused with code 4",
        id_path,
    )
    .advice(SAFE)
    .detached(),
    should(
        "identifiers.id-first-character",
        PARAMETERS,
        "A container ID that begins with -, . or _ is refused with code 4",
        id_first_character,
    )
    .advice(SAFE)
    .detached(),
    should(
        "identifiers.id-blank",
        PARAMETERS,
        "A container ID with a blank or a line feed is refused with code 4",
        id_blank,
    )
    .advice(SAFE)
    .detached(),
    should(
        "identifiers.id-punctuation",
        PARAMETERS,
        "A container ID with other punctuation than _, . and - is refused with code 4",
        id_punctuation,
    )
    .advice(SAFE)
    .detached(),
    should(
        "identifiers.id-not-ascii",
        PARAMETERS,
        "A container ID with letters beyond ASCII is refused with code 4",
        id_not_ascii,
    )
    .advice(SAFE)
    .detached(),
    should(
        "identifiers.id-not-utf8",
        LIBRARY,
        "A container ID that is not UTF-8 is refused with code 4",
        id_not_utf8,
    )
    .advice(SAFE)
    .detached(),
    should(
        "identifiers.id-in-check-and-del",
        PARAMETERS,
        "DEL and CHECK refuse malformed container IDs as well",
        id_in_check_and_del,
    )
    .advice(SAFE)
    .detached(),
    should(
        "identifiers.id-before-others",
        LIBRARY,
        "A malformed container ID is reported before missing variables and the interface name",
        id_before_others,
    )
    .detached(),
    should(
        "identifiers.id-in-details",
        LIBRARY,
        "The error is \"invalid characters in containerID\" with the ID as details",
        id_in_details,
    )
    .detached(),
    must(
        "identifiers.id-characters",
        PARAMETERS,
        "All characters that a container ID may have are accepted",
        id_characters,
    ),
    runtime(
        "identifiers.id-of-64",
        "containerd, CRI-O, Podman: IDs",
        "A container ID of 64 hexadecimal digits is accepted",
        id_of_64,
    ),
    runtime(
        "identifiers.id-of-200",
        "Nomad, Mesos: IDs",
        "A container ID of 200 characters is accepted",
        id_of_200,
    ),
    must(
        "identifiers.ifname-too-long",
        PARAMETERS,
        "An interface name of 16 bytes is refused",
        ifname_too_long,
    )
    .advice(SAFE)
    .detached(),
    must(
        "identifiers.ifname-bytes",
        PARAMETERS,
        "An interface name of 8 letters that are 16 bytes is refused",
        ifname_bytes,
    )
    .advice("the kernel's limit is 15 bytes, not characters")
    .detached(),
    must(
        "identifiers.ifname-dots",
        PARAMETERS,
        "The interface names . and .. are refused",
        ifname_dots,
    )
    .advice(SAFE)
    .detached(),
    must(
        "identifiers.ifname-slash",
        PARAMETERS,
        "An interface name with a slash is refused",
        ifname_slash,
    )
    .advice(SAFE)
    .detached(),
    must(
        "identifiers.ifname-colon",
        PARAMETERS,
        "An interface name with a colon is refused",
        ifname_colon,
    )
    .advice(SAFE)
    .detached(),
    must(
        "identifiers.ifname-blank",
        PARAMETERS,
        "An interface name with white space is refused",
        ifname_blank,
    )
    .advice(SAFE)
    .detached(),
    should(
        "identifiers.ifname-code",
        LIBRARY,
        "An interface name that cannot be used is refused with code 4",
        ifname_code,
    )
    .detached(),
    should(
        "identifiers.ifname-in-check-and-del",
        LIBRARY,
        "DEL and CHECK refuse interface names that the kernel does not accept",
        ifname_in_check_and_del,
    )
    .detached(),
    should(
        "identifiers.ifname-text",
        LIBRARY,
        "The errors for interface names have the library's texts",
        ifname_text,
    )
    .detached(),
    must(
        "identifiers.ifname-of-15",
        PARAMETERS,
        "An interface name of 15 bytes is used",
        ifname_of_15,
    )
    .only(CREATES),
    runtime(
        "identifiers.ifname-other",
        "Multus, Podman: names of interfaces",
        "Another interface name than eth0 is used",
        ifname_other,
    )
    .only(CREATES),
    should(
        "identifiers.malformed-changes-nothing",
        "library: skel",
        "A call with a malformed container ID or interface name changes nothing",
        malformed_changes_nothing,
    )
    .only(&[Only::Netns])
    .detached(),
];

#[track_caller]
fn refuses_ids(rig: &Rig, ids: &[&str]) {
    let pod = rig.pod("c1");
    for id in ids {
        demand::error_with(4, super::call(rig, "ADD", &pod).id(id).run());
    }
}

fn id_path(rig: &Rig) {
    refuses_ids(rig, &["a/b", "../a", "a/../../etc", "/a"]);
}

fn id_first_character(rig: &Rig) {
    refuses_ids(rig, &["-a", ".a", "_a", "."]);
}

fn id_blank(rig: &Rig) {
    refuses_ids(rig, &["a b", "a\n", "\ta", " "]);
}

fn id_punctuation(rig: &Rig) {
    refuses_ids(rig, &["a:b", "a;b", "a$b", "a*", "a\"b", "a,b", "a=b"]);
}

fn id_not_ascii(rig: &Rig) {
    refuses_ids(rig, &["é", "a\u{661}", "a\u{2003}"]);
}

fn id_not_utf8(rig: &Rig) {
    use std::os::unix::ffi::OsStrExt;
    let pod = rig.pod("c1");
    let odd = std::ffi::OsStr::from_bytes(b"a\xff\xfe");
    let call = super::call(rig, "ADD", &pod).env("CNI_CONTAINERID", odd);
    demand::error_with(4, call.run());
}

/// The verbs about an attachment besides ADD.
fn others(rig: &Rig) -> &'static [&'static str] {
    match rig.versions_from("0.4.0").next() {
        Some(_) => &["DEL", "CHECK"],
        None => &["DEL"],
    }
}

fn id_in_check_and_del(rig: &Rig) {
    let pod = rig.pod("c1");
    for verb in others(rig) {
        for id in ["../a", "a b", "-a"] {
            demand::error_with(4, super::call(rig, verb, &pod).id(id).run());
        }
    }
}

fn id_before_others(rig: &Rig) {
    let call = rig.plugin.command("ADD").config(&rig.config()).id("a/b");
    for call in [call.clone(), call.ifname("c/d")] {
        demand::error_with(4, call.run()).mentions("a/b");
    }
}

fn id_in_details(rig: &Rig) {
    let pod = rig.pod("c1");
    let error = demand::error(super::call(rig, "ADD", &pod).id("a/b").run());
    error.says("invalid characters in containerID; a/b");
}

#[track_caller]
fn accepts_id(rig: &Rig, id: &str) {
    add_and_del(rig, |call| call.id(id));
}

fn id_characters(rig: &Rig) {
    accepts_id(rig, "0aZ9_.-x-._");
}

fn id_of_64(rig: &Rig) {
    accepts_id(rig, &"0123456789abcdef".repeat(4));
}

fn id_of_200(rig: &Rig) {
    accepts_id(rig, &"0123456789abcdef-._Z".repeat(10));
}

/// Names that are refused, each with the library's text.
const DOTS: [(&str, &str); 2] = [
    (".", "interface name is . or .."),
    ("..", "interface name is . or .."),
];
const TOO_LONG: (&str, &str) = (
    "abcdefghijklmnop",
    "interface name is too long; interface name should be less than 16 characters",
);
const SLASH: (&str, &str) = (
    "a/b",
    "interface name contains / or : or whitespace characters",
);

#[track_caller]
fn refuses_names(rig: &Rig, names: &[&str]) {
    let pod = rig.pod("c1");
    for name in names {
        demand::error(super::call(rig, "ADD", &pod).ifname(name).run());
    }
}

fn ifname_too_long(rig: &Rig) {
    refuses_names(rig, &[TOO_LONG.0]);
}

fn ifname_bytes(rig: &Rig) {
    refuses_names(rig, &["éééééééé"]);
}

fn ifname_dots(rig: &Rig) {
    refuses_names(rig, &DOTS.map(|(name, _)| name));
}

fn ifname_slash(rig: &Rig) {
    refuses_names(rig, &[SLASH.0, "/", "../../x"]);
}

fn ifname_colon(rig: &Rig) {
    refuses_names(rig, &["eth0:1"]);
}

fn ifname_blank(rig: &Rig) {
    refuses_names(rig, &["a b", "eth0\n", "\ta", "a\u{a0}b", "a\u{2003}b"]);
}

fn ifname_code(rig: &Rig) {
    let pod = rig.pod("c1");
    for (name, _) in [TOO_LONG, SLASH].into_iter().chain(DOTS) {
        demand::error_with(4, super::call(rig, "ADD", &pod).ifname(name).run());
    }
}

fn ifname_in_check_and_del(rig: &Rig) {
    let pod = rig.pod("c1");
    for verb in others(rig) {
        for (name, _) in [TOO_LONG, SLASH] {
            demand::error_with(4, super::call(rig, verb, &pod).ifname(name).run());
        }
    }
}

fn ifname_text(rig: &Rig) {
    let pod = rig.pod("c1");
    for (name, text) in [TOO_LONG, SLASH].into_iter().chain(DOTS) {
        demand::error(super::call(rig, "ADD", &pod).ifname(name).run()).says(text);
    }
}

#[track_caller]
fn uses_name(rig: &Rig, name: &str) {
    let pod = rig.pod("c1");
    let added = super::call(rig, "ADD", &pod).ifname(name).run();
    demand::result(&added);
    let names = pod.container.link_names();
    assert!(
        names.iter().any(|link| link == name),
        "the container has the links {names:?}, but not {name}\n{}",
        added.report()
    );
    let del = rig.call("DEL", &pod.container, &added.with_prev());
    demand::success(del.ifname(name).run());
}

fn ifname_of_15(rig: &Rig) {
    uses_name(rig, "abcdefghijklmno");
}

fn ifname_other(rig: &Rig) {
    uses_name(rig, "net1");
}

fn malformed_changes_nothing(rig: &Rig) {
    let pod = rig.pod("c1");
    let call = || super::call(rig, "ADD", &pod);
    for call in [
        call().ifname(SLASH.0),
        call().ifname(TOO_LONG.0),
        call().id("a/b"),
    ] {
        rig.unchanged(|| demand::error(call.run()));
    }
}
