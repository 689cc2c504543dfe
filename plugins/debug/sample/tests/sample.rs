//! Tests of the `sample` binary.

use cni_sample::Sample;
use serde_json::{Value, json};
use testkit::{Host, Plugin};

fn config() -> Value {
    json!({
        "cniVersion": "1.1.0", "name": "net", "type": "sample",
        "myAwesomeFlag": true, "anotherAwesomeArg": "x",
        "capabilities": {"sample": true}, "runtimeConfig": {"sample": {"key": "value"}},
        "prevResult": {"cniVersion": "1.1.0", "ips": [{"address": "10.1.2.3/24"}]}
    })
}

#[test]
fn it_passes_the_result_on() {
    let host = Host::new();
    let container = host.container("c1");
    let plugin = Plugin::new("sample");
    let result = plugin.add(&container, &config()).expect_ok().json();
    assert_eq!(result["ips"][0]["address"], "10.1.2.3/24");
    plugin.check(&container, &config()).expect_ok();
    plugin.del(&container, &config()).expect_ok();
    plugin.gc(&config()).expect_ok();
    plugin.status(&config()).expect_ok();
}

#[test]
fn faults_of_the_configuration_are_errors() {
    let host = Host::new();
    let container = host.container("c1");
    let refusals = [
        (
            "anotherAwesomeArg",
            json!(""),
            "anotherAwesomeArg must be specified",
        ),
        (
            "prevResult",
            json!(null),
            "must be called as chained plugin",
        ),
        (
            "prevResult",
            json!({"cniVersion": "1.1.0"}),
            "got no container IPs",
        ),
        (
            "myAwesomeFlag",
            json!(1),
            "failed to parse network configuration",
        ),
    ];
    for (key, value, expected) in refusals {
        let mut config = config();
        config[key] = value;
        let run = Plugin::new("sample").add(&container, &config);
        assert!(!run.is_ok(), "{key}");
        let msg = run.json()["msg"].to_string();
        assert!(msg.contains(expected), "{msg}");
    }
}

#[test]
fn status_is_that_of_the_ipam_plugin() {
    let _host = Host::new();
    let mut config = config();
    config["ipam"] = json!({"type": "nowhere"});
    let error = Plugin::new("sample").status(&config).expect_error(999);
    assert!(error.msg.contains("failed to find plugin"), "{}", error.msg);
}

#[test]
fn no_input_makes_the_parser_panic() {
    testkit::parsing::survives_any_input(&Sample, "eth0", &config());
}
