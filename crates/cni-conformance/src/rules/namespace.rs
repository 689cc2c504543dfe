//! `CNI_NETNS`: paths that runtimes use, paths that are no namespace, and the plugin's own namespace.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use testkit::Node;

use crate::demand;
use crate::rig::{Pod, Rig};
use crate::rule::{Only, Rule, must, runtime, should};
use crate::subject::Class;

const PARAMETERS: &str = "spec 2: Parameters";
const LIBRARY: &str = "library: skel";
const OWN: &str = "compare device and inode of CNI_NETNS with those of the plugin's own namespace before ADD does anything";
const USERS: &[Only] = &[Only::Netns];
const MAIN: &[Only] = &[Only::Classes(&[Class::Main])];

pub(crate) const RULES: &[Rule] = &[
    must(
        "namespace.missing",
        PARAMETERS,
        "ADD fails if there is nothing at CNI_NETNS",
        missing,
    )
    .only(USERS)
    .detached(),
    must(
        "namespace.is-file",
        PARAMETERS,
        "ADD fails if CNI_NETNS is a plain file",
        is_file,
    )
    .only(USERS)
    .detached(),
    must(
        "namespace.is-directory",
        PARAMETERS,
        "ADD fails if CNI_NETNS is a directory",
        is_directory,
    )
    .only(USERS)
    .detached(),
    must(
        "namespace.below-file",
        PARAMETERS,
        "ADD fails if CNI_NETNS leads through a plain file",
        below_file,
    )
    .only(USERS)
    .detached(),
    must(
        "namespace.other-kind",
        PARAMETERS,
        "ADD fails if CNI_NETNS is a namespace of another kind",
        other_kind,
    )
    .only(USERS)
    .advice("a mount namespace is not a network namespace: setns with CLONE_NEWNET refuses it")
    .detached(),
    should(
        "namespace.path-in-error",
        LIBRARY,
        "The error for a namespace that does not exist contains its path",
        path_in_error,
    )
    .only(USERS)
    .detached(),
    should(
        "namespace.failure-changes-nothing",
        PARAMETERS,
        "An ADD that finds no namespace changes nothing",
        failure_changes_nothing,
    )
    .only(USERS)
    .advice("open the namespace before anything is allocated or created, or undo it")
    .detached(),
    should(
        "namespace.not-utf8",
        LIBRARY,
        "A path of the namespace that is not UTF-8 is answered with an error",
        not_utf8,
    )
    .only(USERS)
    .detached(),
    runtime(
        "namespace.symbolic-link",
        "containerd: /var/run/netns",
        "A symbolic link to the namespace is followed",
        symbolic_link,
    )
    .only(MAIN),
    runtime(
        "namespace.of-a-process",
        "CRI-O, Docker: /proc/PID/ns/net",
        "The namespace of a process at /proc/PID/ns/net is used",
        of_a_process,
    )
    .only(MAIN),
    runtime(
        "namespace.sandbox-as-given",
        "libcni: results",
        "The result names the namespace by the path in CNI_NETNS, also if that is a link",
        sandbox_as_given,
    )
    .only(&[Only::Classes(&[Class::Main]), Only::Since("0.3.0")]),
    should(
        "namespace.own-add",
        LIBRARY,
        "ADD refuses the plugin's own namespace with code 8",
        own_add,
    )
    .only(USERS)
    .advice(OWN)
    .detached(),
    should(
        "namespace.own-add-changes-nothing",
        LIBRARY,
        "ADD for the plugin's own namespace changes nothing",
        own_add_changes_nothing,
    )
    .only(USERS)
    .advice(OWN)
    .detached(),
    should(
        "namespace.own-add-one-object",
        LIBRARY,
        "ADD for the plugin's own namespace prints one error and nothing else",
        own_add_one_object,
    )
    .only(USERS)
    .advice(OWN)
    .detached(),
    should(
        "namespace.own-bound",
        LIBRARY,
        "The plugin's own namespace is refused under any path",
        own_bound,
    )
    .only(USERS)
    .advice(OWN)
    .detached(),
    should(
        "namespace.own-del",
        LIBRARY,
        "DEL reports the plugin's own namespace with code 8",
        own_del,
    )
    .only(USERS)
    .detached(),
    should(
        "namespace.own-del-changes-nothing",
        LIBRARY,
        "DEL in the plugin's own namespace leaves the links of the host alone",
        own_del_changes_nothing,
    )
    .only(USERS)
    .detached(),
    should(
        "namespace.own-override",
        LIBRARY,
        "CNI_NETNS_OVERRIDE=1 or true allows the plugin's own namespace",
        own_override,
    )
    .only(USERS)
    .advice("users of the library run plugins in the container's namespace with it")
    .detached(),
    should(
        "namespace.own-no-override",
        LIBRARY,
        "Other values of CNI_NETNS_OVERRIDE do not allow the plugin's own namespace",
        own_no_override,
    )
    .only(USERS)
    .advice(OWN)
    .detached(),
];

#[track_caller]
fn add_fails(rig: &Rig, path: &Path) {
    let pod = rig.pod("c1");
    demand::error(super::call(rig, "ADD", &pod).netns(path).run());
}

fn missing(rig: &Rig) {
    add_fails(rig, &rig.host.dir().join("missing"));
}

fn is_file(rig: &Rig) {
    add_fails(rig, &rig.host.write("file", b"no namespace"));
}

fn is_directory(rig: &Rig) {
    add_fails(rig, rig.host.dir());
}

fn below_file(rig: &Rig) {
    add_fails(rig, &rig.host.write("file", b"no namespace").join("ns"));
}

fn other_kind(rig: &Rig) {
    add_fails(rig, Path::new("/proc/self/ns/uts"));
}

fn path_in_error(rig: &Rig) {
    let pod = rig.pod("c1");
    let path = rig.host.dir().join("missing");
    let error = demand::error(super::call(rig, "ADD", &pod).netns(&path).run());
    error.mentions(&path.to_string_lossy());
}

fn failure_changes_nothing(rig: &Rig) {
    let pod = rig.pod("c1");
    let file = rig.host.write("file", b"no namespace");
    let missing = rig.host.dir().join("missing");
    for path in [&missing, &file] {
        let call = super::call(rig, "ADD", &pod).netns(path);
        rig.unchanged(|| demand::error(call.run()));
    }
    assert!(!missing.exists(), "ADD created {}", missing.display());
}

fn not_utf8(rig: &Rig) {
    let pod = rig.pod("c1");
    let odd = std::ffi::OsStr::from_bytes(b"/run/a\xff\xfe");
    demand::error(super::call(rig, "ADD", &pod).netns(odd).run());
}

/// A symbolic link to the namespace of a container.
fn link(rig: &Rig, pod: &Pod) -> std::path::PathBuf {
    let link = rig.host.dir().join("link");
    symlink(pod.container.netns(), &link).unwrap_or_else(|err| panic!("make a link: {err}"));
    link
}

/// ADD and DEL with this path of the container's namespace.
#[track_caller]
fn works_with(rig: &Rig, pod: &Pod, path: &Path) {
    let added = super::call(rig, "ADD", pod).netns(path).run();
    demand::result(&added);
    let names = pod.container.link_names();
    let wanted = &rig.subject.if_name;
    assert!(
        names.contains(wanted),
        "the container has the links {names:?}, but not {wanted}"
    );
    let del = rig.call("DEL", &pod.container, &added.with_prev());
    demand::success(del.netns(path).run());
}

fn symbolic_link(rig: &Rig) {
    let pod = rig.pod("c1");
    works_with(rig, &pod, &link(rig, &pod));
}

fn of_a_process(rig: &Rig) {
    let pod = rig.pod("c1");
    let mut sleep = Command::new("sleep");
    sleep.arg("1000").stdin(Stdio::null()).stdout(Stdio::null());
    // It ends with the rule, like all processes of the host.
    let child = pod.container.enter(|| sleep.spawn());
    let mut child = child.unwrap_or_else(|err| panic!("run sleep: {err}"));
    works_with(
        rig,
        &pod,
        Path::new(&format!("/proc/{}/ns/net", child.id())),
    );
    let _ = child.kill().and_then(|()| child.wait());
}

fn sandbox_as_given(rig: &Rig) {
    let pod = rig.pod("c1");
    let path = link(rig, &pod);
    let added = super::call(rig, "ADD", &pod).netns(&path).run();
    let result = demand::result(&added);
    let inside: Vec<&str> = super::elements(&result, "interfaces")
        .filter_map(|interface| interface["sandbox"].as_str())
        .filter(|sandbox| !sandbox.is_empty())
        .collect();
    assert!(
        !inside.is_empty() && inside.iter().all(|sandbox| Path::new(sandbox) == path),
        "the sandboxes are {inside:?} instead of {}\n{}",
        path.display(),
        added.report()
    );
}

const SELF: &str = "/proc/self/ns/net";

fn own_add(rig: &Rig) {
    let pod = rig.pod("c1");
    demand::error_with(8, super::call(rig, "ADD", &pod).netns(SELF).run());
}

fn own_add_changes_nothing(rig: &Rig) {
    let pod = rig.pod("c1");
    let call = super::call(rig, "ADD", &pod).netns(SELF);
    // What it answers is another rule.
    rig.unchanged(|| call.run());
}

fn own_add_one_object(rig: &Rig) {
    let pod = rig.pod("c1");
    demand::error(super::call(rig, "ADD", &pod).netns(SELF).run());
}

fn own_bound(rig: &Rig) {
    let pod = rig.pod("c1");
    let bound = rig.host.write("own", b"");
    rig.host
        .command(&["mount", "--bind", SELF, &bound.to_string_lossy()]);
    for path in [Path::new("/proc/thread-self/ns/net"), &bound] {
        demand::error_with(8, super::call(rig, "ADD", &pod).netns(path).run());
    }
}

fn own_del(rig: &Rig) {
    let pod = rig.pod("c1");
    demand::error_with(8, super::call(rig, "DEL", &pod).netns(SELF).run());
}

fn own_del_changes_nothing(rig: &Rig) {
    let pod = rig.pod("c1");
    let name = if rig.subject.if_name == "lo" {
        "own0"
    } else {
        &rig.subject.if_name
    };
    rig.host
        .ip(&format!("link add {name} type veth peer name own1"));
    let call = super::call(rig, "DEL", &pod).netns(SELF);
    // What it answers is another rule.
    rig.unchanged(|| call.run());
}

fn own_override(rig: &Rig) {
    let pod = rig.pod("c1");
    for value in ["1", "true", "TRUE"] {
        let call = super::call(rig, "ADD", &pod).netns(SELF);
        let run = call.env("CNI_NETNS_OVERRIDE", value).run();
        let code = serde_json::from_slice::<serde_json::Value>(&run.stdout)
            .map(|value| value["code"].clone());
        assert!(
            run.is_ok() || code.is_ok_and(|code| code != 8),
            "the namespace is refused with code 8 in spite of CNI_NETNS_OVERRIDE\n{}",
            run.report()
        );
    }
}

fn own_no_override(rig: &Rig) {
    let pod = rig.pod("c1");
    for value in ["", "0", "no", "false", "yes"] {
        let call = super::call(rig, "ADD", &pod).netns(SELF);
        demand::error_with(8, call.env("CNI_NETNS_OVERRIDE", value).run());
    }
}
