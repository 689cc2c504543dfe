//! What the tests share.

use serde_json::{Value, json};
use testkit::{ErrorReply, Invocation, Plugin, Run};

/// A configuration with this `ipam`.
pub(crate) fn config(mut ipam: Value) -> Value {
    ipam["type"] = "static".into();
    json!({"cniVersion": "1.0.0", "name": "net", "type": "bridge", "ipam": ipam})
}

/// One with an address of each family, routes and name servers.
pub(crate) fn full() -> Value {
    config(json!({
        "addresses": [
            {"address": "10.10.0.1/24", "gateway": "10.10.0.254"},
            {"address": "3ffe:ffff:0:1ff::1/64", "gateway": "3ffe:ffff:0::1"},
        ],
        "routes": [
            {"dst": "0.0.0.0/0"},
            {"dst": "192.168.0.0/16", "gw": "10.10.5.1", "mtu": 1400, "priority": 5, "table": 7},
            {"dst": "10.9.0.0/16", "gw": "10.10.0.2"},
            {"dst": "10.9.0.0/16", "gw": "10.10.0.3"},
        ],
        "dns": {
            "nameservers": ["8.8.8.8"], "domain": "example.com", "search": ["example.com"],
            "options": ["ndots:2"],
        },
    }))
}

/// The plugin under test.
pub(crate) fn plugin() -> Plugin {
    Plugin::new("static")
}

/// A call for an attachment; there is no namespace, and none is needed.
pub(crate) fn call(plugin: &Plugin, verb: &str, config: &Value) -> Invocation {
    let call = plugin.command(verb).id("c1").ifname("eth0");
    call.netns("/run/netns/none").config(config)
}

/// ADD.
#[track_caller]
pub(crate) fn add(config: &Value) -> Run {
    call(&plugin(), "ADD", config).run()
}

/// ADD with `CNI_ARGS`.
#[track_caller]
pub(crate) fn add_with(args: &str, config: &Value) -> Run {
    call(&plugin(), "ADD", config).args(args).run()
}

/// The addresses of a result, each with its gateway.
#[track_caller]
pub(crate) fn ips(run: Run) -> Vec<String> {
    let result = run.expect_ok().json();
    let ips = result["ips"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    ips.iter()
        .map(|ip| format!("{} {}", text(&ip["address"]), text(&ip["gateway"])))
        .collect()
}

/// ADD fails with exactly this text.
#[track_caller]
pub(crate) fn refuses(run: Run, text: &str) -> ErrorReply {
    let error = run.expect_error(999);
    assert_eq!(error.msg, text);
    error
}
