//! A failing ADD leaves host and container as they were, whichever step fails.

use crate::common::{dual, ipv4, ptp, reaches, with_ipam};
use serde_json::json;
use testkit::{Host, Node, SCRIPTED, ScriptedIpam, fail_each_request, state};

#[test]
fn each_request_fails_without_a_trace() {
    let host = Host::new();
    let mut config = dual(json!({"mtu": 1400, "txQueueLen": 10}));
    config["ipam"]["routes"] = json!([
        {"dst": "10.50.0.0/16", "mtu": 1300}, {"dst": "10.51.0.0/16", "table": 100},
        {"dst": "fd00:50::/32"},
    ]);
    let container = host.container("c1");
    let requests = fail_each_request(&host, || {
        let add = ptp().command("ADD").container(&container);
        add.config(&config)
    });
    assert!(requests > 14, "{requests}");
}

#[test]
fn ipam_that_fails() {
    let host = Host::new();
    let error = r#"echo '{"code": 11, "msg": "no address", "details": "later"}'; exit 1"#;
    let ipam = ScriptedIpam::new(&host, error);
    let container = host.container("c1");
    let add = || {
        let config = with_ipam(json!({"type": SCRIPTED}), json!({}));
        let add = ipam.command(&ptp(), "ADD").container(&container);
        add.config(&config).run().expect_error(11)
    };
    add();
    let before = host.snapshot();
    add().mentions("no address; later");
    before.assert_same(&host.snapshot());
    assert_eq!(ipam.calls(), ["ADD", "ADD"]);
}

#[test]
fn forwarding_that_cannot_be_enabled() {
    let host = Host::new();
    let container = host.container("c1");
    let config = ipv4(json!({}));
    ptp().add(&container, &config).expect_ok();
    ptp().del(&container, &config).expect_ok();
    host.set_sysctl("net/ipv4/ip_forward", "0");
    host.make_read_only("/proc/sys");
    let before = state(&host);
    ptp()
        .add(&container, &config)
        .expect_error(999)
        .mentions("could not enable IP forwarding: ");
    before.assert_same(&state(&host));
    host.unmount("/proc/sys");
    ptp().add(&container, &config).expect_ok();
    reaches(&container, "10.1.0.1");
}
