//! With upstream's binary: what one has moved, the other checks and moves back.

use crate::common::{device, devices, dual, host_with_device, plugin, reaches, records};
use serde_json::{Value, json};
use testkit::{Plugin, leases};

fn config(version: &str) -> Value {
    dual(json!({
        "cniVersion": version,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.10"}],
                [{"subnet": "fd00:1::/64", "rangeStart": "fd00:1::10"}]],
            // The peer's CHECK does not find routes that got their next hop from ADD.
            "routes": [{"dst": "10.50.0.0/16", "gw": "10.1.0.1"}],
        },
    }))
}

#[track_caller]
fn handed_over(from: &Plugin, to: &Plugin) {
    for version in ["0.4.0", "1.0.0"] {
        let (host, _outside) = host_with_device();
        let container = host.container("c1");
        let config = config(version);
        let run = from.add(&container, &config).expect_ok();
        assert_eq!(devices(&container), ["eth0 (dev0) up"]);
        reaches(&container, "10.1.0.1");
        for plugin in [to, from] {
            plugin.check(&container, &run.with_prev()).expect_ok();
        }
        to.del(&container, &run.with_prev()).expect_ok();
        assert_eq!(leases("net"), [""; 0]);
        // Upstream does not bring it up, nor do we without a record. Upstream's older
        // releases leave its alias, too.
        assert!(["dev0 down", "dev0 (dev0) down"].contains(&&*devices(&host)[0]));
        plugin().del(&container, &config).expect_ok();
        assert!(["dev0 down", "dev0 up"].contains(&&*devices(&host)[0]));
        assert_eq!(records(), [""; 0]);
    }
}

#[test]
fn from_the_peer_to_us() {
    handed_over(&Plugin::peer("host-device"), &plugin());
}

#[test]
fn from_us_to_the_peer() {
    handed_over(&plugin(), &Plugin::peer("host-device"));
}

#[test]
fn the_same_result() {
    let result = |plugin: &Plugin, config: &Value| {
        let (host, _outside) = host_with_device();
        let container = host.container("c1");
        let mut result = plugin.add(&container, config).expect_ok().json();
        // Upstream's older releases print an empty one.
        if result["dns"] == json!({}) {
            result.as_object_mut().unwrap().remove("dns");
        }
        result
    };
    let peer = Plugin::peer("host-device");
    for version in ["0.3.1", "0.4.0", "1.0.0"] {
        for config in [config(version), device(json!({"cniVersion": version}))] {
            assert_eq!(result(&plugin(), &config), result(&peer, &config));
        }
    }
}
