//! Zones of a firewalld that runs on a bus.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use netfilter::firewalld::Firewalld;
use testkit::{Host, Node, Service};

const SOCKET: &str = "/run/dbus/system_bus_socket";

fn wait_for<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(Instant::now() < deadline, "no {what} after 60 s");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn sources_are_added_and_removed() {
    let host = Host::new();
    host.command(&["ip", "link", "set", "lo", "up"]);
    assert!(Firewalld::find().unwrap().is_none(), "no bus, no firewalld");
    fs::create_dir_all("/run/dbus").unwrap();
    let _bus = Service::start(&["dbus-daemon", "--system", "--nofork", "--nopidfile"]);
    wait_for("bus", || fs::metadata(SOCKET).ok());
    assert!(Firewalld::find().unwrap().is_none(), "a bus without it");
    let _firewalld = Service::start(&["firewalld", "--nofork", "--nopid"]);
    let mut firewalld = wait_for("firewalld", || Firewalld::find().unwrap());

    let source = "10.0.0.2/32";
    // firewalld claims its bus name before it has read its zones.
    wait_for("zones", || firewalld.query_source("trusted", source).ok());
    for source in [source, "fd00::2/128"] {
        assert!(!firewalld.query_source("trusted", source).unwrap());
        firewalld.add_source("trusted", source).unwrap();
        firewalld.add_source("trusted", source).unwrap();
        assert!(firewalld.query_source("trusted", source).unwrap());
        assert!(!firewalld.query_source("public", source).unwrap());
    }
    let error = firewalld.add_source("public", source).unwrap_err();
    assert!(error.to_string().contains("ZONE_CONFLICT"), "{error}");
    let error = firewalld.add_source("no-such-zone", source).unwrap_err();
    assert_eq!(
        error.to_string(),
        "D-Bus call org.fedoraproject.FirewallD1.zone.addSource(no-such-zone, 10.0.0.2/32): \
         INVALID_ZONE: no-such-zone"
    );
    assert_eq!(
        error.bus_error(),
        Some("org.fedoraproject.FirewallD1.Exception")
    );
    let error = firewalld.add_source("trusted", "no address").unwrap_err();
    assert!(error.to_string().contains("INVALID_ADDR"), "{error}");
    let error = firewalld.add_source("tru\0sted", source).unwrap_err();
    assert!(error.to_string().contains("zero byte"), "{error}");
    firewalld.remove_source("trusted", source).unwrap();
    firewalld.remove_source("trusted", source).unwrap();
    assert!(!firewalld.query_source("trusted", source).unwrap());
}
