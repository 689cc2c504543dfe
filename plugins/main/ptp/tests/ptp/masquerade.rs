//! `ipMasq`: packets to other networks have an address of the host as their source.
//! The tests of the bridge plugin, which shares the implementation, cover more cases.

use crate::common::{dual, ptp};
use serde_json::{Value, json};
use std::fs;
use std::net::IpAddr;
use testkit::{Container, Host, Listener, Node, Plugin, fail_each_request, filters, outside};

const BACKENDS: [&str; 2] = ["nftables", "iptables"];

fn config(backend: &str) -> Value {
    dual(json!({"ipMasq": true, "ipMasqBackend": backend}))
}

fn attached(host: &Host, name: &str, backend: &str) -> (Container, Value) {
    let container = host.container(name);
    let run = ptp().add(&container, &config(backend)).expect_ok();
    ptp().check(&container, &run.with_prev()).expect_ok();
    (container, run.with_prev())
}

fn address(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

fn traces(host: &Host) -> Vec<String> {
    let mut lines = filters(host);
    let parts = ["CNI-", "net: net", "10.1.0.", "fd00:1:"];
    lines.retain(|line| parts.iter().any(|part| line.contains(part)));
    lines
}

#[test]
fn packets_to_other_networks_only_have_the_hosts_address() {
    for backend in BACKENDS {
        let host = Host::new();
        let outside = outside(&host);
        let (c1, _) = attached(&host, "c1", backend);
        let (c2, _) = attached(&host, "c2", backend);
        for (there, hosts, own, neighbour) in [
            ("192.0.2.9", "192.0.2.1", "10.1.0.2", "10.1.0.3"),
            ("2001:db8::9", "2001:db8::1", "fd00:1::2", "fd00:1::3"),
        ] {
            assert_eq!(
                Listener::new(&outside, there).sees(&c1),
                address(hosts),
                "{backend}"
            );
            // The host routes between containers as well.
            assert_eq!(
                Listener::new(&c2, neighbour).sees(&c1),
                address(own),
                "{backend}"
            );
        }
    }
}

#[test]
fn del_deletes_rules_whatever_is_left() {
    for backend in BACKENDS {
        for gone in ["nothing", "prevResult", "link", "namespace", "environment"] {
            for recorded in [true, false] {
                let host = Host::new();
                let (container, mut config) = attached(&host, "c1", backend);
                let (other, others) = attached(&host, "c2", backend);
                let mut del = ptp().command("DEL").container(&container);
                if gone != "nothing" {
                    config["prevResult"] = Value::Null;
                }
                match gone {
                    "link" => drop(container.ip("link del eth0")),
                    "namespace" => container.delete(),
                    "environment" => del = del.netns(""),
                    _ => {}
                }
                if !recorded {
                    fs::remove_dir_all("/run/cni/filters").unwrap();
                }
                for _ in 0..2 {
                    del.clone().config(&config).run().expect_ok();
                    let left = traces(&host);
                    let mine = |line: &String| line.contains("10.1.0.2") || line.contains("c1\"");
                    assert!(
                        !left.iter().any(mine),
                        "{backend} {gone} {recorded}: {left:#?}"
                    );
                }
                ptp().check(&other, &others).expect_ok();
                let mut gc = config.clone();
                gc["cni.dev/valid-attachments"] = json!([]);
                ptp().gc(&gc).expect_ok();
                assert_eq!(traces(&host), [""; 0], "{backend} {gone} {recorded}");
            }
        }
    }
}

/// Whoever goes back to this release from a later one has records of another form.
#[test]
fn records_of_a_later_release_go_with_the_rules() {
    const RECORD: &str = "/run/cni/filters/net:c1:eth0";
    let host = Host::new();
    for verb in ["DEL", "GC"] {
        let (container, mut config) = attached(&host, "c1", "nftables");
        let record = fs::read_to_string(RECORD).unwrap();
        let later = record.replace("\"version\":1", "\"version\":2");
        fs::write(RECORD, &later).unwrap();
        config["cni.dev/valid-attachments"] = json!([{"containerID": "c1", "ifname": "eth0"}]);
        ptp().gc(&config).expect_ok();
        assert_eq!(fs::read_to_string(RECORD).unwrap(), later);
        config["cni.dev/valid-attachments"] = json!([]);
        let call = ptp().command(verb).container(&container);
        call.config(&config).run().expect_ok();
        assert_eq!(traces(&host), [""; 0], "{verb}");
        assert!(!fs::exists(RECORD).unwrap(), "{verb}");
    }
}

#[test]
fn a_failed_add_leaves_nothing() {
    for backend in BACKENDS {
        let host = Host::new();
        let container = host.container("c1");
        let requests = fail_each_request(&host, || {
            let add = ptp().command("ADD").container(&container);
            add.config(&config(backend))
        });
        assert!(requests > 10, "{requests}");
    }
}

#[test]
fn handed_over_between_this_plugin_and_the_peer() {
    let peer = Plugin::peer("ptp");
    for (from, to) in [(&peer, &ptp()), (&ptp(), &peer)] {
        let host = Host::new();
        let (c1, c2) = (host.container("c1"), host.container("c2"));
        let mut config = config("iptables");
        config["cniVersion"] = "1.0.0".into();
        config["ipam"]["routes"] = json!([]);
        let run = from.add(&c1, &config).expect_ok();
        let other = to.add(&c2, &config).expect_ok();
        for plugin in [from, to] {
            plugin.check(&c1, &run.with_prev()).expect_ok();
            plugin.check(&c2, &other.with_prev()).expect_ok();
        }
        to.del(&c1, &run.with_prev()).expect_ok();
        from.del(&c2, &other.with_prev()).expect_ok();
        assert_eq!(traces(&host), [""; 0]);
    }
}
