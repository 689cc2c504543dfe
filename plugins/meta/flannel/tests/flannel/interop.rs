//! With the peer's delegates. (Upstream's flannel is not packaged; its state is in
//! `state.rs`.)

use crate::common::{IPV4, config, flannel, host, states};
use serde_json::json;
use testkit::{Node, bin_dir, leases, peer_dir};

#[test]
fn delegates_of_both() {
    let host = host(IPV4);
    let dirs = [bin_dir(), peer_dir()];
    for (add, del) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let container = host.container("c1");
        // Without ipMasq, which is not ours to test here.
        let config = config(json!({"cniVersion": "1.0.0", "delegate": {"ipMasq": false}}));
        let call = |verb: &str, dir: usize, config: &serde_json::Value| {
            let call = flannel().command(verb).container(&container).config(config);
            call.path(&dirs[dir]).run().expect_ok()
        };
        let run = call("ADD", add, &config);
        container.ping("10.1.17.1");
        // The peer's bridge misses its own routes that have no gateway in the result.
        call("CHECK", 0, &run.with_prev());
        for _ in 0..2 {
            call("DEL", del, &run.with_prev());
            assert_eq!((states(), leases("net")), Default::default());
            assert_eq!(container.link("eth0"), None);
        }
        container.delete();
    }
}
