//! The examples of the documentation that ask for IPv6, run.

use serde_json::Value;
use testkit::dhcp::{self, Pool, Program, Server};
use testkit::{Plugin, examples};

use crate::common::Rig;

const PAGE: &str = include_str!("../../../../../Documentation/plugins/dhcp.md");

#[test]
fn every_example_with_ipv6_works() {
    let rig = Rig::new();
    let server = dhcp::node(&rig.host, "s1", &["10.9.0.1/24", "2001:db8:9::1/64"]);
    let pool = Pool::short("10.9.0.10", "10.9.0.30");
    let options = "--enable-ra --dhcp-range=2001:db8:9::100,2001:db8:9::1ff,64,120";
    let _server = Server::start(
        &rig.host,
        Program::Dnsmasq,
        &server,
        "leases",
        &pool,
        options,
    );
    let all: Vec<Value> = examples(PAGE)
        .into_iter()
        .filter(|example| example["ipam"].get("ipv6").is_some())
        .collect();
    assert!(all.len() >= 2, "{} examples", all.len());
    let plugin = Plugin::new("dhcp");
    for (number, mut config) in all.into_iter().enumerate() {
        config["cniVersion"] = "1.1.0".into();
        config["name"] = "example".into();
        plugin.status(&config).expect_ok();
        let container = dhcp::node(&rig.host, &format!("e{number}"), &[]);
        let run = plugin.add(&container, &config).expect_ok();
        let ips = run.json()["ips"].clone();
        let leases_ipv4 = config["ipam"]["ipv4"] != false;
        assert_eq!(
            ips.as_array().map(Vec::len),
            Some(1 + usize::from(leases_ipv4)),
            "{ips}"
        );
        plugin.check(&container, &run.with_prev()).expect_ok();
        plugin.del(&container, &run.with_prev()).expect_ok();
    }
}
