//! `portIsolation`: containers that reach the gateway, but not each other.

use crate::common::{attribute, bridge, dual, host_end, layer2, run_on};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::time::Duration;
use testkit::{Container, Host, Node, Run};

const ISOLATED: &str = "/linkinfo/info_slave_data/isolated";

fn config(isolated: bool) -> Value {
    dual(json!({"isGateway": true, "portIsolation": isolated}))
}

fn add(host: &Host, name: &str, isolated: bool) -> (Container, Run) {
    let container = host.container(name);
    let run = bridge().add(&container, &config(isolated)).expect_ok();
    assert_eq!(attribute(host, &host_end(&run), ISOLATED), isolated);
    bridge().check(&container, &run.with_prev()).expect_ok();
    (container, run)
}

fn reaches(from: &Container, to: &str) -> bool {
    let to: IpAddr = to.parse().unwrap();
    from.can_reach(to, Duration::from_millis(400))
}

#[test]
fn isolated_ports_reach_the_gateway_but_not_each_other() {
    let host = Host::new();
    let (c1, _) = add(&host, "c1", true);
    let (c2, _) = add(&host, "c2", true);
    let (open, _) = add(&host, "c3", false);
    for container in [&c1, &c2, &open] {
        container.ping("10.1.0.1");
        container.ping("fd00:1::1");
    }
    for address in ["10.1.0.3", "fd00:1::3"] {
        assert!(!reaches(&c1, address), "{address}");
    }
    for address in ["10.1.0.2", "fd00:1::2"] {
        assert!(!reaches(&c2, address), "{address}");
        // Isolation is between isolated ports.
        open.ping(address);
    }
    c1.ping("10.1.0.4");
    host.command(&["ping", "-n", "-c", "1", "-W", "1", "10.1.0.2"]);
}

#[test]
fn without_it_they_do() {
    let host = Host::new();
    let (c1, _) = add(&host, "c1", false);
    let (_c2, _) = add(&host, "c2", false);
    c1.ping("10.1.0.3");
    c1.ping("fd00:1::3");
}

#[test]
fn check_reports_isolation_that_was_lost() {
    let host = Host::new();
    let (container, run) = add(&host, "c1", true);
    let veth = host_end(&run);
    let off = format!("ip link set {veth} type bridge_slave isolated off");
    run_on(&host, &off);
    let words = format!("Interface {veth} has port isolation false, configured is true");
    let check = bridge().check(&container, &run.with_prev());
    check.expect_error(999).mentions(&words);
}

#[test]
fn together_with_hairpin_mode_and_without_ipam() {
    let host = Host::new();
    let container = host.container("c1");
    let config = layer2(json!({"portIsolation": true, "hairpinMode": true}));
    let run = bridge().add(&container, &config).expect_ok();
    let veth = host_end(&run);
    assert_eq!(attribute(&host, &veth, ISOLATED), true);
    let hairpin = attribute(&host, &veth, "/linkinfo/info_slave_data/hairpin");
    assert_eq!(hairpin, true);
    bridge().check(&container, &run.with_prev()).expect_ok();
}
