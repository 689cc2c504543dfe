//! A failing ADD leaves everything exactly as it was, wherever it fails.

use crate::common::{add, assert_same, attached, config, state, vrf};
use serde_json::json;
use testkit::{Node, fail_each_request};

#[test]
fn each_request() {
    let (host, container) = attached();
    // The kernel adds its rules with the first VRF.
    container.ip("link add other type vrf table 99");
    let before = state(&host, &container);
    let config = config(json!({}));
    let add = || vrf().command("ADD").container(&container).config(&config);
    // The VRF, up, the master, two neighbours, nine routes.
    assert_eq!(fail_each_request(&host, add), 14);
    assert_same(&before, &state(&host, &container));
}

/// `/proc/sys` is read-only, so that the addresses have to be added again.
#[test]
fn each_request_where_addresses_cannot_be_kept() {
    let (host, container) = attached();
    container.ip("link add other type vrf table 99");
    host.command(&["mount", "--bind", "/proc/sys", "/proc/sys"]);
    host.command(&["mount", "-o", "remount,bind,ro", "/proc/sys"]);
    let before = host.snapshot();
    let config = config(json!({}));
    let add_one = || vrf().command("ADD").container(&container).config(&config);
    assert_eq!(fail_each_request(&host, add_one), 15);
    before.assert_same(&host.snapshot());
    let config = add(&container, json!({}));
    vrf().check(&container, &config).expect_ok();
    host.unmount(std::path::Path::new("/proc/sys"));
}

#[test]
fn a_second_interface() {
    let (host, container) = attached();
    container.ip("link add net1 up type veth peer name net1p");
    add(&container, json!({}));
    let before = state(&host, &container);
    for number in 1.. {
        let call = vrf().command("ADD").container(&container).ifname("net1");
        let call = call.env("RTNL_FAIL_AT", number.to_string());
        let run = call.config(&config(json!({}))).run();
        if run.is_ok() {
            assert!(number > 1);
            break;
        }
        assert_same(&before, &state(&host, &container));
    }
}
