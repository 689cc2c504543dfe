//! Test cases of ADD.

use super::{Network, Subject};
use crate::{Node, Plugin, VERSIONS, leases, merge, run_all};
use serde_json::{Value, json};
use std::fs;

/// The printed result of an attachment in `version`: `eth0` with hardware address `mac` and an MTU of 1500, the
/// addresses and routes of [`dual_stack`](crate::dual_stack), name server 10.1.0.53 and search list `example.org`.
#[must_use]
pub fn printed_result(version: &str, mac: &str) -> String {
    let text = match version {
        "0.1.0" | "0.2.0" => include_str!("../results/single-0.1.json"),
        "1.0.0" => include_str!("../results/single-1.0.json"),
        "1.1.0" => include_str!("../results/single-1.1.json"),
        _ => include_str!("../results/single-0.3.json"),
    };
    text.trim_end()
        .replace("VERSION", version)
        .replace("MAC", mac)
}

impl Subject {
    /// ADD, CHECK and two DELs of `config` succeed in every version, and the result is [`printed_result`].
    ///
    /// # Panics
    ///
    /// When an expectation is not met.
    #[track_caller]
    pub fn every_version(&self, network: &Network, config: &Value) {
        let plugin = self.plugin();
        for version in VERSIONS {
            let container = network.container("c1");
            let mut config = config.clone();
            config["cniVersion"] = version.into();
            let run = plugin.add(&container, &config).expect_ok();
            let mac = container.link_attribute("eth0", "/address");
            let expected = printed_result(version, mac.as_str().unwrap_or_default());
            assert_eq!(run.stdout_text(), expected, "{version}");
            assert_eq!(run.stderr_text(), "", "{version}");
            let check = plugin.check(&container, &run.with_prev());
            if version >= "0.4.0" {
                assert_eq!(check.expect_ok().stdout_text(), "");
            } else {
                check
                    .expect_error(1)
                    .mentions("config version does not allow CHECK");
            }
            for _ in 0..2 {
                let del = plugin.del(&container, &run.with_prev()).expect_ok();
                assert_eq!((del.stdout_text(), del.stderr_text()), Default::default());
                assert_eq!(container.link("eth0"), None);
                assert_eq!(leases("net"), [""; 0]);
            }
            // So that each version gets the same addresses.
            fs::remove_dir_all("/var/lib/cni/networks").expect("host-local's directory");
            container.delete();
        }
        let speaks = plugin.version().expect_ok().json();
        let expected = json!({"cniVersion": "1.1.0", "supportedVersions": VERSIONS});
        assert_eq!(speaks, expected);
    }

    /// ADD, CHECK and DEL without IPAM succeed in every version but 0.1.0 and 0.2.0, whose results require an address.
    ///
    /// # Panics
    ///
    /// When an expectation is not met.
    #[track_caller]
    pub fn every_version_without_ipam(&self) {
        let network = self.network();
        for version in VERSIONS {
            let container = network.container("c1");
            let dns = json!({"domain": "x.example"});
            let config = self.layer2(json!({"cniVersion": version, "dns": dns}));
            let before = network.snapshot();
            let run = self.plugin().add(&container, &config);
            if version < "0.3.0" {
                run.expect_error(999)
                    .mentions("cannot convert: no valid IP addresses");
                before.assert_same(&network.snapshot());
            } else {
                let run = run.expect_ok();
                let mut interface = json!({
                    "name": "eth0", "sandbox": "/run/netns/c1",
                    "mac": container.link_attribute("eth0", "/address"),
                });
                if version == "1.1.0" {
                    interface["mtu"] = 1500.into();
                }
                let result = run.json();
                assert_eq!(result["interfaces"], json!([interface]), "{version}");
                assert_eq!(result["dns"], dns, "{version}");
                let flags = container.link_attribute("eth0", "/flags");
                let is_up = flags
                    .as_array()
                    .is_some_and(|flags| flags.contains(&"UP".into()));
                assert!(is_up, "{flags}");
                if version >= "0.4.0" {
                    let check = self.plugin().check(&container, &run.with_prev());
                    check.expect_ok();
                }
                self.plugin().del(&container, &config).expect_ok();
                assert_eq!(container.link_names(), ["lo"]);
            }
            container.delete();
        }
    }

    /// Addresses and routes of both families are set, work in both directions, and leave nothing on the host.
    /// `announced` is whether the plugin makes the kernel announce the addresses.
    ///
    /// # Panics
    ///
    /// When an expectation is not met.
    #[track_caller]
    pub fn addresses_and_routes_of_both_families(&self, announced: bool) {
        let network = self.network();
        let container = network.container("c1");
        let mut config = self.dual(json!({}));
        config["ipam"]["routes"] = json!([
            {"dst": "0.0.0.0/0"}, {"dst": "::/0"},
            {"dst": "10.50.0.0/16", "mtu": 1300, "advmss": 1200},
        ]);
        let run = self.plugin().add(&container, &config).expect_ok();
        let mac = container.link_attribute("eth0", "/address");
        let interface =
            json!({"name": "eth0", "mac": mac, "mtu": 1500, "sandbox": "/run/netns/c1"});
        assert_eq!(run.json()["interfaces"], json!([interface]));
        assert_eq!(run.json()["routes"], config["ipam"]["routes"]);
        assert_eq!(
            container.addresses("eth0"),
            ["10.1.0.10/24", "fd00:1::10/64"]
        );
        assert_eq!(
            container.routes("-4"),
            [
                "10.50.0.0/16 via 10.1.0.1 dev eth0 mtu 1300 advmss 1200",
                "default via 10.1.0.1 dev eth0",
            ]
        );
        for address in ["10.1.0.1", "fd00:1::1"] {
            container.ping(address);
        }
        for address in ["10.1.0.10", "fd00:1::10"] {
            network.router().ping(address);
        }
        let announced = if announced { "1" } else { "0" };
        for key in [
            "net/ipv4/conf/eth0/arp_notify",
            "net/ipv6/conf/eth0/ndisc_notify",
        ] {
            assert_eq!(container.sysctl(key), announced, "{key}");
        }
        assert_eq!(network.link_names(), ["lo", "m0"]);
    }

    /// The interface has the expected MTU for each value of `mtu`: the common ones, and those of `others`. The link of
    /// the host's default route has an MTU of 1300.
    ///
    /// # Panics
    ///
    /// When the MTU differs.
    #[track_caller]
    pub fn mtu_up_to_the_masters(&self, others: &[(Value, u32)]) {
        let network = self.network();
        network.ip("route add default dev m0 mtu 1300");
        let common = [
            (json!(1400), 1400),
            (json!(1500), 1500),
            (json!(0), 1500),
            (json!("auto"), 1300),
        ];
        for (mtu, actual) in common.iter().chain(others) {
            let container = network.container("c1");
            let config = self.ipv4(json!({"mtu": mtu}));
            let run = self.plugin().add(&container, &config).expect_ok();
            assert_eq!(run.json()["interfaces"][0]["mtu"], *actual);
            assert_eq!(container.link_attribute("eth0", "/mtu"), *actual);
            self.plugin()
                .check(&container, &run.with_prev())
                .expect_ok();
            self.plugin().del(&container, &config).expect_ok();
            container.delete();
        }
    }

    /// The link options that upstream lacks, and the keys of `extra`, are applied: the link has `attributes`.
    ///
    /// # Panics
    ///
    /// When it does not.
    #[track_caller]
    pub fn link_options(&self, extra: &Value, attributes: &[(&str, Value)]) {
        let network = self.network();
        let container = network.container("c1");
        let options = json!({
            "txQueueLen": 77, "numQueues": 3, "gsoMaxSize": 30000, "groMaxSize": 20000,
        });
        let config = merge(self.ipv4(options), extra);
        let run = self.plugin().add(&container, &config).expect_ok();
        let common = [
            ("/txqlen", json!(77)),
            ("/num_tx_queues", json!(3)),
            ("/gso_max_size", json!(30000)),
            ("/gro_max_size", json!(20000)),
        ];
        for (pointer, value) in common.iter().chain(attributes) {
            let actual = container.link_attribute("eth0", pointer);
            assert_eq!(actual, *value, "{pointer}");
        }
        self.plugin()
            .check(&container, &run.with_prev())
            .expect_ok();
    }

    /// Several ADDs at once succeed on a host that has a link with the name of the interface; for a plugin with a
    /// master, this link is the master.
    ///
    /// # Panics
    ///
    /// When one fails.
    #[track_caller]
    pub fn host_has_a_link_of_the_name(&self, containers: usize) {
        let network = self.network_on("eth0");
        if self.router.is_none() {
            network.ip("link add eth0 type bridge");
        }
        let containers: Vec<_> = (0..containers)
            .map(|n| network.container(&format!("c{n}")))
            .collect();
        let config = match self.router {
            Some(_) => self.ipv4(json!({"master": "eth0"})),
            None => self.ipv4(json!({})),
        };
        let add = |c| self.plugin().command("ADD").container(c).config(&config);
        for run in run_all(containers.iter().map(add)) {
            run.expect_ok();
        }
        for container in &containers {
            assert_eq!(container.link_names(), ["eth0", "lo"]);
        }
        assert_eq!(leases("net").len(), containers.len());
        if self.router.is_some() {
            let last = format!("10.1.0.{}", 9 + containers.len());
            network.router().ping(&last);
        }
        assert_eq!(network.link_names(), ["eth0", "lo"]);
    }

    /// With `linkInContainer`, the master is in the container, and links of the host are ignored.
    ///
    /// # Panics
    ///
    /// When an expectation is not met.
    #[track_caller]
    pub fn the_master_in_the_container(&self) {
        let network = self.network();
        let container = network.container("c1");
        self.master_into(&network, &container, "m0");
        let config = self.ipv4(json!({"master": "up0", "linkInContainer": true, "mtu": 1400}));
        self.plugin().status(&config).expect_ok();
        let run = self.plugin().add(&container, &config).expect_ok();
        assert_eq!(container.link_attribute("eth0", "/link"), "up0");
        container.ping("10.1.0.1");
        self.plugin()
            .check(&container, &run.with_prev())
            .expect_ok();
        // Another link on the host has the name of the master.
        network.ip("link add up0 up type veth peer name p0");
        let mut on_host = run.with_prev();
        on_host["linkInContainer"] = json!(false);
        self.plugin()
            .check(&container, &on_host)
            .expect_error(999)
            .mentions("nterface eth0 is not on master \"up0\"");
        for _ in 0..2 {
            self.plugin().del(&container, &run.with_prev()).expect_ok();
            assert_eq!(container.link_names(), ["lo", "up0"]);
        }
        network.ip("link add m1 up type veth peer name p1");
        let base = self.ipv4(json!({"linkInContainer": true}));
        for (extra, words) in [
            (
                json!({"master": "m1"}),
                "failed to lookup master \"m1\": Link not found",
            ),
            (
                json!({"master": "up0", "mtu": 1501}),
                "invalid MTU 1501, must be [0, master MTU(1500)]",
            ),
        ] {
            let config = merge(base.clone(), &extra);
            self.plugin()
                .add(&container, &config)
                .expect_error(999)
                .mentions(words);
        }
    }

    /// For each of `configs`, CHECK and DEL of one implementation succeed after ADD of the other, and both print the
    /// same result and create the same link. Versions 0.4.0 and 1.0.0, because the peer is an older release.
    ///
    /// # Panics
    ///
    /// When an expectation is not met.
    #[track_caller]
    pub fn either_way_round(&self, configs: &[Value]) {
        for config in configs {
            let ours = self.added_by(&self.plugin(), &self.peer(), config);
            let theirs = self.added_by(&self.peer(), &self.plugin(), config);
            assert_eq!(ours, theirs);
        }
    }

    /// Runs ADD with `adder`, and CHECK and DEL with `other`. Returns the printed result and the link.
    #[track_caller]
    fn added_by(&self, adder: &Plugin, other: &Plugin, config: &Value) -> (Value, Vec<Value>) {
        let network = self.network();
        // The interface may have the master's hardware address.
        network.ip("link set m0 address 02:00:00:00:00:0a");
        let container = network.container("c1");
        let run = adder.add(&container, config).expect_ok();
        other.check(&container, &run.with_prev()).expect_ok();
        // Not the length of the transmit queue, which the peer sets to 0.
        let link = ["/mtu", "/linkinfo", "/flags"]
            .map(|pointer| container.link_attribute("eth0", pointer))
            .to_vec();
        let mut result = run.json();
        if result["dns"] == json!({}) {
            // Newer releases omit an empty dns.
            result.as_object_mut().expect("an object").remove("dns");
        }
        for deleter in [other, adder] {
            deleter.del(&container, &run.with_prev()).expect_ok();
            assert_eq!(container.link_names(), ["lo"]);
            assert_eq!(leases("net"), [""; 0]);
        }
        (result, link)
    }

    /// Containers of both implementations on one master reach each other.
    ///
    /// # Panics
    ///
    /// When they do not.
    #[track_caller]
    pub fn side_by_side(&self) {
        let network = self.network();
        let (a, b) = (network.container("a"), network.container("b"));
        let config = self.dual(json!({"cniVersion": "1.0.0"}));
        self.plugin().add(&a, &config).expect_ok();
        self.peer().add(&b, &config).expect_ok();
        a.ping("10.1.0.11");
        b.ping("fd00:1::10");
    }
}
