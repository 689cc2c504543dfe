//! DEL and GC.

use super::Subject;
use crate::{Node, del_from_anywhere, leases, merge};
use serde_json::{Value, json};

impl Subject {
    /// DEL from wherever a crash may have left things, and with configurations that ADD would refuse: those with the
    /// keys of each of `broken`. See [`del_from_anywhere`].
    ///
    /// # Panics
    ///
    /// When it fails, or something is left.
    #[track_caller]
    pub fn del_from_anywhere(&self, broken: &[Value]) {
        let broken: Vec<Value> = broken.iter().map(|b| self.ipv4(b.clone())).collect();
        del_from_anywhere(&self.plugin(), &self.ipv4(json!({})), &broken, || {
            let network = self.network();
            (network.host, network.router)
        });
    }

    /// GC releases the leases of attachments that are not valid; DEL and GC without IPAM have nothing to release.
    ///
    /// # Panics
    ///
    /// When anything is otherwise.
    #[track_caller]
    pub fn gc_releases_what_nobody_holds(&self) {
        let network = self.network();
        let lost = network.container("lost");
        let config = self.ipv4(json!({}));
        self.plugin().add(&lost, &config).expect_ok();
        let gc = |valid: Value, extra: Value| {
            let valid = json!({"cni.dev/valid-attachments": valid});
            let config = merge(merge(config.clone(), &valid), &extra);
            self.plugin().gc(&config).expect_ok();
            leases("net").len()
        };
        // Without a list nothing is known to be gone.
        self.plugin().gc(&config).expect_ok();
        assert_eq!(leases("net"), ["10.1.0.10"]);
        assert_eq!(
            gc(
                json!([{"containerID": "lost", "ifname": "eth0"}]),
                json!({})
            ),
            1
        );
        assert_eq!(lost.link_names(), ["eth0", "lo"]);
        assert_eq!(gc(json!([]), json!({"ipam": null})), 1);
        let without = merge(config.clone(), &json!({"ipam": null}));
        self.plugin().del(&lost, &without).expect_ok();
        assert_eq!(lost.link_names(), ["lo"]);
        assert_eq!(gc(json!([]), json!({})), 0);
    }
}
