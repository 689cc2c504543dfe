//! Test cases of CHECK, which must fail after each kind of drift and name it.

use super::{Network, Subject};
use crate::{Container, Node, Run, leases, merge, table::cases};
use serde_json::{Value, json};
use std::fs;

/// Drift that every plugin detects. `<case>` precedes messages that begin in upper or lower case depending on the
/// plugin, `<prefix>` those with the plugin's prefix. `MAC` in a command is the hardware address of the interface.
const COMMON: &str = r#"
    link set eth0 down => <case>Interface eth0 is down
    link del eth0 => <prefix>Container Interface name in prevResult: eth0 not found
    link set eth0 down; link set eth0 name eth7 up => <prefix>Container Interface name in prevResult: eth0 not found
    {"txQueueLen": 77} link set eth0 txqueuelen 78 => <case>Interface eth0 has 78 where txQueueLen is 77
    link del eth0; link add eth0 address MAC up type veth peer name x => <case>Error: Container interface eth0 not of type
    addr del 10.1.0.10/24 dev eth0 => Failed to match addr 10.1.0.10/24 on interface eth0
    addr del 10.1.0.10/24 dev eth0; addr add 10.1.0.10/16 dev eth0 => Failed to match addr 10.1.0.10/24 on interface eth0
    route del default => Expected Route {Dst:{IP:0.0.0.0 Mask:00000000}
    route change default via 10.1.0.2 => has gateway 10.1.0.2
    route del 10.50.0.0/16 => Expected Route {Dst:{IP:10.50.0.0 Mask:ffff0000}
    route change 10.50.0.0/16 via 10.1.0.1 metric 50 mtu 1200 => mtu 1200, not 1300
    route del 10.51.0.0/16 table 100 => Expected Route {Dst:{IP:10.51.0.0 Mask:ffff0000}
"#;

/// Drift that plugins with a master detect.
const ON_MASTER: &str = r#"
    {"mtu": 1400} link set eth0 mtu 1300 => <case>Error: Tuning configured MTU of eth0 is 1400, current value is 1300
    {"mtu": "auto"} link set eth0 mtu 1300 => <case>Error: Tuning configured MTU of eth0 is 1500, current value is 1300
"#;

/// An attachment for which CHECK succeeds.
pub struct Attached<'s> {
    subject: &'s Subject,
    /// The host.
    pub network: Network,
    /// The container.
    pub container: Container,
    /// Its ADD.
    pub run: Run,
}

impl Attached<'_> {
    /// CHECK with the keys of `extra` in the configuration fails and mentions `words`.
    ///
    /// # Panics
    ///
    /// When it does not.
    #[track_caller]
    pub fn fails(&self, extra: &Value, words: &str) {
        let config = merge(self.run.with_prev(), extra);
        let error = self.subject.plugin().check(&self.container, &config);
        error
            .expect_error(999)
            .mentions(&self.subject.worded(words));
    }

    /// CHECK with the keys of `extra` in the configuration succeeds.
    ///
    /// # Panics
    ///
    /// When it does not.
    #[track_caller]
    pub fn passes(&self, extra: &Value) {
        let config = merge(self.run.with_prev(), extra);
        let check = self.subject.plugin().check(&self.container, &config);
        check.expect_ok();
    }

    /// The keys of each case make CHECK fail.
    ///
    /// # Panics
    ///
    /// When they do not.
    #[track_caller]
    pub fn fails_each(&self, table: &str) {
        for case in cases(table) {
            self.fails(&case.extra, &case.words);
        }
    }
}

impl Subject {
    /// Attaches a container with three IPv4 routes and the keys of `extra` in the configuration.
    #[track_caller]
    pub fn attached(&self, extra: &Value) -> Attached<'_> {
        let attached = self.attach(self.network(), extra);
        attached.passes(&json!({}));
        attached
    }

    #[track_caller]
    fn attach(&self, network: Network, extra: &Value) -> Attached<'_> {
        let container = network.container("c1");
        let mut config = self.ipv4(json!({}));
        config["ipam"]["routes"] = json!([
            {"dst": "0.0.0.0/0"}, {"dst": "10.50.0.0/16", "priority": 50, "mtu": 1300},
            {"dst": "10.51.0.0/16", "table": 100},
        ]);
        let run = self.plugin().add(&container, &merge(config, extra));
        Attached {
            subject: self,
            run: run.expect_ok(),
            network,
            container,
        }
    }

    fn worded(&self, words: &str) -> String {
        let (prefix, rest) = match words.strip_prefix("<prefix>") {
            Some(rest) => (self.prefix, rest),
            None => match words.strip_prefix("<case>") {
                Some(rest) => ("", rest),
                None => return words.to_owned(),
            },
        };
        match rest.split_at_checked(1) {
            Some((first, others)) if self.lower_case => {
                format!("{prefix}{}{others}", first.to_lowercase())
            }
            _ => format!("{prefix}{rest}"),
        }
    }

    /// CHECK fails after the `ip` commands of each case, run in the container, and names the drift: the common cases,
    /// and those of `table`. The keys of a case are in the configuration of ADD as well.
    ///
    /// # Panics
    ///
    /// When it does not.
    #[track_caller]
    pub fn drift_is_named(&self, table: &str) {
        let on_master = if self.router.is_some() { ON_MASTER } else { "" };
        let mut network = self.network();
        let mut checked = Vec::new();
        for case in cases(&[COMMON, on_master, table].concat()) {
            let attached = self.attach(network, &case.extra);
            // Before the drift, CHECK succeeds.
            if !checked.contains(&case.extra) {
                attached.passes(&json!({}));
                checked.push(case.extra.clone());
            }
            let mac = attached.run.json()["interfaces"][0]["mac"].clone();
            for command in &case.commands {
                let command = command.replace("MAC", mac.as_str().unwrap_or_default());
                attached.container.ip(&command);
            }
            attached.fails(&json!({}), &case.words);
            network = self.detach(attached);
        }
    }

    /// Undoes the attachment and its drift, and returns the host.
    #[track_caller]
    fn detach(&self, attached: Attached<'_>) -> Network {
        let container = &attached.container;
        self.plugin()
            .del(container, &attached.run.with_prev())
            .expect_ok();
        for name in container.link_names() {
            if name != "lo" {
                // The peer of a deleted veth no longer exists.
                let _ = container.try_command(&["ip", "link", "del", &name]);
            }
        }
        // So that each attachment gets the same addresses.
        fs::remove_dir_all("/var/lib/cni/networks").expect("host-local's directory");
        attached.network
    }

    /// CHECK fails without a lease and with a prevResult of another attachment, and ignores additions by others.
    ///
    /// # Panics
    ///
    /// When an expectation is not met.
    #[track_caller]
    pub fn lease_and_previous_result_are_checked(&self) {
        let attached = self.attached(&json!({}));
        attached.fails(
            &json!({"prevResult": null}),
            "<prefix>Required prevResult missing",
        );
        let mut prev = attached.run.json();
        prev["interfaces"][0]["sandbox"] = "/run/netns/other".into();
        attached.fails(
            &json!({"prevResult": prev}),
            "<case>Sandbox in prevResult /run/netns/other doesn't match configured netns: /run/netns/c1",
        );
        prev["interfaces"][0]["name"] = "eth9".into();
        attached.fails(
            &json!({"prevResult": prev}),
            "interface \"eth0\" of the container is not in prevResult",
        );
        prev["cniVersion"] = "0.2.0".into();
        attached.fails(&json!({"prevResult": prev}), "could not parse prevResult");
        attached.container.ip("addr add 10.9.0.9/24 dev eth0");
        attached.container.ip("route add 10.60.0.0/16 dev eth0");
        let mut prev = attached.run.json();
        let ips = prev["ips"].as_array_mut().expect("addresses");
        ips.push(json!({"address": "192.0.2.2/24", "interface": 1}));
        let interfaces = prev["interfaces"].as_array_mut().expect("interfaces");
        interfaces.push(json!({"name": "ifb0"}));
        attached.passes(&json!({"prevResult": prev}));
        for lease in leases("net") {
            let path = format!("/var/lib/cni/networks/net/{lease}");
            fs::remove_file(path).expect("the lease");
        }
        attached.fails(
            &json!({}),
            "host-local: Failed to find address added by container c1",
        );
    }

    /// CHECK detects another master, in the container and on the host, and accepts changes that later plugins recorded.
    ///
    /// # Panics
    ///
    /// When it does not.
    #[track_caller]
    pub fn the_master_is_checked(&self) {
        let attached = self.attached(&json!({"mtu": 1400}));
        let host = &attached.network;
        host.ip("link add m1 up type veth peer name p1");
        attached.fails_each(
            r#"
            {"master": "m1"} => <case>Interface eth0 is not on master "m1"
            {"master": "gone"} => failed to lookup master "gone": Link not found
            {"master": "lo", "linkInContainer": true} => <case>Interface eth0 is not on master "lo"
            "#,
        );
        // A later plugin of the chain has changed the MTU and recorded it.
        attached.container.ip("link set eth0 mtu 1300");
        let mut prev = attached.run.json();
        prev["interfaces"][0]["mtu"] = 1300.into();
        attached.passes(&json!({"prevResult": prev}));
        // Another link with the name of the master. Older kernels rename a link only while it is down.
        for (from, to) in [("m0", "old"), ("m1", "m0")] {
            host.ip(&format!("link set {from} down"));
            host.ip(&format!("link set {from} name {to} up"));
        }
        attached.fails(
            &json!({"prevResult": prev}),
            "<case>Interface eth0 is not on master \"m0\"",
        );
    }

    /// CHECK of a pod that upstream added succeeds, although its ADD ignored the keys of `extra`, which it does not
    /// know. Drift of what it did set is named.
    ///
    /// # Panics
    ///
    /// When an expectation is not met.
    #[track_caller]
    pub fn pods_of_upstream_pass(&self, extra: &Value) {
        let network = self.network();
        let container = network.container("c1");
        let unknown = json!({
            "cniVersion": "1.0.0", "mtu": 1400, "txQueueLen": 77, "numQueues": 3, "gsoMaxSize": 30000,
        });
        let config = merge(self.ipv4(unknown), extra);
        let run = self.peer().add(&container, &config).expect_ok();
        let check = || self.plugin().check(&container, &run.with_prev());
        check().expect_ok();
        container.ip("link set eth0 mtu 1300");
        check()
            .expect_error(999)
            .mentions("MTU of eth0 is 1400, current value is 1300");
    }
}
