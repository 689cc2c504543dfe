//! A failing ADD changes nothing; what a killed one leaves is found by DEL and GC.

use crate::common::{BACKENDS, config, filter_tables, firewall, mentions, nft_table, records};
use serde_json::json;
use testkit::{Host, Node, fail_each_request};

#[test]
fn add_is_undone_whichever_change_fails() {
    for (backend, least) in [("iptables", 2), ("nftables", 1)] {
        let host = Host::new();
        let c1 = host.container("c1");
        host.command(&["ip", "link", "add", "cni0", "type", "bridge"]);
        let config = config(json!({"backend": backend, "ingressPolicy": "isolated"}));
        let requests = fail_each_request(&host, || {
            firewall().command("ADD").container(&c1).config(&config)
        });
        assert_eq!(requests, least, "{backend}");
    }
}

/// The second family fails on a host without rules.
#[test]
fn only_shared_chains_are_left() {
    let host = Host::new();
    let c1 = host.container("c1");
    let config = config(json!({"backend": "iptables", "ingressPolicy": "isolated"}));
    let add = firewall().command("ADD").container(&c1).config(&config);
    add.env("RTNL_FAIL_AT", "2")
        .run()
        .expect_error(999)
        .mentions("injected");
    let rest = filter_tables(&host);
    assert!(
        !rest.contains("10.1.0.2") && !rest.contains("cni0"),
        "{rest}"
    );
    assert_eq!(records(), [""; 0]);
}

#[test]
fn what_a_killed_call_leaves_is_removed() {
    for backend in BACKENDS {
        for collector in ["DEL", "GC"] {
            for verb in ["ADD", "DEL"] {
                for number in 1..=3 {
                    let host = Host::new();
                    let c1 = host.container("c1");
                    let config = config(json!({
                        "backend": backend, "ingressPolicy": "same-bridge",
                        "cni.dev/valid-attachments": [],
                    }));
                    if verb == "DEL" {
                        firewall().add(&c1, &config).expect_ok();
                    }
                    let call = firewall().command(verb).container(&c1).config(&config);
                    call.env("RTNL_KILL_AT", number.to_string()).run();
                    let clean = match collector {
                        "DEL" => firewall().command("DEL").container(&c1),
                        _ => firewall().command("GC"),
                    };
                    clean.config(&config).run().expect_ok();
                    let rest = filter_tables(&host) + &nft_table(&host);
                    let what = format!("{backend} {verb} killed at {number}, {collector}:\n{rest}");
                    let is_whole = verb == "ADD" && backend == "nftables" && number > 1
                        || verb == "ADD" && number > 2;
                    // An ADD that came to its end is an attachment like any other.
                    assert!(
                        collector == "GC" || !is_whole || !mentions(&host, "10.1.0.2"),
                        "{what}"
                    );
                    assert!(
                        !mentions(&host, "10.1.0.2") && !mentions(&host, "fd00:1::2"),
                        "{what}"
                    );
                    assert!(!rest.contains("cni0"), "{what}");
                    assert_eq!(records(), [""; 0], "{what}");
                }
            }
        }
    }
}

/// The other family's rules are removed, and the next DEL removes the rest.
#[test]
fn del_continues_after_a_failure() {
    for backend in BACKENDS {
        for number in 1..=3 {
            let host = Host::new();
            let c1 = host.container("c1");
            host.command(&["ip", "link", "add", "cni0", "type", "bridge"]);
            let config = config(json!({"backend": backend}));
            firewall().add(&c1, &config).expect_ok();
            let del = firewall().command("DEL").container(&c1).config(&config);
            del.env("RTNL_FAIL_AT", number.to_string()).run();
            if backend == "iptables" {
                let left = ["10.1.0.2", "fd00:1::2"].map(|address| mentions(&host, address));
                assert!(!left[0] || !left[1], "{number}");
            }
            firewall().del(&c1, &config).expect_ok();
            assert!(!mentions(&host, "10.1.0.2") && !mentions(&host, "fd00:1::2"));
            assert_eq!(records(), [""; 0]);
        }
    }
}
