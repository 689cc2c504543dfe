//! Delegation of CHECK, DEL, GC and STATUS.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Node, Run, merge};

use super::delegate::{Delegate, GOOD, print};
use super::support::SOON;
use crate::demand::{self, Reply};
use crate::rig::Rig;
use crate::rule::{Only, Rule, must, runtime, should};
use crate::subject::Class;

const SPEC: &str = "spec 4: Plugin Delegation";
const MAIN: &[Only] = &[Only::Since("0.3.0"), Only::Classes(&[Class::Main])];
/// `flannel` answers CHECK by itself.
const CHECK: &[Only] = &[Only::Since("0.4.0"), Only::Classes(&[Class::Main])];
const UPKEEP: &[Only] = &[Only::Since("1.1.0"), Only::Classes(&[Class::Main])];

pub(crate) const RULES: &[Rule] = &[
    must(
        "delegated-verbs.check",
        SPEC,
        "CHECK executes CHECK of the IPAM plugin",
        check,
    )
    .only(CHECK),
    should(
        "delegated-verbs.check-error",
        SPEC,
        "CHECK fails if that of the IPAM plugin does",
        check_error,
    )
    .only(CHECK),
    should(
        "delegated-verbs.check-code",
        SPEC,
        "The error code of the IPAM plugin's CHECK is passed on",
        check_code,
    )
    .only(CHECK),
    must(
        "delegated-verbs.del",
        "spec 4: Plugin Delegation",
        "DEL executes DEL of the IPAM plugin once",
        del,
    )
    .only(MAIN),
    must(
        "delegated-verbs.del-without-namespace",
        "spec 2: DEL",
        "DEL executes DEL of the IPAM plugin after the namespace is gone",
        del_without_namespace,
    )
    .only(MAIN),
    must(
        "delegated-verbs.del-without-interface",
        "spec 2: DEL",
        "DEL executes DEL of the IPAM plugin after the interface is gone",
        del_without_interface,
    )
    .only(MAIN),
    should(
        "delegated-verbs.del-error",
        SPEC,
        "DEL fails if that of the IPAM plugin does",
        del_error,
    )
    .only(MAIN),
    should(
        "delegated-verbs.del-error-removes-interface",
        "spec 2: DEL",
        "DEL removes the interface although that of the IPAM plugin fails",
        del_error_removes,
    )
    .only(&[
        Only::Since("0.3.0"),
        Only::Classes(&[Class::Main]),
        Only::Except(&["host-device"]),
    ]),
    must(
        "delegated-verbs.del-again",
        "spec 2: DEL",
        "DEL can be repeated until that of the IPAM plugin succeeds",
        del_again,
    )
    .only(MAIN),
    should(
        "delegated-verbs.del-environment",
        SPEC,
        "DEL of the IPAM plugin has the environment of its caller",
        del_environment,
    )
    .only(MAIN),
    should(
        "delegated-verbs.del-of-missing",
        SPEC,
        "DEL reports that the IPAM plugin is missing: addresses would stay reserved",
        del_of_missing,
    )
    .only(MAIN),
    must(
        "delegated-verbs.gc",
        SPEC,
        "GC executes GC of the IPAM plugin",
        gc,
    )
    .only(UPKEEP),
    must(
        "delegated-verbs.gc-input",
        SPEC,
        "GC of the IPAM plugin gets the list of valid attachments",
        gc_input,
    )
    .only(UPKEEP),
    should(
        "delegated-verbs.gc-error",
        SPEC,
        "GC fails if that of the IPAM plugin does",
        gc_error,
    )
    .only(UPKEEP),
    must(
        "delegated-verbs.status",
        SPEC,
        "STATUS executes STATUS of the IPAM plugin",
        status,
    )
    .only(UPKEEP),
    should(
        "delegated-verbs.status-code",
        SPEC,
        "The error code of the IPAM plugin's STATUS is passed on",
        status_code,
    )
    .only(UPKEEP),
    should(
        "delegated-verbs.status-of-missing",
        "spec 2: STATUS",
        "STATUS fails with code 50 if the IPAM plugin is missing",
        status_of_missing,
    )
    .only(UPKEEP),
    runtime(
        "delegated-verbs.killed-caller",
        "kubelet, containerd",
        "After a runtime has killed an ADD whose IPAM plugin hangs, DEL leaves nothing",
        killed_caller,
    )
    .only(MAIN),
];

/// Commands that fail with code 11 for `verb`, and answer ADD.
fn failing(verb: &str) -> String {
    let error = r#"{"cniVersion":"1.0.0","code":11,"msg":"come back later"}"#;
    let (error, good) = (print(error), print(GOOD));
    format!("case $CNI_COMMAND in {verb}) {error}; exit 1;; ADD) {good};; esac")
}

/// An attachment, and the IPAM plugin.
fn added<'r>(rig: &'r Rig, commands: &str) -> (Delegate<'r>, Run) {
    let delegate = Delegate::with(rig, commands);
    let run = delegate.added();
    (delegate, run)
}

/// An attachment whose IPAM plugin answers ADD, and is silent for the other verbs.
fn attached(rig: &Rig) -> (Delegate<'_>, Run) {
    added(
        rig,
        &format!("[ $CNI_COMMAND = ADD ] || exit 0\n{}", print(GOOD)),
    )
}

fn verb(delegate: &Delegate<'_>, verb: &str, added: &Run) -> Run {
    delegate.call_with(verb, &added.with_prev()).run()
}

fn check(rig: &Rig) {
    let (delegate, added) = attached(rig);
    verb(&delegate, "CHECK", &added).expect_ok();
    assert_eq!(delegate.verbs(), ["ADD", "CHECK"]);
}

fn check_fails(rig: &Rig) -> Reply {
    let (delegate, added) = added(rig, &failing("CHECK"));
    demand::error(verb(&delegate, "CHECK", &added))
}

fn check_error(rig: &Rig) {
    check_fails(rig).mentions("come back later");
}

fn check_code(rig: &Rig) {
    assert_eq!(check_fails(rig).code, 11);
}

fn del(rig: &Rig) {
    let (delegate, added) = attached(rig);
    verb(&delegate, "DEL", &added).expect_ok();
    assert_eq!(delegate.verbs(), ["ADD", "DEL"]);
}

fn del_without_namespace(rig: &Rig) {
    let (delegate, added) = attached(rig);
    delegate.pod.container.delete();
    verb(&delegate, "DEL", &added).expect_ok();
    assert_eq!(delegate.verbs(), ["ADD", "DEL"]);
}

fn del_without_interface(rig: &Rig) {
    let (delegate, added) = attached(rig);
    let name = &rig.subject.if_name;
    delegate.pod.container.ip(&format!("link del {name}"));
    verb(&delegate, "DEL", &added).expect_ok();
    assert_eq!(delegate.verbs(), ["ADD", "DEL"]);
}

fn del_error(rig: &Rig) {
    let (delegate, added) = added(rig, &failing("DEL"));
    demand::error(verb(&delegate, "DEL", &added)).mentions("come back later");
}

fn del_error_removes(rig: &Rig) {
    let (delegate, added) = added(rig, &failing("DEL"));
    demand::error(verb(&delegate, "DEL", &added));
    let left = delegate.pod.container.link(&rig.subject.if_name);
    assert!(left.is_none(), "the interface is still there");
}

fn del_again(rig: &Rig) {
    let (delegate, added) = added(rig, &failing("DEL"));
    for _ in 0..2 {
        demand::error(verb(&delegate, "DEL", &added));
    }
    delegate.change("exit 0");
    verb(&delegate, "DEL", &added).expect_ok();
    assert_eq!(delegate.verbs(), ["ADD", "DEL", "DEL", "DEL"]);
    let left = delegate.pod.container.link(&rig.subject.if_name);
    assert!(left.is_none(), "the interface is still there");
}

fn del_environment(rig: &Rig) {
    let commands = format!(
        "env >$DIR/$CNI_COMMAND\n[ $CNI_COMMAND = ADD ] || exit 0\n{}",
        print(GOOD)
    );
    let (delegate, added) = added(rig, &commands);
    let call = delegate.call_with("DEL", &added.with_prev());
    call.args("IgnoreUnknown=1;K8S_POD_NAME=web")
        .run()
        .expect_ok();
    let got = delegate.wrote("DEL");
    for line in [
        "CNI_COMMAND=DEL",
        "CNI_CONTAINERID=c1",
        "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAME=web",
    ] {
        assert!(
            got.lines().any(|own| own == line),
            "{line} is not in\n{got}"
        );
    }
}

fn del_of_missing(rig: &Rig) {
    let (delegate, added) = attached(rig);
    fs::remove_file(rig.host.dir().join("delegates").join(super::delegate::NAME))
        .expect("the script");
    demand::error(verb(&delegate, "DEL", &added));
}

/// The configuration of GC for which the attachment is valid.
fn valid(rig: &Rig, delegate: &Delegate<'_>) -> Value {
    let list = json!([{"containerID": "c1", "ifname": rig.subject.if_name}]);
    merge(
        delegate.config(),
        &json!({"cni.dev/valid-attachments": list}),
    )
}

fn gc(rig: &Rig) {
    let (delegate, _added) = attached(rig);
    demand::success(delegate.call_with("GC", &valid(rig, &delegate)).run());
    assert_eq!(delegate.verbs(), ["ADD", "GC"]);
}

fn gc_input(rig: &Rig) {
    let (delegate, _added) = added(
        rig,
        &format!(
            "if [ $CNI_COMMAND = GC ]; then cat >$DIR/new; mv $DIR/new $DIR/gc; exit; fi\n{}",
            print(GOOD)
        ),
    );
    let config = valid(rig, &delegate);
    delegate.call_with("GC", &config).run().expect_ok();
    let got: Value = serde_json::from_str(&delegate.wrote("gc")).expect("the input is JSON");
    assert_eq!(
        got["cni.dev/valid-attachments"],
        config["cni.dev/valid-attachments"]
    );
}

fn gc_error(rig: &Rig) {
    let (delegate, _added) = added(rig, &failing("GC"));
    let run = delegate.call_with("GC", &valid(rig, &delegate)).run();
    demand::error(run).mentions("come back later");
}

fn status(rig: &Rig) {
    let delegate = Delegate::with(rig, "exit 0");
    delegate.call("STATUS").run().expect_ok();
    assert_eq!(delegate.verbs(), ["STATUS"]);
}

fn status_code(rig: &Rig) {
    let delegate = Delegate::new(rig, "");
    for code in [50, 51, 11] {
        let error = print(&format!(
            "{{\"cniVersion\":\"1.1.0\",\"code\":{code},\"msg\":\"not now\"}}"
        ));
        delegate.change(&format!("{error}\nexit 1"));
        let error = demand::error(delegate.call("STATUS").run());
        assert_eq!((error.code, error.msg.as_str()), (code, "not now"));
    }
}

fn status_of_missing(rig: &Rig) {
    let delegate = Delegate::new(rig, "");
    let config = merge(
        delegate.config(),
        &json!({"ipam": {"type": "no-such-ipam"}}),
    );
    demand::error_with(50, delegate.call_with("STATUS", &config).run());
}

fn killed_caller(rig: &Rig) {
    rig.warmed_up();
    let delegate = Delegate::new(rig, "touch $DIR/hangs\nexec sleep 60");
    let before = rig.state();
    let mut running = delegate.call("ADD").deadline(SOON * 4).start();
    delegate.wrote("hangs");
    running.kill();
    drop(running);
    delegate.change("exit 0");
    let del = delegate.call("DEL").deadline(Duration::from_secs(30));
    del.run().expect_ok();
    rig.assert_back(&before);
}
