//! DEL, the plugin or the child that deletes the link, dies at each step. The next DEL, or GC, finishes the job.

use crate::common::{assert_restored, bridge, ipv4};
use serde_json::{Value, json};
use std::os::unix::process::ExitStatusExt;
use testkit::{Container, Host, Node, Run, state};

/// More steps than there are, see `crates/rtnl/src/deferred` and `sys.rs` there.
const STEPS: u32 = 10;

fn config() -> Value {
    ipv4(json!({"isGateway": true, "ipMasq": true, "ipMasqBackend": "nftables"}))
}

/// Runs ADD, and DEL that `variable` kills at `step`. `finish` gets the outcome of that DEL, and must clean up.
#[track_caller]
fn dies(variable: &str, finish: impl Fn(Container, &Run)) -> u32 {
    let config = config();
    let host = Host::new();
    let first = host.container("first");
    bridge().add(&first, &config).expect_ok();
    bridge().del(&first, &config).expect_ok();
    drop(first);
    let before = state(&host);
    let mut killed = 0;
    for step in 1..=STEPS {
        let container = host.container("c1");
        bridge().add(&container, &config).expect_ok();
        let del = bridge()
            .command("DEL")
            .container(&container)
            .config(&config);
        let del = del.env("CNI_DEFER", "always");
        let run = del.env(variable, step.to_string()).run();
        killed += u32::from(run.status.signal().is_some());
        finish(container, &run);
        assert_restored(&host, &before, &format!("step {step}"));
    }
    killed
}

#[test]
fn del_finishes_when_its_child_dies() {
    let killed = dies("RTNL_KILL_CHILD_AT", |container, run| {
        run.clone().expect_ok();
        assert_eq!(container.link_names(), ["lo"], "{}", run.report());
    });
    assert_eq!(killed, 0);
}

#[test]
fn a_second_del_finishes_when_the_first_dies() {
    let killed = dies("RTNL_KILL_PARENT_AT", |container, _| {
        bridge().del(&container, &config()).expect_ok();
        assert_eq!(container.link_names(), ["lo"]);
    });
    assert_eq!(killed, 3);
}

#[test]
fn gc_finishes_when_del_dies() {
    let mut config = config();
    config["cni.dev/valid-attachments"] = json!([]);
    let killed = dies("RTNL_KILL_PARENT_AT", |container, _| {
        drop(container);
        bridge().gc(&config).expect_ok();
    });
    assert_eq!(killed, 3);
}
