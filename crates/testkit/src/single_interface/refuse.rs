//! Test cases of invalid input and of STATUS.

use super::{Network, Subject};
use crate::{Node, ScriptedIpam, leases, merge, table::cases};
use serde_json::{Value, json};

impl Subject {
    /// ADD of `base` with the keys of each case is refused and does not change the host.
    ///
    /// # Panics
    ///
    /// When an expectation is not met.
    #[track_caller]
    pub fn refuses(&self, network: &Network, base: &Value, table: &str) {
        let container = network.container("refused");
        let before = network.snapshot();
        for case in cases(table) {
            let config = merge(base.clone(), &case.extra);
            self.plugin()
                .add(&container, &config)
                .expect_error(case.code)
                .mentions(&case.words);
        }
        before.assert_same(&network.snapshot());
        assert_eq!(container.link_names(), ["lo"]);
        assert_eq!(leases("net"), [""; 0]);
    }

    /// The message of each refusal is exactly upstream's, and there are details. In this table, `EXPECTED` is the whole
    /// message.
    ///
    /// # Panics
    ///
    /// When an expectation is not met.
    #[track_caller]
    pub fn messages_are_upstreams(&self, table: &str) {
        let network = self.bare_network();
        let container = network.container("c1");
        for case in cases(table) {
            let config = self.dual(case.extra);
            let error = self
                .plugin()
                .add(&container, &config)
                .expect_error(case.code);
            assert_eq!(error.msg, case.words);
            assert_ne!(error.details, "", "{}", error.msg);
        }
    }

    /// STATUS of a valid configuration succeeds silently and calls STATUS of the IPAM plugin; with the keys of each
    /// case it fails. It never changes the host.
    ///
    /// # Panics
    ///
    /// When an expectation is not met.
    #[track_caller]
    pub fn status(&self, table: &str) {
        crate::needs(self.needs);
        let network = self.bare_network();
        // A port of a bridge, for the cases.
        network.ip("link add br0 type bridge");
        network.ip("link add v0 type veth peer name v1");
        network.ip("link set v0 master br0");
        let before = network.snapshot();
        let run = self.plugin().status(&self.dual(json!({}))).expect_ok();
        assert_eq!((run.stdout_text(), run.stderr_text()), Default::default());
        for case in cases(table) {
            let config = self.dual(case.extra);
            self.plugin()
                .status(&config)
                .expect_error(case.code)
                .mentions(&case.words);
        }
        before.assert_same(&network.snapshot());
        let ipam = ScriptedIpam::new(&network, "");
        let config = self.dual(json!({"ipam": {"type": "scripted"}}));
        let status = || ipam.command(&self.plugin(), "STATUS").config(&config).run();
        status().expect_ok();
        assert_eq!(ipam.calls(), ["STATUS"]);
        let half_empty = "#!/bin/sh\necho '{\"code\": 51, \"msg\": \"half empty\"}'; exit 1\n";
        network.write("scripted", half_empty);
        status().expect_error(51).mentions("half empty");
    }

    /// ADD of each of `configs` is refused if the interface exists, and does not change it.
    ///
    /// # Panics
    ///
    /// When an expectation is not met.
    #[track_caller]
    pub fn an_interface_that_exists(&self, configs: &[Value]) {
        let network = self.network();
        let container = network.container("c1");
        self.plugin()
            .add(&container, &self.ipv4(json!({})))
            .expect_ok();
        let before = network.snapshot();
        for config in configs {
            self.plugin()
                .add(&container, config)
                .expect_error(999)
                .mentions(&format!("failed to create {}: file exists", self.name))
                .mentions("; container interface \"eth0\" already exists in /run/netns/c1");
        }
        before.assert_same(&network.snapshot());
        if self.router.is_some() {
            container.ping("10.1.0.1");
        }
    }
}
