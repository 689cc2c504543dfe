//! `cnitool repair --watch-firewalld`, with firewalld itself on a bus.

mod support;

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use support::Setup;
use testkit::{Host, Node, Service};

#[track_caller]
fn wait_for(what: &str, found: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(90);
    while !found() {
        assert!(Instant::now() < deadline, "no {what} after 90 s");
        thread::sleep(Duration::from_millis(100));
    }
}

/// The sources of the zone of containers; nothing without an answer from firewalld.
fn sources(host: &Host) -> Option<String> {
    let ask = ["firewall-cmd", "--zone", "trusted", "--list-sources"];
    let answer = host.try_command(&ask).ok();
    answer.map(|text| text.trim().to_owned())
}

#[test]
fn sources_are_put_back_after_each_reload() {
    let ipam = json!({"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}]]});
    let setup = Setup::with_list(&json!({
        "cniVersion": "1.1.0", "name": "net",
        "plugins": [
            {"type": "ptp", "ipam": ipam},
            {"type": "firewall", "backend": "firewalld"},
        ]
    }));
    let host = &setup.host;
    let run = setup.run(&["repair", "--watch-firewalld"]);
    assert_eq!(run.status.code(), Some(1), "{}", run.report());
    assert!(run.stderr_text().contains("firewalld is not running"));

    fs::create_dir_all("/run/dbus").expect("make a directory");
    let _bus = Service::start(&["dbus-daemon", "--system", "--nofork", "--nopidfile"]);
    wait_for("bus", || {
        fs::metadata("/run/dbus/system_bus_socket").is_ok()
    });
    let _firewalld = Service::start(&["firewalld", "--nofork", "--nopid"]);
    wait_for("firewalld", || sources(host).is_some());
    let container = host.container("c1");
    setup.verb("add", &container).expect_ok();
    let is_source = || sources(host).as_deref() == Some("10.1.0.2/32");
    assert!(is_source());
    host.command(&["firewall-cmd", "--reload"]);
    assert_eq!(sources(host).as_deref(), Some(""));
    let mut watching = setup
        .call(&["repair", "--watch-firewalld"])
        .deadline(Duration::from_secs(300))
        .start();
    wait_for("repair at the start", is_source);
    for _ in 0..2 {
        host.command(&["firewall-cmd", "--reload"]);
        wait_for("repair after a reload", is_source);
    }
    assert!(!watching.has_ended());
    watching.kill();
    setup.verb("del", &container).expect_ok();
    assert_eq!(sources(host).as_deref(), Some(""));
}
