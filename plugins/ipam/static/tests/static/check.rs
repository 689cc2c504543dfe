//! CHECK compares prevResult with what ADD would answer.

use crate::common::{add, call, full, plugin};
use serde_json::{Value, json};
use testkit::{Plugin, Run};

#[track_caller]
fn check(config: &Value) -> Run {
    call(&plugin(), "CHECK", config).run()
}

#[test]
fn check_accepts_what_add_returned() {
    for version in ["0.4.0", "1.0.0", "1.1.0"] {
        let mut config = full();
        config["cniVersion"] = version.into();
        let run = add(&config).expect_ok();
        check(&run.with_prev()).expect_ok();
    }
}

#[test]
fn upstreams_results_pass() {
    let peer = Plugin::peer("static");
    let config = full();
    let theirs = call(&peer, "ADD", &config).run().expect_ok();
    check(&theirs.with_prev()).expect_ok();
    let ours = add(&config).expect_ok();
    call(&peer, "CHECK", &ours.with_prev()).run().expect_ok();
    for verb in ["DEL", "DEL"] {
        call(&peer, verb, &ours.with_prev()).run().expect_ok();
    }
}

#[test]
fn gateways_that_the_interface_plugin_filled_in() {
    let mut config = full();
    config["ipam"]["addresses"] = json!([{"address": "10.10.0.1/24"}]);
    let mut config = add(&config).expect_ok().with_prev();
    config["prevResult"]["ips"][0]["gateway"] = "10.10.0.1".into();
    check(&config).expect_ok();
}

#[test]
fn each_difference_is_named() {
    type Change = fn(&mut Value);
    let changes: [(Change, &str); 5] = [
        (
            |ips| drop(ips.as_array_mut().unwrap().remove(0)),
            "static: Failed to match addr 10.10.0.1/24 on interface eth0; prevResult does not have it",
        ),
        (
            |ips| ips[0]["address"] = "10.10.0.1/16".into(),
            "static: Failed to match addr 10.10.0.1/24 on interface eth0; in prevResult its prefix length is 16",
        ),
        (
            |ips| ips[0]["gateway"] = "10.10.0.253".into(),
            "static: Failed to match addr 10.10.0.1/24 on interface eth0; in prevResult its gateway is 10.10.0.253, not 10.10.0.254",
        ),
        (
            |ips| drop(ips[1].as_object_mut().unwrap().remove("gateway")),
            "static: Failed to match addr 3ffe:ffff:0:1ff::1/64 on interface eth0; in prevResult it lacks its gateway 3ffe:ffff::1",
        ),
        (
            |ips| *ips = json!([]),
            "static: Failed to match addr 10.10.0.1/24 on interface eth0",
        ),
    ];
    let sound = add(&full()).expect_ok().with_prev();
    for (change, words) in changes {
        let mut config = sound.clone();
        change(&mut config["prevResult"]["ips"]);
        check(&config).expect_error(999).mentions(words);
    }
}

#[test]
fn prev_result_is_needed() {
    check(&full())
        .expect_error(999)
        .mentions("Required prevResult missing");
    let mut config = add(&full()).expect_ok().with_prev();
    config["prevResult"]["cniVersion"] = "7.0.0".into();
    check(&config)
        .expect_error(999)
        .mentions("could not parse prevResult");
    config["cniVersion"] = "0.3.1".into();
    check(&config)
        .expect_error(1)
        .mentions("config version does not allow CHECK");
}
