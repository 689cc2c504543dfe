//! Cases of dhcp: each plugin with each daemon.

use serde_json::json;

use crate::differences::EMPTY_DNS;
use crate::exchange::{Case, TWO};
use crate::side::{BOTH, Side};
use crate::site;

#[test]
fn leases_of_both_daemons() {
    for daemon in BOTH {
        let program = daemon.dir().join("dhcp").display().to_string();
        for ipam in [
            json!({"type": "dhcp"}),
            json!({"type": "dhcp", "provide": [{"option": "host-name", "value": "c1"}],
                "request": [{"option": "routers", "skipDefault": true}]}),
        ] {
            let config = json!({"type": "dhcp", "ipam": ipam});
            let case = Case::new(config).at(|| site::lan(&[&program, "daemon"]));
            // Upstream's daemon has no GC, and CHECK makes its release 1.1.1 keep the namespace.
            let case = if daemon == Side::Peer {
                case.without_gc()
            } else {
                case
            };
            case.versions(TWO).expect(&[&EMPTY_DNS]).run();
        }
    }
}
