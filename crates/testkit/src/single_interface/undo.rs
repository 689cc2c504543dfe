//! Test cases of failing ADDs, which must leave host and container as they were.

use super::Subject;
use crate::{Node, ScriptedIpam, fail_each_request};
use serde_json::{Value, json};

impl Subject {
    /// Makes each kernel request of an ADD of `config` fail in turn. Returns their number.
    ///
    /// # Panics
    ///
    /// When something is left behind.
    #[track_caller]
    pub fn each_request_fails(&self, config: &Value) -> u32 {
        let network = self.network();
        let container = network.container("c1");
        let add = || {
            let add = self.plugin().command("ADD");
            add.container(&container).config(config)
        };
        fail_each_request(&network, add)
    }

    /// The same on a host that has a link with the name of the interface, for which older kernels need more requests,
    /// and for a plugin with a master also with the master in the container.
    ///
    /// # Panics
    ///
    /// When something is left behind.
    #[track_caller]
    pub fn each_request_fails_elsewhere(&self, configs: &[Value]) {
        let network = self.network();
        network.ip("link add eth0 type veth peer name p0");
        let container = network.container("c1");
        let add = |config: &Value| {
            let add = self.plugin().command("ADD");
            add.container(&container).config(config)
        };
        for config in configs {
            fail_each_request(&network, || add(config));
        }
        if self.router.is_some() {
            self.master_into(&network, &container, "m0");
            let config = self.ipv4(json!({"master": "up0", "linkInContainer": true}));
            fail_each_request(&network, || add(&config));
        }
    }

    /// ADD fails and is undone if the IPAM plugin fails, returns no addresses, or returns an address that the kernel
    /// refuses. `code` is the code of the plugin's error when IPAM fails with code 11.
    ///
    /// # Panics
    ///
    /// When something is left behind, or IPAM is not called as often as it should be.
    #[track_caller]
    pub fn ipam_fails(&self, code: u64) {
        let network = self.network();
        let container = network.container("c1");
        network.write("calls", "");
        network.write("stdin", "");
        let before = network.snapshot().without("testkit");
        let config = self.ipv4(json!({"ipam": {"type": "scripted"}}));
        for (answer, code, words, calls) in [
            (
                r#"{"code": 11, "msg": "no address", "details": "later"}'; exit 1; echo '"#,
                code,
                "no address; later",
                &["ADD"][..],
            ),
            (
                r#"{"cniVersion": "1.1.0", "ips": []}"#,
                999,
                "IPAM plugin returned missing IP config",
                &["ADD", "DEL"],
            ),
            (
                r#"{"cniVersion": "1.1.0", "ips": [{"address": "10.3.0.9/24"}, {"address": "10.3.0.9/24"}]}"#,
                999,
                "failed to add IP addr 10.3.0.9/24 to \"eth0\": ",
                &["ADD", "DEL"],
            ),
            (
                r#"{"cniVersion": "1.1.0", "ips": [{"address": "10.3.0.9/24"}],
                    "routes": [{"dst": "10.9.0.0/16", "gw": "192.0.2.1"}]}"#,
                999,
                "network is unreachable",
                &["ADD", "DEL"],
            ),
        ] {
            let ipam = ScriptedIpam::new(&network, &format!("echo '{answer}'"));
            network.write("calls", "");
            let call = ipam.command(&self.plugin(), "ADD").container(&container);
            call.config(&config)
                .run()
                .expect_error(code)
                .mentions(words);
            before.assert_same(&network.snapshot().without("testkit"));
            assert_eq!(container.link_names(), ["lo"]);
            assert_eq!(ipam.calls(), calls, "{words}");
        }
    }
}
