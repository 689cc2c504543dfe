//! Versions of the specification: VERSION, versions that are refused, and the verbs of each version.

use serde_json::{Value, json};
use testkit::Run;

use super::support;
use crate::demand;
use crate::rig::Rig;
use crate::rule::{Only, Rule, must, runtime, should};
use crate::subject::Class;
use crate::version::{VERSIONS, ordinal};

const VERSION: &str = "spec 2: VERSION";
const CONFIG: &str = "spec 1: Configuration format";
const ERROR: &str = "spec 5: Error";
const LIBRARY: &str = "library: skel";
const REFUSE: &str =
    "answer code 1 to a cniVersion that VERSION does not list, before anything is changed";

pub(crate) const RULES: &[Rule] = &[
    must("versions.answer", VERSION, "VERSION prints one JSON object, and nothing else", answer).detached(),
    must("versions.supported", VERSION, "The answer to VERSION has a list supportedVersions that is not empty", supported)
        .advice("runtimes take a plugin without this list for one of version 0.1.0").detached(),
    must("versions.supported-are-versions", VERSION, "Each supported version consists of three numbers", supported_are_versions).detached(),
    should("versions.supported-once", VERSION, "No supported version is listed twice", supported_once).detached(),
    must("versions.answer-version", VERSION, "The answer to VERSION has a cniVersion", answer_version).detached(),
    must("versions.needs-no-variables", VERSION, "VERSION requires no variable but CNI_COMMAND", needs_no_variables).detached(),
    runtime("versions.dummy-variables", "libcni: version probing", "VERSION accepts the word dummy in all variables", dummy_variables).detached(),
    should("versions.malformed-variables", LIBRARY, "VERSION ignores malformed container IDs and interface names", malformed_variables).detached(),
    should("versions.without-input", LIBRARY, "VERSION is answered without input", without_input).detached(),
    should("versions.any-input", LIBRARY, "VERSION is answered whatever the input", any_input).detached(),
    must("versions.newer-than-plugin", VERSION, "VERSION is answered if the cniVersion of the input is newer than all that the plugin supports", newer_than_plugin).detached(),
    must("versions.changes-nothing", VERSION, "VERSION changes nothing", changes_nothing).detached(),
    should("versions.one-line", LIBRARY, "The answer to VERSION is one line", one_line).detached(),
    runtime("versions.current-runtimes", "containerd, CRI-O, Podman: their configurations", "The plugin supports one of the versions 0.3.1, 0.4.0 and 1.0.0", current_runtimes).detached(),
    must("versions.unsupported-add", ERROR, "ADD refuses a version that the plugin does not support with code 1", unsupported_add).advice(REFUSE).detached(),
    must("versions.unsupported-del", ERROR, "DEL refuses a version that the plugin does not support with code 1", unsupported_del).advice(REFUSE).detached(),
    must("versions.unsupported-check", ERROR, "CHECK refuses a version that the plugin does not support with code 1", unsupported_check)
        .only(&[Only::Since("0.4.0")]).advice(REFUSE).detached(),
    must("versions.future", ERROR, "ADD refuses version 2.0.0 with code 1", future).advice(REFUSE).detached(),
    must("versions.malformed", ERROR, "ADD refuses what is not a version", malformed).advice(REFUSE).detached(),
    must("versions.exact", CONFIG, "ADD refuses other spellings of a supported version", exact).advice(REFUSE).detached(),
    must("versions.type", ERROR, "ADD refuses a cniVersion that is not a string", of_type).detached(),
    should("versions.text", LIBRARY, "The error for a version is \"incompatible CNI versions\"", text).detached(),
    should("versions.details", LIBRARY, "The details of the error for a version list what the plugin supports", details).detached(),
    should("versions.refused-changes-nothing", "library: skel", "An ADD in a version that is refused changes nothing", refused_changes_nothing).detached(),
    runtime("versions.missing", "libcni: configurations without version", "A configuration without cniVersion has version 0.1.0", missing)
        .only(&[Only::Until("0.1.0"), Only::Classes(&[Class::Main, Class::Ipam])]),
    runtime("versions.empty", "libcni: configurations without version", "An empty cniVersion means 0.1.0", empty)
        .only(&[Only::Until("0.1.0"), Only::Classes(&[Class::Main, Class::Ipam])]),
    should("versions.check-before-0.4.0", "spec 0.4.0", "CHECK is refused in versions before 0.4.0 with code 1", check_before)
        .only(&[Only::Since("0.4.0"), Only::Until("0.3.1")]).detached(),
    should("versions.gc-before-1.1.0", "spec 1.1.0", "GC is refused in versions before 1.1.0 with code 1", gc_before)
        .only(&[Only::Since("1.1.0"), Only::Until("1.0.0")]).detached(),
    should("versions.status-before-1.1.0", "spec 1.1.0", "STATUS is refused in versions before 1.1.0 with code 1", status_before)
        .only(&[Only::Since("1.1.0"), Only::Until("1.0.0")]).detached(),
    should("versions.before-text", LIBRARY, "The error for a verb that a version does not have is \"config version does not allow VERB\"", before_text)
        .only(&[Only::Since("0.4.0"), Only::Until("0.3.1")]).detached(),
    must("versions.add", CONFIG, "ADD succeeds in every supported version", add),
    must("versions.del", CONFIG, "DEL succeeds in every supported version", del),
    must("versions.check", CONFIG, "CHECK succeeds in every supported version from 0.4.0 on", check).only(&[Only::Since("0.4.0")]),
    runtime("versions.del-in-newest", "operators: configurations are upgraded", "DEL in the newest version deletes what ADD in the oldest has added", del_in_newest),
    must(
        "versions.of-result",
        "spec 5: Success",
        "The cniVersion of a result is that of the configuration, in every version",
        of_result,
    )
    .advice("convert the result to the version of the configuration before it is printed"),
];

fn ask(rig: &Rig) -> Run {
    rig.plugin.version()
}

fn answer(rig: &Rig) {
    demand::result(&ask(rig));
}

fn listed(rig: &Rig) -> Vec<Value> {
    let run = ask(rig);
    let answer = demand::result(&run);
    let list = answer["supportedVersions"]
        .as_array()
        .filter(|list| !list.is_empty());
    let list = list.unwrap_or_else(|| panic!("no supportedVersions: {answer}\n{}", run.report()));
    list.clone()
}

fn supported(rig: &Rig) {
    listed(rig);
}

fn supported_are_versions(rig: &Rig) {
    for version in listed(rig) {
        let parts: Vec<&str> = version.as_str().unwrap_or_default().split('.').collect();
        let is_number = |part: &&str| part.parse::<u32>().is_ok();
        assert!(
            parts.len() == 3 && parts.iter().all(is_number),
            "{version} is not a version"
        );
    }
}

fn supported_once(rig: &Rig) {
    let list = listed(rig);
    for (at, version) in list.iter().enumerate() {
        assert!(
            !list[at + 1..].contains(version),
            "{version} is listed twice"
        );
    }
}

fn answer_version(rig: &Rig) {
    let run = ask(rig);
    let answer = demand::result(&run);
    assert!(
        answer["cniVersion"].is_string(),
        "no cniVersion: {answer}\n{}",
        run.report()
    );
}

/// Demands the same answer as without anything odd.
#[track_caller]
fn is_answer(rig: &Rig, run: Run) {
    let answer = demand::result(&run);
    let list = &answer["supportedVersions"];
    assert!(
        *list == Value::from(listed(rig)),
        "another answer: {answer}\n{}",
        run.report()
    );
}

const INPUT: &str = r#"{"cniVersion":"1.1.0"}"#;

fn needs_no_variables(rig: &Rig) {
    let call = rig
        .plugin
        .command("VERSION")
        .without_env("CNI_PATH")
        .without_env("PATH");
    is_answer(rig, call.stdin(INPUT).run());
}

fn dummy_variables(rig: &Rig) {
    let call = rig
        .plugin
        .command("VERSION")
        .path("dummy")
        .netns("dummy")
        .ifname("dummy");
    is_answer(rig, call.id("").args("").stdin(INPUT).run());
}

fn malformed_variables(rig: &Rig) {
    let call = rig
        .plugin
        .command("VERSION")
        .id("../..")
        .ifname("a/b")
        .args("nonsense");
    is_answer(rig, call.stdin(INPUT).run());
}

fn without_input(rig: &Rig) {
    is_answer(rig, rig.plugin.command("VERSION").run());
}

fn any_input(rig: &Rig) {
    for input in ["{", "\0", "[]", r#"{"cniVersion":7}"#] {
        is_answer(rig, rig.plugin.command("VERSION").stdin(input).run());
    }
}

fn newer_than_plugin(rig: &Rig) {
    let call = rig
        .plugin
        .command("VERSION")
        .stdin(r#"{"cniVersion":"9.9.9"}"#);
    is_answer(rig, call.run());
}

fn changes_nothing(rig: &Rig) {
    rig.unchanged(|| demand::success(ask(rig)));
}

fn one_line(rig: &Rig) {
    let run = ask(rig);
    let text = run.stdout_text();
    assert!(
        text.lines().count() == 1 && text.ends_with('\n'),
        "not one line\n{}",
        run.report()
    );
}

fn current_runtimes(rig: &Rig) {
    let list = listed(rig);
    let wanted = ["0.3.1", "0.4.0", "1.0.0"];
    assert!(
        list.iter()
            .any(|version| wanted.iter().any(|wanted| version == wanted)),
        "the plugin supports only {}",
        Value::from(list)
    );
}

/// Versions that the plugin does not list.
fn unsupported(rig: &Rig) -> Vec<String> {
    let list = listed(rig);
    let others = VERSIONS.into_iter().chain(["0.5.0", "1.2.0"]);
    let others = others.filter(|version| !list.iter().any(|listed| listed == version));
    others.map(String::from).collect()
}

/// Runs a verb in a version, which need not be one.
fn run_in(rig: &Rig, verb: &str, version: &Value) -> Run {
    let pod = rig.pod("c1");
    let mut config = pod.config(rig);
    config["cniVersion"] = version.clone();
    let run = rig.call(verb, &pod.container, &config).run();
    drop(pod);
    run
}

fn unsupported_add(rig: &Rig) {
    for version in unsupported(rig) {
        demand::error_with(1, run_in(rig, "ADD", &json!(version)));
    }
}

fn unsupported_del(rig: &Rig) {
    for version in unsupported(rig) {
        demand::error_with(1, run_in(rig, "DEL", &json!(version)));
    }
}

fn unsupported_check(rig: &Rig) {
    for version in unsupported(rig) {
        demand::error_with(1, run_in(rig, "CHECK", &json!(version)));
    }
}

fn future(rig: &Rig) {
    for version in ["2.0.0", "10.0.0"] {
        demand::error_with(1, run_in(rig, "ADD", &json!(version)));
    }
}

fn malformed(rig: &Rig) {
    for version in ["x", "1.x.0", "1.0.0.0", "-1.0.0", "latest", "\u{661}.0.0"] {
        demand::error(run_in(rig, "ADD", &json!(version)));
    }
}

fn exact(rig: &Rig) {
    let newest = rig.newest();
    let short = newest.rsplit_once('.').map_or("1", |(short, _)| short);
    for version in [
        short.to_owned(),
        format!("v{newest}"),
        format!("{newest} "),
        format!("{newest}-rc1"),
    ] {
        demand::error(run_in(rig, "ADD", &json!(version)));
    }
}

fn of_type(rig: &Rig) {
    for version in [
        json!(1),
        json!(1.0),
        json!(["1.0.0"]),
        json!({}),
        json!(true),
    ] {
        demand::error(run_in(rig, "ADD", &version));
    }
}

fn text(rig: &Rig) {
    let error = demand::error(run_in(rig, "ADD", &json!("1.99.0")));
    assert!(
        error.msg == "incompatible CNI versions",
        "the message is {:?}",
        error.msg
    );
}

fn details(rig: &Rig) {
    let error = demand::error(run_in(rig, "ADD", &json!("1.99.0")));
    for version in listed(rig) {
        assert!(
            error.details.contains(version.as_str().unwrap_or_default()),
            "no {version} in the details {:?}",
            error.details
        );
    }
}

fn refused_changes_nothing(rig: &Rig) {
    let pod = rig.pod("c1");
    for version in ["1.99.0", "x"] {
        let mut config = pod.config(rig);
        config["cniVersion"] = json!(version);
        rig.unchanged(|| demand::error(rig.add(&pod.container, &config)));
    }
}

/// ADD with this version, or without one, prints a result of version 0.1.0.
#[track_caller]
fn means_the_oldest(rig: &Rig, version: Option<&str>) {
    let pod = rig.pod("c1");
    let mut config = pod.config_in(rig, "0.1.0");
    if let Some(members) = config.as_object_mut() {
        members.remove("cniVersion");
    }
    if let Some(version) = version {
        config["cniVersion"] = json!(version);
    }
    let run = rig.add(&pod.container, &config);
    let result = demand::result(&run);
    let version = result["cniVersion"].as_str().unwrap_or("0.1.0");
    assert!(
        version == "0.1.0",
        "the result has version {version}\n{}",
        run.report()
    );
    for key in ["ips", "interfaces"] {
        assert!(
            result.get(key).is_none(),
            "the result has {key}\n{}",
            run.report()
        );
    }
}

fn missing(rig: &Rig) {
    means_the_oldest(rig, None);
}

fn empty(rig: &Rig) {
    means_the_oldest(rig, Some(""));
}

/// A verb is refused with code 1 in the supported versions before `since`.
#[track_caller]
fn refused_before(rig: &Rig, verb: &str, since: &str) {
    for version in rig.versions_from("0.1.0") {
        if ordinal(version) < ordinal(since) {
            demand::error_with(1, run_in(rig, verb, &json!(version)));
        }
    }
}

fn check_before(rig: &Rig) {
    refused_before(rig, "CHECK", "0.4.0");
}

fn gc_before(rig: &Rig) {
    refused_before(rig, "GC", "1.1.0");
}

fn status_before(rig: &Rig) {
    refused_before(rig, "STATUS", "1.1.0");
}

fn before_text(rig: &Rig) {
    let oldest = rig.versions_from("0.1.0").next().unwrap_or_default();
    let error = demand::error(run_in(rig, "CHECK", &json!(oldest)));
    error.says("config version does not allow CHECK");
}

fn add(rig: &Rig) {
    for version in rig.attaching_versions() {
        let attached = rig.attach_in("c1", version);
        support::call(rig, "DEL", &attached).run();
    }
}

fn del(rig: &Rig) {
    for version in rig.attaching_versions() {
        let attached = rig.attach_in("c1", version);
        support::del(rig, &attached);
    }
}

fn check(rig: &Rig) {
    for version in rig.versions_from("0.4.0") {
        let attached = rig.attach_in("c1", version);
        support::passes(rig, &attached);
        support::call(rig, "DEL", &attached).run();
    }
}

fn del_in_newest(rig: &Rig) {
    rig.warmed_up();
    let oldest = rig.attaching_versions().next().unwrap_or_default();
    let pod = rig.pod("c1");
    let before = rig.state();
    demand::result(&rig.add(&pod.container, &pod.config_in(rig, oldest)));
    demand::success(rig.del(&pod.container, &pod.config(rig)));
    rig.assert_back(&before);
}

fn of_result(rig: &Rig) {
    for version in rig.attaching_versions() {
        let attached = rig.attach_in("c1", version);
        assert!(
            attached.result["cniVersion"] == version,
            "version {} instead of {version}\n{}",
            attached.result["cniVersion"],
            attached.run.report()
        );
        support::call(rig, "DEL", &attached).run();
    }
}
