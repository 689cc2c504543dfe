//! No input makes the plugin panic.

use cni_sbr::Sbr;
use serde_json::json;
use testkit::parsing::survives_any_input;

#[test]
fn no_input_makes_it_panic() {
    let config = json!({
        "cniVersion": "1.1.0", "name": "net", "type": "sbr",
        "table": 100, "gateways": ["10.0.0.1"], "addSourceHints": true,
        "cni.dev/valid-attachments": [{"containerID": "c", "ifname": "eth0"}],
        "prevResult": {
            "cniVersion": "1.1.0",
            "interfaces": [{"name": "net1", "sandbox": "/nowhere/netns"}],
            "ips": [{"address": "10.0.0.5/24", "gateway": "10.0.0.1", "interface": 0}],
        },
    });
    survives_any_input(&Sbr, "net1", &config);
}
