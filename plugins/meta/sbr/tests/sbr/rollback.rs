//! A failing ADD restores everything, wherever it fails.

use crate::common::{add, assert_same, attached, call, config, del, ip, sbr, state};
use serde_json::json;
use std::fs;
use testkit::fail_each_request;

#[test]
fn each_request() {
    for (extra, count) in [
        (json!({}), 14),
        (json!({"addSourceHints": true}), 15),
        (json!({"table": 7}), 2),
    ] {
        let (host, container) = attached();
        ip(&container, "route add 10.60.0.0/16 via 10.2.0.1");
        let before = state(&host, &container);
        let config = config(extra.clone());
        let add = || {
            let call = sbr().command("ADD").container(&container);
            call.ifname("net1").config(&config)
        };
        assert_eq!(fail_each_request(&host, add), count, "{extra}");
        assert_same(&before, &state(&host, &container));
    }
}

/// A failing repeated ADD keeps the changes of the first one.
#[test]
fn each_request_of_a_second_add() {
    let (host, container) = attached();
    let hints = json!({"addSourceHints": true});
    let first = add(&container, hints.clone());
    ip(&container, "route add 10.60.0.0/16 via 10.2.0.1 dev net1");
    let before = state(&host, &container);
    let mut number = 1;
    loop {
        let call = sbr().command("ADD").container(&container).ifname("net1");
        let call = call.env("RTNL_FAIL_AT", number.to_string());
        let run = call.config(&config(hints.clone())).run();
        if run.is_ok() {
            break;
        }
        assert_same(&before, &state(&host, &container));
        number += 1;
    }
    assert!(number >= 3, "{number}");
    call(&sbr(), "CHECK", &container, &first).expect_ok();
    del(&container, &first);
}

#[test]
fn a_gateway_that_cannot_be_reached() {
    let (host, container) = attached();
    let before = state(&host, &container);
    for (extra, words) in [
        (
            json!({"gateways": ["192.0.2.1"]}),
            "Failed to add default route to 192.0.2.1: network is unreachable",
        ),
        (
            json!({"gateways": ["2001:db8::1"]}),
            "Failed to add default route to 2001:db8::1: ",
        ),
    ] {
        // The other default route does not reach it.
        let run = call(&sbr(), "ADD", &container, &config(extra));
        run.expect_error(999).mentions(words);
        assert_same(&before, &state(&host, &container));
    }
}

/// Nothing is changed if the record cannot be written.
#[test]
fn a_record_that_cannot_be_written() {
    let (host, container) = attached();
    fs::create_dir_all("/run/cni").unwrap();
    fs::write("/run/cni/sbr", "").unwrap();
    let before = state(&host, &container);
    let run = call(&sbr(), "ADD", &container, &config(json!({})));
    run.expect_error(999)
        .mentions("/run/cni/sbr is not a directory");
    assert_same(&before, &state(&host, &container));
}
