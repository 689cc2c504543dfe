//! Rules about the environment: required variables, identifiers, and calls without `CNI_COMMAND`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use testkit::{Invocation, Plugin, Run};

use super::Rig;
use crate::answer;

/// Variables that ADD and CHECK require, in the order in which they are checked and reported.
const ATTACHMENT: [(&str, &str); 4] = [
    ("CNI_CONTAINERID", "c1"),
    ("CNI_NETNS", "/run/netns/nowhere"),
    ("CNI_IFNAME", "eth0"),
    ("CNI_PATH", "/nowhere"),
];

/// Input that no verb accepts. If the error is about something else, the environment was checked first.
const NO_CONFIG: &str = "{";

fn call(plugin: &Plugin, verb: &str) -> Invocation {
    plugin
        .command(verb)
        .without_env("CNI_PATH")
        .stdin(NO_CONFIG)
}

/// Without `CNI_COMMAND` a plugin prints its name and versions on standard error, and succeeds.
#[track_caller]
pub fn without_a_command_the_plugin_prints_its_name_and_versions(rig: &Rig) {
    let hello = format!("CNI {} plugin ", rig.subject.plugin);
    let versions = format!(
        "CNI protocol versions supported: {}",
        rig.subject.versions.join(", ")
    );
    for call in [
        call(&rig.plugin, ""),
        call(&rig.plugin, "").without_env("CNI_COMMAND"),
    ] {
        let run = answer::silent(call.run());
        let text = run.stderr_text();
        let lines: Vec<&str> = text.split('\n').collect();
        assert!(
            lines.len() == 3
                && lines[0].len() > hello.len()
                && lines[0].starts_with(&hello)
                && lines[1] == versions
                && lines[2].is_empty(),
            "expected \"{hello}<version>\" and \"{versions}\"\n{}",
            run.report()
        );
    }
}

/// Without `CNI_COMMAND`, identifiers are not checked.
#[track_caller]
pub fn without_a_command_identifiers_are_not_checked(rig: &Rig) {
    answer::silent(call(&rig.plugin, "").id("../..").ifname("a/b").run());
}

/// The error lists all missing variables in a fixed order. Input is not read before.
#[track_caller]
pub fn missing_variables_are_listed(rig: &Rig) {
    for (verb, needed) in [
        ("ADD", vec![0, 1, 2, 3]),
        ("CHECK", vec![0, 1, 2, 3]),
        ("DEL", vec![0, 2, 3]),
        ("GC", vec![3]),
        ("STATUS", vec![3]),
    ] {
        if matches!(verb, "GC" | "STATUS") && !rig.subject.has_upkeep() {
            continue;
        }
        // Every combination of set and missing variables.
        for given in 0..1 << needed.len() {
            let mut unset = call(&rig.plugin, verb);
            let mut empty = call(&rig.plugin, verb);
            let mut missing = Vec::new();
            for (bit, &variable) in needed.iter().enumerate() {
                let (name, value) = ATTACHMENT[variable];
                if given & (1 << bit) == 0 {
                    missing.push(name);
                    empty = empty.env(name, "");
                } else {
                    unset = unset.env(name, value);
                    empty = empty.env(name, value);
                }
            }
            for call in [unset, empty] {
                if missing.is_empty() {
                    answer::refusal(call.run(), 6);
                    continue;
                }
                let error = answer::refusal(call.run(), 4);
                let expected = format!("required env variables [{}] missing", missing.join(","));
                assert_eq!(error.text(), expected, "{verb}");
            }
        }
    }
}

/// Container IDs with characters that the specification forbids are refused: plugins use the ID in file names.
#[track_caller]
pub fn malformed_container_ids_are_refused(rig: &Rig) {
    for id in [
        "-a", ".a", "_a", "a b", "a/b", "../a", "a\n", "a:b", "é", "a;b",
    ] {
        for verb in ["ADD", "CHECK", "DEL"] {
            // The ID is checked first: neither missing variables nor the interface name are reported.
            for call in [
                call(&rig.plugin, verb).id(id),
                call(&rig.plugin, verb).id(id).ifname("a/b"),
                complete(&rig.plugin, verb).id(id),
            ] {
                let error = answer::refusal(call.run(), 4);
                assert_eq!(
                    (error.msg.as_str(), error.details.as_str()),
                    ("invalid characters in containerID", id)
                );
            }
        }
    }
}

/// Interface names that the kernel does not accept are refused.
#[track_caller]
pub fn malformed_interface_names_are_refused(rig: &Rig) {
    let too_long = "interface name is too long; interface name should be less than 16 characters";
    let characters = "interface name contains / or : or whitespace characters";
    for (name, text) in [
        ("abcdefghijklmnop", too_long),
        ("\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}", too_long),
        (".", "interface name is . or .."),
        ("..", "interface name is . or .."),
        ("a/b", characters),
        ("/", characters),
        ("../../../x", characters),
        ("eth0:1", characters),
        ("a b", characters),
        ("eth0\n", characters),
        ("\ta", characters),
        ("a\u{a0}b", characters),
        ("a\u{2003}b", characters),
    ] {
        for verb in ["ADD", "CHECK", "DEL"] {
            for call in [
                call(&rig.plugin, verb).ifname(name),
                complete(&rig.plugin, verb).ifname(name),
            ] {
                assert_eq!(
                    answer::refusal(call.run(), 4).text(),
                    text,
                    "{verb} {name:?}"
                );
            }
        }
    }
}

/// Values of variables that are not UTF-8 never lead to output that is not UTF-8.
#[track_caller]
pub fn bytes_that_are_not_utf8_are_handled(rig: &Rig) {
    let odd = OsStr::from_bytes(b"a\xff\xfe");
    let container = rig.host.container("c1");
    let config = rig.config();
    for verb in ["ADD", "CHECK", "DEL"] {
        let id = rig
            .call(verb, &container, &config)
            .env("CNI_CONTAINERID", odd);
        let error = answer::refusal(id.run(), 4);
        assert_eq!(error.msg, "invalid characters in containerID");
        for variable in [
            "CNI_NETNS",
            "CNI_IFNAME",
            "CNI_ARGS",
            "CNI_PATH",
            "CNI_NETNS_OVERRIDE",
        ] {
            let run = rig.call(verb, &container, &config).env(variable, odd).run();
            assert_is_orderly(&run);
        }
    }
    let command = rig.call("", &container, &config).env("CNI_COMMAND", odd);
    let error = answer::refusal(command.run(), 4);
    assert!(
        error.msg.starts_with("unknown CNI_COMMAND: a"),
        "{}",
        error.msg
    );
}

/// GC and STATUS do not check the variables of an attachment.
#[track_caller]
pub fn gc_and_status_ignore_identifiers(rig: &Rig) {
    if !rig.subject.has_upkeep() {
        return;
    }
    for verb in ["GC", "STATUS"] {
        let call = rig
            .plugin
            .command(verb)
            .id("../..")
            .ifname("a/b")
            .netns("/nowhere");
        answer::silent(call.config(&rig.config()).run());
    }
}

/// Demands either success or an error object, both in UTF-8.
#[track_caller]
fn assert_is_orderly(run: &Run) {
    assert!(
        std::str::from_utf8(&run.stdout).is_ok(),
        "not UTF-8\n{}",
        run.report()
    );
    if !run.is_ok() {
        answer::failure(run.clone());
    }
}

/// A call with every variable of an attachment set.
fn complete(plugin: &Plugin, verb: &str) -> Invocation {
    ATTACHMENT
        .iter()
        .fold(call(plugin, verb), |call, (name, value)| {
            call.env(name, value)
        })
}
