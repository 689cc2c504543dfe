//! The firewalld backend, with firewalld itself on a bus.

use crate::common::{config, firewall, records};
use serde_json::json;
use std::fs;
use std::time::{Duration, Instant};
use testkit::{Container, Host, Node, Plugin, Service};

fn wait_for(what: &str, found: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(90);
    while !found() {
        assert!(Instant::now() < deadline, "no {what} after 90 s");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A host that runs firewalld.
struct Firewalled {
    firewalld: Option<Service>,
    _bus: Service,
    c1: Container,
    host: Host,
}

impl Firewalled {
    fn new() -> Firewalled {
        let host = Host::new();
        host.command(&["ip", "link", "set", "lo", "up"]);
        host.command(&["ip", "link", "add", "cni0", "type", "bridge"]);
        fs::create_dir_all("/run/dbus").unwrap();
        let bus = Service::start(&["dbus-daemon", "--system", "--nofork", "--nopidfile"]);
        wait_for("bus", || {
            fs::metadata("/run/dbus/system_bus_socket").is_ok()
        });
        let firewalld = Some(Service::start(&["firewalld", "--nofork", "--nopid"]));
        let c1 = host.container("c1");
        let site = Firewalled {
            firewalld,
            _bus: bus,
            c1,
            host,
        };
        wait_for("firewalld", || site.zone("trusted").is_some());
        site
    }

    /// The sources of a zone; `None` without an answer from firewalld.
    fn zone(&self, zone: &str) -> Option<String> {
        let ask = ["firewall-cmd", "--zone", zone, "--list-sources"];
        self.host
            .try_command(&ask)
            .ok()
            .map(|text| text.trim().to_owned())
    }

    #[track_caller]
    fn assert_zone(&self, zone: &str, sources: &str) {
        let found = self.zone(zone).unwrap();
        let mut words: Vec<&str> = found.split_whitespace().collect();
        words.sort_unstable();
        assert_eq!(words.join(" "), sources);
    }
}

const BOTH: &str = "10.1.0.2/32 fd00:1::2/128";

#[test]
fn addresses_are_sources_of_the_zone() {
    let site = Firewalled::new();
    // Chosen by name, and because it runs.
    for extra in [
        json!({"backend": "firewalld"}),
        json!({}),
        json!({"backend": "firewalld", "firewalldZone": "work"}),
    ] {
        let zone = extra["firewalldZone"]
            .as_str()
            .unwrap_or("trusted")
            .to_owned();
        let config = config(extra);
        firewall().status(&config).expect_ok();
        for _ in 0..2 {
            firewall().add(&site.c1, &config).expect_ok();
            site.assert_zone(&zone, BOTH);
        }
        firewall().check(&site.c1, &config).expect_ok();
        site.host.command(&[
            "firewall-cmd",
            "--zone",
            &zone,
            "--remove-source",
            "fd00:1::2/128",
        ]);
        firewall()
            .check(&site.c1, &config)
            .expect_error(999)
            .mentions(&format!(
                "failed to find the address fd00:1::2/128 in {zone} zone"
            ));
        for _ in 0..2 {
            firewall().del(&site.c1, &config).expect_ok();
            site.assert_zone(&zone, "");
        }
        assert_eq!(records(), [""; 0]);
    }

    // Without prevResult, and by GC: from the records.
    let other = config(json!({"firewalldZone": "work"}));
    firewall().add(&site.c1, &other).expect_ok();
    let bare = config(json!({"prevResult": null, "cni.dev/valid-attachments": []}));
    firewall().del(&site.c1, &bare).expect_ok();
    site.assert_zone("work", "");
    firewall().add(&site.c1, &other).expect_ok();
    firewall().gc(&bare).expect_ok();
    site.assert_zone("work", "");

    // A zone that does not exist, and an address that is in another one.
    let nowhere = config(json!({"firewalldZone": "nowhere"}));
    firewall()
        .add(&site.c1, &nowhere)
        .expect_error(999)
        .mentions("INVALID_ZONE");
    firewall().del(&site.c1, &nowhere).expect_ok();
    site.host.command(&[
        "firewall-cmd",
        "--zone",
        "work",
        "--add-source",
        "fd00:1::2/128",
    ]);
    let trusted = config(json!({}));
    let error = firewall().add(&site.c1, &trusted).expect_error(999);
    error.mentions("failed to add the address fd00:1::2/128 to trusted zone: ");
    site.assert_zone("trusted", "");
    assert_eq!(records(), [""; 0]);
    site.host.command(&[
        "firewall-cmd",
        "--zone",
        "work",
        "--remove-source",
        "fd00:1::2/128",
    ]);

    // Each change fails in turn, and is undone. iptables enforces the policy.
    let policy = config(json!({"ingressPolicy": "isolated"}));
    let requests = testkit::fail_each_request(&site.host, || {
        firewall()
            .command("ADD")
            .container(&site.c1)
            .config(&policy)
    });
    // The policy's rules stay after the first ADD.
    assert_eq!(requests, 2);
    firewall().add(&site.c1, &policy).expect_ok();
    firewall().check(&site.c1, &policy).expect_ok();
    let rules = site.host.command(&["iptables-save", "-t", "filter"]);
    assert!(rules.contains("-i cni0 -o cni0"), "{rules}");
    assert!(!rules.contains("10.1.0.2"), "{rules}");
    firewall().del(&site.c1, &policy).expect_ok();
}

#[test]
fn del_works_when_firewalld_starts_or_stops() {
    let mut site = Firewalled::new();
    let peer = Plugin::peer("firewall");
    let mut config = config(json!({"cniVersion": "1.0.0"}));
    config["prevResult"]["cniVersion"] = "1.0.0".into();
    peer.add(&site.c1, &config).expect_ok();
    site.assert_zone("trusted", BOTH);
    firewall().check(&site.c1, &config).expect_ok();
    firewall().del(&site.c1, &config).expect_ok();
    site.assert_zone("trusted", "");
    firewall().add(&site.c1, &config).expect_ok();
    peer.check(&site.c1, &config).expect_ok();
    peer.del(&site.c1, &config).expect_ok();
    site.assert_zone("trusted", "");

    // Added while it runs, deleted while it does not.
    firewall().add(&site.c1, &config).expect_ok();
    site.firewalld = None;
    wait_for("end of firewalld", || site.zone("trusted").is_none());
    firewall()
        .check(&site.c1, &config)
        .expect_error(999)
        .mentions("firewalld does not run");
    firewall().del(&site.c1, &config).expect_ok();
    assert_eq!(records(), [""; 0]);

    // Added while it does not run, deleted while it does.
    firewall().add(&site.c1, &config).expect_ok();
    let has_rule = |host: &Host| {
        let rules = host.command(&["iptables-save", "-t", "filter"]);
        rules.contains("10.1.0.2")
    };
    assert!(has_rule(&site.host));
    site.firewalld = Some(Service::start(&["firewalld", "--nofork", "--nopid"]));
    wait_for("firewalld", || site.zone("trusted").is_some());
    firewall().del(&site.c1, &config).expect_ok();
    assert!(!has_rule(&site.host));
    assert_eq!(records(), [""; 0]);
}
