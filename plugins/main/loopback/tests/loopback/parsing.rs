//! No input makes the plugin panic.

use cni_loopback::Loopback;
use serde_json::json;
use testkit::parsing::survives_any_input;

#[test]
fn any_input_is_answered() {
    let config = json!({
        "cniVersion": "1.1.0", "name": "lo", "type": "loopback",
        "ipam": {}, "dns": {"nameservers": ["10.1.0.1"]}, "capabilities": {"mac": true},
        "runtimeConfig": {"mac": "02:00:00:00:00:02"},
        "prevResult": {
            "cniVersion": "1.1.0",
            "interfaces": [{"name": "lo", "sandbox": "/nowhere/netns"}],
            "ips": [{"address": "127.0.0.1/8", "interface": 0}],
        },
    });
    survives_any_input(&Loopback, "lo", &config);
}
