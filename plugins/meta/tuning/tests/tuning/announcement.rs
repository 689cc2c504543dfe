//! A new hardware address is announced.

use crate::common::{attached, config, ip, tuning};
use serde_json::json;
use testkit::Node;

const OLD: &str = "02:00:00:00:00:01";
const NEW: &str = "02:00:00:00:00:0a";

#[test]
fn neighbours_learn_the_new_address() {
    let (host, container) = attached();
    ip(&host, "addr add 10.1.0.1/24 dev outside");
    ip(&host, "addr add fd00:1::1/64 dev outside nodad");
    for address in ["10.1.0.5", "fd00:1::5"] {
        ip(
            &host,
            &format!("neigh replace {address} lladdr {OLD} nud stale dev outside"),
        );
    }
    let sysctls = container.sysctls();
    let config = config(json!({"mac": NEW}));
    tuning().add(&container, &config).expect_ok();
    for address in ["10.1.0.5", "fd00:1::5"] {
        // Another processor may deliver it.
        let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
        loop {
            let known = host.ip_json(&["neigh", "show", "dev", "outside", "to", address]);
            if known[0]["lladdr"] == NEW {
                break;
            }
            assert!(std::time::Instant::now() < end, "{known}");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
    assert_eq!(container.sysctls(), sysctls);
}
