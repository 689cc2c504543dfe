//! The hardware address of the interface, and `CNI_ARGS`.

use super::Subject;
use crate::{Node, merge};
use serde_json::json;

impl Subject {
    /// `runtimeConfig` has precedence over `CNI_ARGS`, and both over the key `mac`. An empty value counts as not given.
    ///
    /// # Panics
    ///
    /// When the interface has another hardware address.
    #[track_caller]
    pub fn precedence_of_the_hardware_address(&self) {
        let network = self.network();
        let args = "IgnoreUnknown=1;K8S_POD_NAME=x;MAC=02:00:00:00:00:0b";
        let capability = json!({"runtimeConfig": {"mac": "02:00:00:00:00:0c"}});
        for (extra, args, expected) in [
            (json!({}), "", "02:00:00:00:00:0a"),
            (json!({}), args, "02:00:00:00:00:0b"),
            (capability, args, "02:00:00:00:00:0c"),
            (
                json!({"runtimeConfig": {"mac": ""}}),
                "MAC=",
                "02:00:00:00:00:0a",
            ),
            // Only the bridge plugin reads this one.
            (
                json!({"args": {"cni": {"mac": "02:00:00:00:00:0d"}}}),
                "",
                "02:00:00:00:00:0a",
            ),
            (json!({"mac": "0200.0000.00AB"}), "", "02:00:00:00:00:ab"),
            (
                json!({"runtimeConfig": {"mac": "02-00-00-00-00-AC"}}),
                "",
                "02:00:00:00:00:ac",
            ),
        ] {
            let container = network.container("c1");
            let config = merge(self.layer2(json!({"mac": "02:00:00:00:00:0a"})), &extra);
            let call = self.plugin().command("ADD").container(&container);
            let run = call.args(args).config(&config).run().expect_ok();
            assert_eq!(run.json()["interfaces"][0]["mac"], expected);
            assert_eq!(container.link_attribute("eth0", "/address"), expected);
            // The kernel deletes a namespace, and the interface in it, in the background.
            self.plugin().del(&container, &config).expect_ok();
            container.delete();
        }
    }

    /// ADD with malformed or unknown `CNI_ARGS` fails, and nothing is changed.
    ///
    /// # Panics
    ///
    /// When an expectation is not met.
    #[track_caller]
    pub fn malformed_arguments_are_refused(&self) {
        let network = self.bare_network();
        let container = network.container("c1");
        let before = network.snapshot();
        for (args, words) in [
            ("K8S_POD_NAME=x", "ARGS: unknown args [\"K8S_POD_NAME=x\"]"),
            ("MAC", "ARGS: invalid pair \"MAC\""),
            ("MAC=zz", "address zz: invalid MAC address"),
            ("mac=02:00:00:00:00:0a", "ARGS: unknown args"),
        ] {
            let call = self.plugin().command("ADD").container(&container);
            let call = call.args(args).config(&self.layer2(json!({})));
            call.run().expect_error(999).mentions(words);
        }
        before.assert_same(&network.snapshot());
    }
}
