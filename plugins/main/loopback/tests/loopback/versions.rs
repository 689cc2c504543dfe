//! Every version of the specification, the printed text byte for byte.

use serde_json::{Value, json};
use testkit::{Host, Node, Plugin};

const VERSIONS: [&str; 7] = [
    "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0",
];

fn expected(version: &str) -> String {
    let text = match version {
        "0.1.0" | "0.2.0" => include_str!("results/0.1.json"),
        "1.0.0" | "1.1.0" => include_str!("results/1.0.json"),
        _ => include_str!("results/0.3.json"),
    };
    text.trim_end().replace("VERSION", version)
}

fn config(version: &str) -> Value {
    json!({"cniVersion": version, "name": "lo", "type": "loopback"})
}

#[test]
fn round_trips() {
    let host = Host::new();
    let loopback = Plugin::new("loopback");
    for version in VERSIONS {
        let container = host.container("c1");
        let run = loopback.add(&container, &config(version)).expect_ok();
        assert_eq!(run.stdout_text(), expected(version));
        assert_eq!(run.stderr_text(), "");
        let check = loopback.check(&container, &run.with_prev());
        if version >= "0.4.0" {
            check.expect_ok();
        } else {
            check.expect_error(1);
        }
        loopback.del(&container, &run.with_prev()).expect_ok();
        loopback.del(&container, &run.with_prev()).expect_ok();
    }
    let container = host.container("c1");
    let run = loopback.add(&container, &config("")).expect_ok();
    assert_eq!(run.stdout_text(), expected("0.1.0"));
    let versions = loopback.version().expect_ok().json();
    assert_eq!(
        versions,
        json!({"cniVersion": "1.1.0", "supportedVersions": VERSIONS})
    );
}

#[test]
fn prev_result_passes_through() {
    let host = Host::new();
    let container = host.container("c1");
    let mut config = config("1.1.0");
    config["prevResult"] = json!({
        "cniVersion": "1.1.0",
        "dns": {"nameservers": ["10.0.0.53"]},
        "interfaces": [{"mac": "02:00:00:00:00:01", "mtu": 1400, "name": "eth0", "sandbox": "/x"}],
        "ips": [{"address": "10.0.0.2/24", "interface": 0}],
        "routes": [{"dst": "0.0.0.0/0", "gw": "10.0.0.1", "priority": 5}],
    });
    let run = Plugin::new("loopback").add(&container, &config).expect_ok();
    assert_eq!(run.json(), config["prevResult"]);
    container.ping("127.0.0.1");
}

#[test]
fn without_ipv6() {
    let host = Host::new();
    let container = host.container("c1");
    container.set_sysctl("net/ipv6/conf/lo/disable_ipv6", "1");
    let result = Plugin::new("loopback")
        .add(&container, &config("1.1.0"))
        .expect_ok()
        .json();
    assert_eq!(
        result["ips"],
        json!([{"address": "127.0.0.1/8", "interface": 0}])
    );
}
