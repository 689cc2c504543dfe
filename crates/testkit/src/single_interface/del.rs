//! Test cases of DEL and GC.

use super::{Network, Subject};
use crate::{Node, leases, merge};
use serde_json::{Value, json};

/// What is missing at DEL.
#[derive(Clone, Copy, Debug)]
enum Missing {
    Nothing,
    PrevResult,
    Link,
    Master,
    Namespace,
    NetnsVariable,
}

impl Subject {
    /// DEL, called twice, deletes the interface and the lease and prints nothing: with everything in place; after a
    /// crash or a reboot, with the link, its master, the namespace, `CNI_NETNS` or `prevResult` missing; and with the
    /// keys of each of `broken` in the configuration, which ADD would refuse.
    ///
    /// # Panics
    ///
    /// When an expectation is not met.
    #[track_caller]
    pub fn del_from_anywhere(&self, broken: &[Value]) {
        let network = self.network();
        for missing in [Missing::Nothing, Missing::PrevResult, Missing::Link] {
            self.del_without(&network, missing, &json!({}));
        }
        for keys in broken {
            self.del_without(&network, Missing::Nothing, keys);
        }
        // What these cases leave is deleted with the host.
        for missing in [Missing::Master, Missing::Namespace, Missing::NetnsVariable] {
            self.del_without(&self.network(), missing, &json!({}));
        }
    }

    #[track_caller]
    fn del_without(&self, network: &Network, missing: Missing, keys: &Value) {
        let container = network.container("c1");
        let run = self.plugin().add(&container, &self.ipv4(json!({})));
        let mut config = run.expect_ok().with_prev();
        assert_eq!(leases("net").len(), 1, "{missing:?}");
        let mut call = self.plugin().command("DEL").container(&container);
        match missing {
            Missing::PrevResult => config["prevResult"] = Value::Null,
            Missing::Link => drop(container.ip("link del eth0")),
            Missing::Master if self.router.is_some() => drop(network.ip("link del m0")),
            Missing::Namespace => container.delete(),
            Missing::NetnsVariable => call = call.netns(""),
            Missing::Nothing | Missing::Master => {}
        }
        for _ in 0..2 {
            let call = call.clone().config(&merge(config.clone(), keys));
            let del = call.run().expect_ok();
            assert_eq!((del.stdout_text(), del.stderr_text()), Default::default());
            assert_eq!(leases("net"), [""; 0], "{missing:?} {keys}");
        }
        if !matches!(missing, Missing::Namespace | Missing::NetnsVariable) {
            assert_eq!(container.link("eth0"), None, "{missing:?} {keys}");
        }
    }

    /// GC releases the leases of attachments that are not valid. Without IPAM, DEL and GC succeed as well.
    ///
    /// # Panics
    ///
    /// When an expectation is not met.
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
        // Without a list, every attachment may be valid.
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
