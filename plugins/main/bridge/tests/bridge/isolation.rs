//! `portIsolation`: containers reach the gateway, but not each other.

use crate::common::{attached, bridge, dual, host_end, layer2, reaches};
use serde_json::{Value, json};
use testkit::{Container, Host, Node, Run};

const ISOLATED: &str = "/linkinfo/info_slave_data/isolated";

fn config(isolated: bool) -> Value {
    dual(json!({"isGateway": true, "portIsolation": isolated}))
}

fn add(host: &Host, name: &str, isolated: bool) -> (Container, Run) {
    let (container, run) = attached(host, name, &config(isolated));
    assert_eq!(host.link_attribute(&host_end(&run), ISOLATED), isolated);
    (container, run)
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
        // Only frames between two isolated ports are dropped.
        open.ping(address);
    }
    c1.ping("10.1.0.4");
    host.ping("10.1.0.2");
}

#[test]
fn without_isolation_containers_reach_each_other() {
    let host = Host::new();
    let (c1, _) = add(&host, "c1", false);
    let (_c2, _) = add(&host, "c2", false);
    c1.ping("10.1.0.3");
    c1.ping("fd00:1::3");
}

#[test]
fn check_reports_lost_isolation() {
    let host = Host::new();
    let (container, run) = add(&host, "c1", true);
    let veth = host_end(&run);
    host.ip(&format!("link set {veth} type bridge_slave isolated off"));
    let words = format!("Interface {veth} has port isolation false, configured is true");
    let check = bridge().check(&container, &run.with_prev());
    check.expect_error(999).mentions(&words);
}

#[test]
fn isolation_with_hairpin_mode_and_without_ipam() {
    let host = Host::new();
    let config = layer2(json!({"portIsolation": true, "hairpinMode": true}));
    let (_container, run) = attached(&host, "c1", &config);
    let veth = host_end(&run);
    assert_eq!(host.link_attribute(&veth, ISOLATED), true);
    let hairpin = host.link_attribute(&veth, "/linkinfo/info_slave_data/hairpin");
    assert_eq!(hairpin, true);
}
