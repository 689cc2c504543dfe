//! The keys `name` and `type`, and values of wrong types.

use serde_json::{Value, json};
use testkit::Run;

use super::support::del;
use crate::demand;
use crate::rig::Rig;
use crate::rule::{Only, Rule, must, runtime, should};
use crate::subject::Class;
use crate::worker::not_applicable;

const CODES: &str = "spec 5: Error";
const NAMES: &str = "spec 1: Configuration format";
const LIBRARY: &str = "library: skel";
const MISSING: &str = "answer code 7, \"invalid network config\", to a configuration without name";
const SAFE: &str = "refuse it with code 7 before it becomes part of a path";

pub(crate) const RULES: &[Rule] = &[
    must(
        "config.name-missing",
        CODES,
        "ADD refuses a configuration without name with code 7",
        name_missing,
    )
    .advice(MISSING)
    .detached(),
    must(
        "config.name-empty",
        CODES,
        "ADD refuses an empty name with code 7",
        name_empty,
    )
    .advice(MISSING)
    .detached(),
    should(
        "config.name-null",
        LIBRARY,
        "A name that is null counts as missing",
        name_null,
    )
    .advice(MISSING)
    .detached(),
    should(
        "config.null",
        LIBRARY,
        "A configuration that is null counts as one without name",
        null,
    )
    .advice(MISSING)
    .detached(),
    must(
        "config.name-type",
        CODES,
        "ADD refuses a name that is not a string",
        name_type,
    )
    .detached(),
    should(
        "config.name-path",
        NAMES,
        "A name with a slash is refused with code 7",
        name_path,
    )
    .advice(SAFE)
    .detached(),
    should(
        "config.name-first-character",
        NAMES,
        "A name that begins with -, . or _ is refused with code 7",
        name_first_character,
    )
    .advice(SAFE)
    .detached(),
    should(
        "config.name-blank",
        NAMES,
        "A name with white space is refused with code 7",
        name_blank,
    )
    .advice(SAFE)
    .detached(),
    should(
        "config.name-not-ascii",
        NAMES,
        "A name with letters beyond ASCII is refused with code 7",
        name_not_ascii,
    )
    .advice(SAFE)
    .detached(),
    should(
        "config.name-text",
        LIBRARY,
        "The errors for names have the library's texts",
        name_text,
    )
    .detached(),
    should(
        "config.name-in-del",
        LIBRARY,
        "DEL refuses a missing or malformed name with code 7",
        name_in_del,
    )
    .detached(),
    should(
        "config.name-in-check",
        LIBRARY,
        "CHECK refuses a missing or malformed name with code 7",
        name_in_check,
    )
    .only(&[Only::Since("0.4.0")])
    .detached(),
    should(
        "config.name-in-gc",
        LIBRARY,
        "GC refuses a missing or malformed name with code 7",
        name_in_gc,
    )
    .only(&[Only::Since("1.1.0")])
    .advice("GC of another network than the intended one deletes living attachments")
    .detached(),
    should(
        "config.name-in-status",
        LIBRARY,
        "STATUS refuses a missing or malformed name with code 7",
        name_in_status,
    )
    .only(&[Only::Since("1.1.0")])
    .detached(),
    must(
        "config.name-characters",
        NAMES,
        "All characters that a name may have are accepted",
        name_characters,
    ),
    runtime(
        "config.name-of-100",
        "Podman, Nomad: names of networks",
        "A name of 100 characters is accepted",
        name_of_100,
    ),
    should(
        "config.refused-changes-nothing",
        "library: skel",
        "A configuration with a malformed name changes nothing",
        refused_changes_nothing,
    )
    .detached(),
    must(
        "config.ipam-type",
        CODES,
        "ADD refuses the key ipam if it is not an object",
        ipam_type,
    )
    .only(&[
        Only::Classes(&[Class::Main, Class::Ipam]),
        Only::Except(&["loopback"]),
    ]),
    must(
        "config.dns-type",
        CODES,
        "ADD refuses, or ignores, the key dns if it is not an object, and does not crash",
        dns_type,
    ),
    must(
        "config.args-type",
        CODES,
        "ADD refuses, or ignores, the key args if it is not an object, and does not crash",
        args_type,
    ),
    must(
        "config.runtime-config-type",
        CODES,
        "ADD refuses, or ignores, the key runtimeConfig if it is not an object, and does not crash",
        runtime_config_type,
    ),
    must(
        "config.refused-leaves-nothing",
        "spec 2: Overview",
        "An ADD that fails for a wrong type leaves nothing behind after DEL",
        refused_leaves_nothing,
    )
    .only(&[Only::Netns]),
];

/// Runs a verb with a name, which need not be a string; `None` for none.
fn named(rig: &Rig, verb: &str, name: Option<&Value>) -> Run {
    let pod = rig.pod(&format!("c{}", verb.to_lowercase()));
    let mut config = pod.config(rig);
    match (name, config.as_object_mut()) {
        (None, Some(members)) => drop(members.remove("name")),
        (Some(name), _) => config["name"] = name.clone(),
        _ => {}
    }
    let run = rig.call(verb, &pod.container, &config).run();
    // The next container may have the same name.
    drop(pod);
    run
}

#[track_caller]
fn refuses(rig: &Rig, verb: &str, names: &[&str]) {
    for name in names {
        demand::error_with(7, named(rig, verb, Some(&json!(name))));
    }
}

fn name_missing(rig: &Rig) {
    demand::error_with(7, named(rig, "ADD", None));
}

fn name_empty(rig: &Rig) {
    refuses(rig, "ADD", &[""]);
}

fn name_null(rig: &Rig) {
    demand::error_with(7, named(rig, "ADD", Some(&Value::Null)));
}

fn null(rig: &Rig) {
    let pod = rig.pod("c1");
    demand::error_with(7, rig.add(&pod.container, &Value::Null));
}

fn name_type(rig: &Rig) {
    for name in [json!(7), json!(["net"]), json!({}), json!(true)] {
        demand::error(named(rig, "ADD", Some(&name)));
    }
}

fn name_path(rig: &Rig) {
    refuses(rig, "ADD", &["a/b", "../etc", "/"]);
}

fn name_first_character(rig: &Rig) {
    refuses(rig, "ADD", &["-net", ".net", "_net"]);
}

fn name_blank(rig: &Rig) {
    refuses(rig, "ADD", &["a net", "net\n", " "]);
}

fn name_not_ascii(rig: &Rig) {
    refuses(rig, "ADD", &["né", "a\u{661}"]);
}

fn name_text(rig: &Rig) {
    demand::error(named(rig, "ADD", None)).says("missing network name");
    let error = demand::error(named(rig, "ADD", Some(&json!("a/b"))));
    error.says("invalid characters found in network name; a/b");
}

#[track_caller]
fn refuses_in(rig: &Rig, verb: &str) {
    demand::error_with(7, named(rig, verb, None));
    refuses(rig, verb, &["", "../etc", "a net"]);
}

fn name_in_del(rig: &Rig) {
    refuses_in(rig, "DEL");
}

fn name_in_check(rig: &Rig) {
    refuses_in(rig, "CHECK");
}

fn name_in_gc(rig: &Rig) {
    refuses_in(rig, "GC");
}

fn name_in_status(rig: &Rig) {
    refuses_in(rig, "STATUS");
}

#[track_caller]
fn accepts(rig: &Rig, name: &str) {
    let pod = rig.pod("c1");
    let mut config = pod.config(rig);
    config["name"] = json!(name);
    del(rig, &rig.attach_pod(pod, config));
}

fn name_characters(rig: &Rig) {
    accepts(rig, "0aZ9_.-x-._");
}

fn name_of_100(rig: &Rig) {
    accepts(rig, &"net-0_X.yz".repeat(10));
}

fn refused_changes_nothing(rig: &Rig) {
    let pod = rig.pod("c1");
    for name in ["", "../etc", "a net"] {
        let mut config = pod.config(rig);
        config["name"] = json!(name);
        rig.unchanged(|| {
            // Whether it is refused is another rule.
            if rig.add(&pod.container, &config).is_ok() {
                not_applicable("the plugin accepts such names");
            }
        });
    }
}

/// The configuration with a key of the wrong type.
fn mistyped(rig: &Rig, key: &str) -> impl Iterator<Item = (Value, crate::rig::Pod)> {
    let values = [json!(7), json!("text"), json!([1])];
    values.into_iter().enumerate().map(move |(number, value)| {
        let pod = rig.pod(&format!("c{number}"));
        let mut config = pod.config(rig);
        config[key] = value;
        (config, pod)
    })
}

fn ipam_type(rig: &Rig) {
    if rig.subject.config.get("ipam").is_none() {
        not_applicable("the configuration has no IPAM plugin");
    }
    for (config, pod) in mistyped(rig, "ipam") {
        demand::error(rig.add(&pod.container, &config));
    }
}

#[track_caller]
fn is_orderly(rig: &Rig, key: &str) {
    for (config, pod) in mistyped(rig, key) {
        demand::orderly(rig.add(&pod.container, &config));
        demand::orderly(rig.del(&pod.container, &config));
        demand::orderly(super::call(rig, "DEL", &pod).run());
    }
}

fn dns_type(rig: &Rig) {
    is_orderly(rig, "dns");
}

fn args_type(rig: &Rig) {
    is_orderly(rig, "args");
}

fn runtime_config_type(rig: &Rig) {
    is_orderly(rig, "runtimeConfig");
}

fn refused_leaves_nothing(rig: &Rig) {
    rig.warmed_up();
    let keys = ["ipam", "dns", "args", "runtimeConfig"];
    let pods = keys.map(|key| (key, rig.pod(&key.to_lowercase())));
    let before = rig.state();
    for (key, pod) in &pods {
        let mut config = pod.config(rig);
        config[*key] = json!("text");
        rig.add(&pod.container, &config);
        // As runtimes do after a failure.
        demand::success(super::call(rig, "DEL", pod).run());
        rig.assert_back(&before);
    }
}
