//! Cases of firewall.

use std::fs;

use serde_json::{Value, json};
use testkit::{Node as _, Service, merge};

use crate::difference::Difference;
use crate::differences::*;
use crate::exchange::{Case, TWO, eventually};
use crate::side::peer_is_new;
use crate::site::{self, Site};

static EXPECTED: &[&Difference] = &[&RECORDS, &FIREWALL_GC];

fn firewall(extra: Value) -> Value {
    merge(json!({"type": "firewall"}), &extra)
}

#[test]
fn iptables() {
    let case = Case::new(firewall(json!({"backend": "iptables"}))).at(site::bridged);
    case.versions(TWO).expect(EXPECTED).run();
    let case = Case::new(firewall(json!({}))).at(site::bridged_ipv4);
    case.expect(EXPECTED).run();
    let config = firewall(json!({"iptablesAdminChainName": "OTHER"}));
    Case::new(config).at(site::bridged).expect(EXPECTED).run();
    for site in [site::bridged, site::bridged_ipv4] {
        let config = firewall(json!({"ingressPolicy": "same-bridge"}));
        let case = Case::new(config).at(site).expect(EXPECTED);
        case.expect(&[&FIREWALL_COMMENTS]).run();
    }
    if peer_is_new() {
        let config = firewall(json!({"ingressPolicy": "isolated"}));
        Case::new(config).at(site::bridged).expect(EXPECTED).run();
    }
}

/// A host that runs firewalld.
fn firewalled() -> Site {
    let site = site::bridged();
    fs::create_dir_all("/run/dbus").expect("create the directory of the bus");
    let bus = Service::start(&["dbus-daemon", "--system", "--nofork", "--nopidfile"]);
    eventually("the bus listens", || {
        fs::exists("/run/dbus/system_bus_socket").unwrap_or(false)
    });
    let firewalld = Service::start(&["firewalld", "--nofork", "--nopid"]);
    let ask = ["firewall-cmd", "--zone", "trusted", "--list-sources"];
    eventually("firewalld answers", || site.host.try_command(&ask).is_ok());
    site.with_service(firewalld).with_service(bus)
}

#[test]
fn firewalld() {
    let config = firewall(json!({"backend": "firewalld", "firewalldZone": "work"}));
    Case::new(config).at(firewalled).expect(EXPECTED).run();
}
