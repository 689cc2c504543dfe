//! GC of whole networks. A runtime written in Go passes an empty list of valid attachments as `null`.

mod links;
mod page;
mod upstream;

use blackbox::chain::{Chain, kubernetes_plugins};
use blackbox::state;
use serde_json::{Value, json};
use testkit::Host;

const VALID: &str = "cni.dev/valid-attachments";
/// The key in the first text of specification 1.1.0.
const DEPRECATED: &str = "cni.dev/attachments";

/// Networks whose plugins all keep state on the host.
fn networks() -> Vec<Chain> {
    let backends =
        ["iptables", "nftables"].map(|backend| Chain::new(kubernetes_plugins(backend, &ipam())));
    let others = [
        Chain::new(vec![
            json!({"type": "ptp", "ipMasq": true, "ipam": ipam()}),
            json!({"type": "sbr"}),
        ]),
        Chain::new(vec![
            json!({"type": "flannel", "subnetFile": "/run/subnet.env"}),
        ]),
    ];
    backends.into_iter().chain(others).collect()
}

fn ipam() -> Value {
    json!({"type": "host-local", "ranges": [[{"subnet": "10.60.0.0/24"}], [{"subnet": "fd00:60::/64"}]]})
}

#[test]
fn null_means_that_no_attachment_is_valid() {
    let subnets = "FLANNEL_NETWORK=10.60.0.0/16\nFLANNEL_SUBNET=10.60.0.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n";
    for network in networks() {
        for keys in [
            json!({VALID: null, DEPRECATED: null}),
            json!({VALID: null}),
            json!({DEPRECATED: null}),
        ] {
            let host = Host::new();
            std::fs::write("/run/subnet.env", subnets).expect("the daemon's file");
            let container = host.container("c1");
            network.add(&container);
            let attached = state::of(&host);
            network.gc_with(&json!({}));
            attached.assert_same(&state::of(&host));

            network.gc_with(&keys);
            let collected = state::of(&host);
            assert!(state::leases("net").is_empty(), "{network:?}, {keys}");
            network.gc_with(&json!({VALID: []}));
            collected.assert_same(&state::of(&host));
        }
    }
}
