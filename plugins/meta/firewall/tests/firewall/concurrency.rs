//! Concurrent calls, while another program keeps rewriting its own rules.

use crate::common::{bridged, config, filter_tables, firewall, mentions, nft_table, records};
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};
use testkit::{Host, Node, run_all};

const MANY: u8 = 30;

/// Ends the other program, also when the test fails.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn thirty_concurrent_calls_succeed() {
    let host = Host::new();
    let c1 = host.container("c1");
    host.command(&["nft", "add table ip mine; add chain ip mine c"]);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stops = Stops(&stop);
        scope.spawn(|| {
            let nft =
                "flush chain ip mine c; add rule ip mine c counter; add rule ip mine c accept";
            while !stop.load(Ordering::Relaxed) {
                for command in [
                    "iptables -w -A INPUT -s 192.0.2.1 -j ACCEPT",
                    "iptables -w -D INPUT -s 192.0.2.1 -j ACCEPT",
                    &format!("nft '{nft}'"),
                ] {
                    let status = std::process::Command::new("sh")
                        .args(["-c", command])
                        .status();
                    assert!(status.unwrap().success(), "{command}");
                }
            }
        });
        let all = |verb: &str| {
            let calls = (0..MANY).map(|number| {
                let backend = if number % 2 == 0 {
                    "iptables"
                } else {
                    "nftables"
                };
                let mut config =
                    config(json!({"backend": backend, "ingressPolicy": "same-bridge"}));
                config["prevResult"] = bridged("1.1.0", "cni0", number + 2);
                let call = firewall().command(verb).container(&c1).config(&config);
                call.id(&format!("id{number}"))
            });
            for run in run_all(calls) {
                run.expect_ok();
            }
        };
        all("ADD");
        for number in 0..MANY {
            assert!(mentions(&host, &format!("10.1.0.{}", number + 2)));
        }
        all("CHECK");
        // There are no duplicates.
        let text = filter_tables(&host);
        let mut rules: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("-A CNI"))
            .collect();
        let half = rules.len() / 2;
        let mut v4 = rules.drain(..half).collect::<Vec<_>>();
        v4.sort_unstable();
        let count = v4.len();
        v4.dedup();
        assert_eq!(v4.len(), count, "{text}");
        all("DEL");
    });
    let rest = filter_tables(&host) + &nft_table(&host);
    assert!(
        !rest.contains("10.1.0.") && !rest.contains("fd00:1::"),
        "{rest}"
    );
    assert!(!rest.contains("192.0.2.1"), "{rest}");
    assert_eq!(records(), [""; 0]);
    let mine = host.command(&["nft", "--stateless", "list", "table", "ip", "mine"]);
    assert!(
        mine.contains("counter") && mine.contains("accept"),
        "{mine}"
    );
}
