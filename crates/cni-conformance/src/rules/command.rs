//! `CNI_COMMAND`: missing, unknown and misspelt.

use crate::demand;
use crate::rig::Rig;
use crate::rule::{Rule, must, runtime, should};

const PARAMETERS: &str = "spec 2: Parameters";
const LIBRARY: &str = "library: skel";

pub(crate) const RULES: &[Rule] = &[
    should("command.missing-succeeds", LIBRARY, "Without CNI_COMMAND the plugin exits with status 0", missing_succeeds)
        .advice("print what the plugin is to standard error, and exit with 0: people run plugins by hand")
        .detached(),
    should("command.missing-is-silent", LIBRARY, "Without CNI_COMMAND nothing is on standard output", missing_is_silent)
        .detached(),
    should("command.missing-names-plugin", LIBRARY, "Without CNI_COMMAND standard error begins with CNI NAME plugin VERSION", missing_names_plugin)
        .advice("print \"CNI NAME plugin VERSION\": package managers and node checks read the version there")
        .detached(),
    should("command.missing-lists-versions", LIBRARY, "Without CNI_COMMAND standard error lists the supported versions of the specification", missing_lists_versions)
        .detached(),
    should("command.missing-checks-nothing", LIBRARY, "Without CNI_COMMAND other variables and the input are ignored", missing_checks_nothing)
        .detached(),
    should("command.empty-is-missing", LIBRARY, "An empty CNI_COMMAND is treated like a missing one", empty_is_missing)
        .detached(),
    must("command.unknown-is-refused", "spec 5: Error", "An unknown CNI_COMMAND is refused with code 4", unknown_is_refused)
        .advice("answer {\"code\": 4, \"msg\": …} and a non-zero exit status to every verb that the plugin does not know")
        .detached(),
    runtime("command.unknown-text", "libcni: version probing", "The error for an unknown verb is \"unknown CNI_COMMAND: VERB\"", unknown_text)
        .advice("use exactly this message: by it, runtimes tell a plugin without the verb from one that failed")
        .detached(),
    must("command.is-case-sensitive", PARAMETERS, "A verb in lower case is unknown", is_case_sensitive)
        .detached(),
    must("command.white-space", PARAMETERS, "A verb with white space around it is unknown", is_whole)
        .detached(),
    should("command.unknown-needs-no-variables", LIBRARY, "An unknown verb requires no other variables", unknown_needs_no_variables)
        .detached(),
    should("command.unknown-reads-input-first", LIBRARY, "Invalid input of an unknown verb is reported as such, with code 6", unknown_reads_input_first)
        .detached(),
    should("command.not-utf8", LIBRARY, "A verb that is not UTF-8 is refused with code 4 in UTF-8", not_utf8)
        .detached(),
    should("command.unknown-changes-nothing", "library: skel", "An unknown verb changes nothing", unknown_changes_nothing)
        .detached(),
];

/// Input that no verb accepts.
const NO_CONFIG: &str = "{";

fn without_command(rig: &Rig) -> testkit::Invocation {
    let call = rig.plugin.command("").without_env("CNI_COMMAND");
    call.without_env("CNI_PATH").stdin(NO_CONFIG)
}

fn missing_succeeds(rig: &Rig) {
    demand::success(without_command(rig).run());
}

fn missing_is_silent(rig: &Rig) {
    demand::silence(&without_command(rig).run());
}

fn missing_names_plugin(rig: &Rig) {
    let run = without_command(rig).run();
    let hello = format!("CNI {} plugin ", rig.subject.plugin);
    let text = run.stderr_text();
    let line = text.lines().next().unwrap_or_default();
    assert!(
        line.strip_prefix(&hello)
            .is_some_and(|version| !version.is_empty()),
        "standard error does not begin with {hello:?} and a version\n{}",
        run.report()
    );
}

fn missing_lists_versions(rig: &Rig) {
    let run = without_command(rig).run();
    let text = run.stderr_text();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("CNI protocol versions supported: "));
    let listed: Vec<&str> = line.into_iter().flat_map(|list| list.split(", ")).collect();
    for version in &rig.subject.versions {
        assert!(
            listed.contains(&version.as_str()),
            "no line \"CNI protocol versions supported: \" with {version}\n{}",
            run.report()
        );
    }
}

fn missing_checks_nothing(rig: &Rig) {
    let call = without_command(rig)
        .id("../..")
        .ifname("a/b")
        .netns("/nowhere");
    demand::success(call.run());
}

fn empty_is_missing(rig: &Rig) {
    demand::success(without_command(rig).env("CNI_COMMAND", "").run());
}

fn unknown_is_refused(rig: &Rig) {
    let pod = rig.pod("c1");
    demand::error_with(4, super::call(rig, "PING", &pod).run());
}

fn unknown_text(rig: &Rig) {
    let pod = rig.pod("c1");
    let error = demand::error(super::call(rig, "PING", &pod).run());
    error.says("unknown CNI_COMMAND: PING");
}

#[track_caller]
fn refuses(rig: &Rig, verbs: &[&str]) {
    let pod = rig.pod("c1");
    for verb in verbs {
        demand::error(super::call(rig, verb, &pod).run());
    }
}

fn is_case_sensitive(rig: &Rig) {
    refuses(rig, &["add", "Del", "version"]);
}

fn is_whole(rig: &Rig) {
    refuses(rig, &["ADD ", " DEL", "VERSION\n"]);
}

fn unknown_needs_no_variables(rig: &Rig) {
    let call = rig.plugin.command("PING").without_env("CNI_PATH");
    let error = demand::error_with(4, call.config(&rig.config()).run());
    error.mentions("PING");
}

fn unknown_reads_input_first(rig: &Rig) {
    demand::error_with(6, rig.plugin.command("PING").stdin(NO_CONFIG).run());
}

fn not_utf8(rig: &Rig) {
    use std::os::unix::ffi::OsStrExt;
    let odd = std::ffi::OsStr::from_bytes(b"a\xff\xfe");
    let call = rig.plugin.command("").env("CNI_COMMAND", odd);
    demand::error_with(4, call.config(&rig.config()).run());
}

fn unknown_changes_nothing(rig: &Rig) {
    let pod = rig.pod("c1");
    rig.unchanged(|| demand::error(super::call(rig, "PING", &pod).run()));
}
