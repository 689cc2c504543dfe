//! Black-box tests: the built binary, driven as a runtime drives it, in hosts and
//! containers of the tests' own. One program, so that it is linked once.

use serde_json::json;
use testkit::Node;
use testkit::single_interface::Subject;

const DUMMY: Subject = Subject {
    name: "dummy",
    needs: &["dummy"],
    keys: "{}",
    prefix: "dummy: ",
    lower_case: false,
    router: None,
};

/// DNS settings are those of the IPAM plugin.
#[test]
fn every_version() {
    let network = DUMMY.network();
    let resolv = network.write("resolv.conf", "nameserver 10.1.0.53\nsearch example.org\n");
    let mut config = DUMMY.dual(json!({}));
    config["ipam"]["resolvConf"] = resolv.to_str().unwrap().into();
    DUMMY.every_version(&network, &config);
}

#[test]
fn an_interface_without_a_master() {
    let network = DUMMY.network();
    let container = network.container("c1");
    // Upstream has no such keys; the configuration may have them for another plugin.
    let config = DUMMY.dual(json!({
        "dns": {"nameservers": ["192.0.2.1"]}, "mtu": 9000, "mac": "02:00:00:00:00:0a",
        "master": "gone",
    }));
    let run = DUMMY.plugin().add(&container, &config).expect_ok();
    assert!(run.json()["dns"].is_null());
    let link = container.link("eth0").unwrap();
    assert_eq!(link["linkinfo"]["info_kind"], "dummy");
    assert!(link["flags"].as_array().unwrap().contains(&json!("UP")));
    assert_eq!(link["mtu"], 1500);
    assert_ne!(link["address"], "02:00:00:00:00:0a");
    assert_eq!(
        container.addresses("eth0"),
        ["10.1.0.10/24", "fd00:1::10/64"]
    );
    assert_eq!(container.routes("-4"), ["default via 10.1.0.1 dev eth0"]);
    container.ip("link set lo up");
    container.ping("10.1.0.10");
    container.ping("fd00:1::10");
    assert_eq!(network.link_names(), ["lo"]);
}

#[test]
fn link_options() {
    DUMMY.link_options(&json!({}), &[]);
}

#[test]
fn the_host_has_a_link_of_the_name() {
    DUMMY.host_has_a_link_of_the_name(6);
}

#[test]
fn check_names_each_drift() {
    DUMMY.drift_is_named("link set eth0 address 02:00:00:00:00:0b => dummy: Interface eth0 Mac ");
    let attached = DUMMY.attached(&json!({"ipam": testkit::dual_stack()}));
    attached.fails(
        &json!({"ipam": null}),
        "dummy interface requires an IPAM configuration",
    );
    attached.container.ip("-6 route del default");
    attached.fails(&json!({}), "Expected Route {Dst:{IP:::");
    attached.container.ip("addr del fd00:1::10/64 dev eth0");
    attached.fails(
        &json!({}),
        "Failed to match addr fd00:1::10/64 on interface eth0",
    );
}

#[test]
fn check_of_lease_and_previous_result() {
    DUMMY.lease_and_previous_result_are_checked();
}

/// Upstream's plugin ignores link options. The distribution's package lacks it.
#[test]
fn check_of_pods_of_upstream() {
    let attached = DUMMY.attached(&json!({}));
    let mut prev = attached.run.json();
    prev["interfaces"][0]["mtu"] = json!(null);
    let options = json!({"txQueueLen": 77, "numQueues": 3, "gsoMaxSize": 30000});
    attached.fails(&options, "Interface eth0 has 1000 where txQueueLen is 77");
    attached.passes(&testkit::merge(options, &json!({"prevResult": prev})));
}

#[test]
fn each_request_fails_without_a_trace() {
    // The link, two addresses, up, two routes.
    assert_eq!(DUMMY.each_request_fails(&DUMMY.dual(json!({}))), 6);
    DUMMY.each_request_fails_elsewhere(&[DUMMY.ipv4(json!({}))]);
}

#[test]
fn ipam_fails() {
    DUMMY.ipam_fails(11);
}

#[test]
fn status() {
    DUMMY.status(r#"{"ipam": null} => dummy interface requires an IPAM configuration"#);
}

#[test]
fn del_from_anywhere() {
    DUMMY.del_from_anywhere(&[
        json!({"prevResult": 7}),
        json!({"dns": 7, "txQueueLen": "x"}),
    ]);
}

#[test]
fn gc_releases_what_nobody_holds() {
    DUMMY.gc_releases_what_nobody_holds();
}

#[test]
fn bad_input_is_refused() {
    let table = r#"
        {"ipam": null} => dummy interface requires an IPAM configuration
        {"ipam": {"type": null}} => dummy interface requires an IPAM configuration
        {"ipam": {"type": ""}} => dummy interface requires an IPAM configuration
        {"ipam": 7} => failed to parse network config: ipam: expected
        {"dns": 7} => failed to parse network config: dns: expected
        {"prevResult": 7} => failed to parse network config: prevResult: expected an object
        {"txQueueLen": -1} => failed to parse network config: txQueueLen: -1 is out of range
        "#;
    DUMMY.refuses(&DUMMY.bare_network(), &DUMMY.dual(json!({})), table);
}

#[test]
fn options_that_the_kernel_refuses() {
    let table = r#"{"numQueues": 5000} => failed to create dummy: invalid argument"#;
    DUMMY.refuses(&DUMMY.network(), &DUMMY.dual(json!({})), table);
}

#[test]
fn an_interface_that_exists() {
    DUMMY.an_interface_that_exists(&[DUMMY.dual(json!({}))]);
}

#[test]
fn examples_of_the_page_work() {
    const PAGE: &str = include_str!("../../../../../Documentation/plugins/dummy.md");
    DUMMY.examples_work(PAGE, 2);
}
