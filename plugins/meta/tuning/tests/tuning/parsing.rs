//! No input makes the plugin panic.

use cni_tuning::Tuning;
use serde_json::json;
use testkit::parsing::survives_any_input;

#[test]
fn no_input_makes_it_panic() {
    let config = json!({
        "cniVersion": "1.1.0", "name": "net", "type": "tuning",
        "sysctl": {"net.core.somaxconn": "1"}, "mac": "02:00:00:00:00:01", "mtu": 1400,
        "promisc": true, "allmulti": true, "txQLen": 100,
        "capabilities": {"mac": true}, "runtimeConfig": {"mac": "02:00:00:00:00:02"},
        "args": {"cni": {"mac": "02:00:00:00:00:03"}},
        "cni.dev/valid-attachments": [{"containerID": "c", "ifname": "eth0"}],
        "prevResult": {
            "cniVersion": "1.1.0",
            "interfaces": [{"name": "eth0", "sandbox": "/nowhere/netns"}],
        },
    });
    survives_any_input(&Tuning, "eth0", &config);
}
