//! Variables that a verb requires: missing, empty, and more than needed.

use testkit::{Invocation, Run};

use super::support::{add_and_del, call};
use crate::demand;
use crate::rig::Rig;
use crate::rule::{Only, Rule, must, runtime, should};

const PARAMETERS: &str = "spec 2: Parameters";
const CODES: &str = "spec 5: Error";
const LIBRARY: &str = "library: skel";
const ADVICE: &str = "check the variables before anything else, and answer code 4";
const CHECK: &[Only] = &[Only::Since("0.4.0")];
const GC: &[Only] = &[Only::Since("1.1.0")];

pub(crate) const RULES: &[Rule] = &[
    must(
        "variables.add-container-id",
        PARAMETERS,
        "ADD without CNI_CONTAINERID is refused with code 4",
        add_container_id,
    )
    .advice(ADVICE)
    .detached(),
    must(
        "variables.add-netns",
        PARAMETERS,
        "ADD without CNI_NETNS is refused with code 4",
        add_netns,
    )
    .advice(ADVICE)
    .detached(),
    must(
        "variables.add-ifname",
        PARAMETERS,
        "ADD without CNI_IFNAME is refused with code 4",
        add_ifname,
    )
    .advice(ADVICE)
    .detached(),
    must(
        "variables.del-container-id",
        PARAMETERS,
        "DEL without CNI_CONTAINERID is refused with code 4",
        del_container_id,
    )
    .advice(ADVICE)
    .detached(),
    must(
        "variables.del-ifname",
        PARAMETERS,
        "DEL without CNI_IFNAME is refused with code 4",
        del_ifname,
    )
    .advice(ADVICE)
    .detached(),
    must(
        "variables.check-container-id",
        PARAMETERS,
        "CHECK without CNI_CONTAINERID is refused with code 4",
        check_container_id,
    )
    .only(CHECK)
    .advice(ADVICE),
    must(
        "variables.check-netns",
        PARAMETERS,
        "CHECK without CNI_NETNS is refused with code 4",
        check_netns,
    )
    .only(CHECK)
    .advice(ADVICE),
    must(
        "variables.check-ifname",
        PARAMETERS,
        "CHECK without CNI_IFNAME is refused with code 4",
        check_ifname,
    )
    .only(CHECK)
    .advice(ADVICE),
    must(
        "variables.gc-path",
        PARAMETERS,
        "GC without CNI_PATH is refused with code 4",
        gc_path,
    )
    .only(GC)
    .advice("GC has to call delegates, and CNI_PATH says where they are")
    .detached(),
    should(
        "variables.add-path",
        LIBRARY,
        "ADD without CNI_PATH is refused with code 4",
        add_path,
    )
    .detached(),
    should(
        "variables.status-path",
        LIBRARY,
        "STATUS without CNI_PATH is refused with code 4",
        status_path,
    )
    .only(GC)
    .detached(),
    runtime(
        "variables.empty-is-missing",
        "libcni: environment of plugins",
        "An empty variable is treated like a missing one",
        empty_is_missing,
    )
    .advice("runtimes set all six variables, and leave empty what they do not know")
    .detached(),
    must(
        "variables.name-in-error",
        CODES,
        "The error for a missing variable contains its name",
        name_in_error,
    )
    .advice("code 4: the message must contain the names of invalid variables")
    .detached(),
    must(
        "variables.all-names-in-error",
        CODES,
        "The error for several missing variables contains the names of all",
        all_names_in_error,
    )
    .detached(),
    should(
        "variables.text",
        LIBRARY,
        "The error is \"required env variables [A,B] missing\" in a fixed order",
        text,
    )
    .detached(),
    should(
        "variables.before-input",
        LIBRARY,
        "Missing variables are reported before invalid input",
        before_input,
    )
    .detached(),
    should(
        "variables.missing-changes-nothing",
        "library: skel",
        "A call that lacks a variable changes nothing",
        missing_changes_nothing,
    )
    .detached(),
    must(
        "variables.gc-needs-no-attachment",
        PARAMETERS,
        "GC ignores container ID, interface name and namespace",
        gc_needs_no_attachment,
    )
    .only(GC),
    must(
        "variables.status-needs-no-attachment",
        PARAMETERS,
        "STATUS ignores container ID, interface name and namespace",
        status_needs_no_attachment,
    )
    .only(GC),
    runtime(
        "variables.foreign-variables",
        "containerd, CRI-O: environment",
        "Variables that the plugin does not know are ignored",
        foreign_variables,
    ),
    runtime(
        "variables.bare-environment",
        "systemd units",
        "ADD and DEL work without HOME and USER, and with a short PATH",
        bare_environment,
    ),
];

/// A valid call of a verb without one variable.
fn without(rig: &Rig, verb: &str, variable: &str) -> Run {
    let pod = rig.pod("c1");
    super::call(rig, verb, &pod).without_env(variable).run()
}

/// CHECK of a healthy attachment without one variable.
fn check_without(rig: &Rig, variable: &str) -> Run {
    let attached = rig.attach("c1");
    call(rig, "CHECK", &attached).without_env(variable).run()
}

fn add_container_id(rig: &Rig) {
    demand::error_with(4, without(rig, "ADD", "CNI_CONTAINERID"));
}

fn add_netns(rig: &Rig) {
    demand::error_with(4, without(rig, "ADD", "CNI_NETNS"));
}

fn add_ifname(rig: &Rig) {
    demand::error_with(4, without(rig, "ADD", "CNI_IFNAME"));
}

fn del_container_id(rig: &Rig) {
    demand::error_with(4, without(rig, "DEL", "CNI_CONTAINERID"));
}

fn del_ifname(rig: &Rig) {
    demand::error_with(4, without(rig, "DEL", "CNI_IFNAME"));
}

fn check_container_id(rig: &Rig) {
    demand::error_with(4, check_without(rig, "CNI_CONTAINERID"));
}

fn check_netns(rig: &Rig) {
    demand::error_with(4, check_without(rig, "CNI_NETNS"));
}

fn check_ifname(rig: &Rig) {
    demand::error_with(4, check_without(rig, "CNI_IFNAME"));
}

/// A call of a verb that is about no attachment.
fn general(rig: &Rig, verb: &str) -> Invocation {
    rig.plugin.command(verb).config(&rig.config())
}

fn gc_path(rig: &Rig) {
    demand::error_with(4, general(rig, "GC").without_env("CNI_PATH").run());
}

fn status_path(rig: &Rig) {
    demand::error_with(4, general(rig, "STATUS").without_env("CNI_PATH").run());
}

fn add_path(rig: &Rig) {
    demand::error_with(4, without(rig, "ADD", "CNI_PATH"));
}

fn empty_is_missing(rig: &Rig) {
    let pod = rig.pod("c1");
    for variable in ATTACHMENT {
        let call = super::call(rig, "ADD", &pod).env(variable, "");
        demand::error_with(4, call.run());
    }
}

/// The variables of an attachment.
const ATTACHMENT: [&str; 3] = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"];

fn name_in_error(rig: &Rig) {
    for variable in ATTACHMENT {
        demand::error(without(rig, "ADD", variable)).mentions(variable);
    }
}

fn all_names_in_error(rig: &Rig) {
    let call = rig.plugin.command("ADD").config(&rig.config());
    let error = demand::error(call.run());
    for variable in ATTACHMENT {
        error.mentions(variable);
    }
}

fn text(rig: &Rig) {
    let all = rig
        .plugin
        .command("ADD")
        .without_env("CNI_PATH")
        .config(&rig.config());
    let error = demand::error(all.run());
    error.says("required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH] missing");
    let two = rig.plugin.command("DEL").config(&rig.config());
    let error = demand::error(two.run());
    error.says("required env variables [CNI_CONTAINERID,CNI_IFNAME] missing");
}

fn before_input(rig: &Rig) {
    demand::error_with(4, rig.plugin.command("ADD").stdin("{").run());
}

fn missing_changes_nothing(rig: &Rig) {
    let pod = rig.pod("c1");
    for variable in ATTACHMENT {
        let call = super::call(rig, "ADD", &pod).without_env(variable);
        rig.unchanged(|| demand::error(call.run()));
    }
}

fn with_odd_attachment(rig: &Rig, verb: &str) -> Run {
    let call = general(rig, verb).id("../..").ifname("a/b");
    call.netns("/nowhere").run()
}

fn gc_needs_no_attachment(rig: &Rig) {
    demand::success(with_odd_attachment(rig, "GC"));
}

fn status_needs_no_attachment(rig: &Rig) {
    demand::success(with_odd_attachment(rig, "STATUS"));
}

fn foreign_variables(rig: &Rig) {
    add_and_del(rig, |call| {
        let call = call.env("CNI_FOREIGN", "x").env("CNI_VERSION", "0.1.0");
        call.env("NOTIFY_SOCKET", "/nowhere")
            .env("GODEBUG", "")
            .env("LANG", "de_DE.UTF-8")
    });
}

fn bare_environment(rig: &Rig) {
    add_and_del(rig, |call| {
        let call = call.without_env("HOME").without_env("USER");
        call.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
    });
}
