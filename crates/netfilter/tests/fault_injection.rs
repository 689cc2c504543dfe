//! Fault injection makes the n-th change fail without making it, with every backend.
#![cfg(feature = "fault-injection")]
#![allow(clippy::unwrap_used)]

use std::net::UdpSocket;
use std::process::Command;

use netfilter::conntrack;
use netfilter::iptables::{self, Change, Iptables, Rule};
use netfilter::nft::{Batch, Family, Nft, Table};
use testkit::Host;
use testkit::namespace::{nft, run};

const NAME: &str = "every_change_counts_and_can_fail";
/// The number of changes: three of tables, one by iptables, one of connections.
const CHANGES: u32 = 5;

/// The counter is global to the process, so the test runs itself in a new process for each number.
#[test]
fn every_change_counts_and_can_fail() {
    if std::env::var_os("NETFILTER_CHILD").is_some() {
        return changes();
    }
    for fail_at in 1..=CHANGES + 1 {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME])
            .env("RTNL_FAIL_AT", fail_at.to_string())
            .env("NETFILTER_CHILD", "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains("1 passed"),
            "{fail_at}: {text}"
        );
    }
}

fn changes() {
    let fail_at: usize = std::env::var("RTNL_FAIL_AT").unwrap().parse().unwrap();
    let _host = Host::new();
    run("ip link set lo up");
    nft("table ip track { chain c { type filter hook output priority 0; ct state new accept; }; }");
    UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .send_to(b"x", "127.0.0.1:1000")
        .unwrap();
    let client = Nft::open().unwrap();
    let add = |name: &'static str| {
        let mut batch = Batch::new();
        batch.add_table(&Table::new(Family::Ip, name));
        batch
    };
    // Reading and checking do not count.
    client.probe(Family::Ip).unwrap();
    let change = Change::new(iptables::Table::Nat)
        .own_chain("own")
        .append("own", Rule::new().jump("ACCEPT"));
    let commands = Iptables::find(iptables::Family::V4).unwrap();
    let outcomes = [
        client.commit(&add("one")).map(drop),
        client.transaction(|_| Ok(add("two"))).map(drop),
        client.commit(&add("three")).map(drop),
        commands.apply(&change),
        conntrack::delete(&[conntrack::Filter::new(false, 17)]).map(drop),
    ];
    for (number, outcome) in outcomes.iter().enumerate() {
        assert_eq!(outcome.is_err(), number + 1 == fail_at, "change {number}");
        if let Err(error) = outcome {
            assert!(
                error.to_string().contains("input/output error: injected"),
                "{error}"
            );
        }
    }
    let tables = run("nft list tables");
    for (number, name) in ["one", "two", "three", "nat"].iter().enumerate() {
        assert_eq!(
            tables.contains(&format!("table ip {name}\n")),
            number + 1 != fail_at
        );
    }
}
