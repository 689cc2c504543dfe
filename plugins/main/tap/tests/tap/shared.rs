//! Test cases that tap shares with other plugins of one interface.

use crate::common::{TAP, make_bridge};
use serde_json::json;
use testkit::{Host, Node, examples_work, fail_each_request};

#[test]
fn every_version() {
    let dns = json!({"nameservers": ["10.1.0.53"], "search": ["example.org"]});
    TAP.every_version(&TAP.network(), &TAP.dual(json!({"dns": dns})));
}

#[test]
fn every_version_without_ipam() {
    TAP.every_version_without_ipam();
}

#[test]
fn precedence_of_the_hardware_address() {
    TAP.precedence_of_the_hardware_address();
}

#[test]
fn malformed_arguments_are_refused() {
    TAP.malformed_arguments_are_refused();
}

#[test]
fn the_host_has_a_link_of_the_name() {
    TAP.host_has_a_link_of_the_name(4);
}

#[test]
fn check_names_each_drift() {
    TAP.drift_is_named(
        r#"
        link set eth0 address 02:00:00:00:00:99 => Interface eth0 Mac
        {"mtu": 1400} link set eth0 mtu 1300 => MTU of eth0 is 1400, current value is 1300
        "#,
    );
}

#[test]
fn check_of_lease_and_previous_result() {
    TAP.lease_and_previous_result_are_checked();
}

#[test]
fn each_request_fails_without_a_trace() {
    let keys = json!({"bridge": "br0", "mtu": 1400, "owner": 1, "mac": "02:00:00:00:00:09"});
    for (config, at_least) in [(TAP.dual(keys.clone()), 6), (TAP.layer2(keys), 2)] {
        let host = Host::new();
        let container = host.container("c1");
        make_bridge(&container);
        let requests = fail_each_request(&host, || {
            let add = TAP.plugin().command("ADD");
            add.container(&container).config(&config)
        });
        assert!(requests >= at_least, "{requests}");
    }
}

#[test]
fn ipam_fails() {
    TAP.ipam_fails(11);
}

#[test]
fn status() {
    TAP.status(r#"{"mtu": -1} => 7: mtu -1 is out of range (68 to 65535)"#);
    let host = Host::new();
    let container = host.container("c1");
    host.mount_tmpfs("/dev/net", "size=4k");
    let config = TAP.layer2(json!({}));
    TAP.plugin()
        .status(&config)
        .expect_error(50)
        .mentions("cannot create taps: /dev/net/tun: no such file or directory");
    TAP.plugin()
        .add(&container, &config)
        .expect_error(999)
        .mentions("failed to create tap: cannot open /dev/net/tun: no such file or directory");
    host.unmount("/dev/net");
}

#[test]
fn del_from_anywhere() {
    TAP.del_from_anywhere(&[
        json!({"bridge": "gone", "owner": "root", "mtu": -1}),
        json!({"args": 7}),
        json!({"prevResult": "nonsense"}),
    ]);
    let attached = TAP.attached(&json!({}));
    let del = TAP.plugin().command("DEL").container(&attached.container);
    let del = del.args("K8S_POD_NAME=x").config(&attached.run.with_prev());
    del.run().expect_ok();
    assert_eq!(attached.container.link_names(), ["lo"]);
}

#[test]
fn gc_releases_what_nobody_holds() {
    TAP.gc_releases_what_nobody_holds();
}

#[test]
fn examples_of_the_page_work() {
    const PAGE: &str = include_str!("../../../../../Documentation/plugins/tap.md");
    examples_work(&TAP.plugin(), PAGE, 3, |config| {
        let host = Host::new();
        let container = host.container("c1");
        if let Some(bridge) = config["bridge"].as_str() {
            container.ip(&format!("link add {bridge} type bridge"));
        }
        (container, host)
    });
}
