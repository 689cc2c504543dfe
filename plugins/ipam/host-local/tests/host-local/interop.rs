//! State shared with upstream's plugin, used alternately and concurrently.

use std::collections::BTreeSet;
use std::fs;

use crate::common::{Net, addresses, call, ours, peer};
use serde_json::{Value, json};
use testkit::{Plugin, run_all};

fn dual_stack() -> Net {
    Net::of_version(
        "1.0.0",
        json!({"ranges": [[{"subnet": "10.1.0.0/16"}], [{"subnet": "2001:db8:1::/64"}]]}),
    )
}

#[test]
fn what_one_adds_the_other_checks_and_deletes() {
    for (first, second) in [(ours(), peer()), (peer(), ours())] {
        let net = dual_stack();
        let added = call(&first, "ADD", "a", &net.conf).run().expect_ok();
        assert_eq!(addresses(&added.json()), ["10.1.0.2", "2001:db8:1::2"]);
        let prev = added.with_prev();
        call(&second, "CHECK", "a", &prev).run().expect_ok();
        // The error is the same when the other implementation reserved the address.
        let text = call(&second, "ADD", "a", &net.conf)
            .run()
            .expect_error(999)
            .text();
        assert_eq!(
            text,
            "failed to allocate for range 0: 10.1.0.2 has been allocated to a, duplicate allocation is not allowed"
        );
        call(&second, "DEL", "a", &prev).run().expect_ok();
        let expected = ["last_reserved_ip.0", "last_reserved_ip.1", "lock"];
        assert_eq!(net.files(), expected.map(Into::into).into());
        call(&first, "CHECK", "a", &prev).run().expect_error(999);
    }
}

#[test]
fn files_are_the_same_byte_for_byte() {
    let state = |plugin: &Plugin| {
        let net = dual_stack();
        for id in ["a", "b", "c"] {
            call(plugin, "ADD", id, &net.conf).run().expect_ok();
        }
        call(plugin, "DEL", "b", &net.conf).run().expect_ok();
        let file = |name: String| (fs::read(net.dir().join(&name)).unwrap(), name);
        net.files().into_iter().map(file).collect::<Vec<_>>()
    };
    assert_eq!(state(&ours()), state(&peer()));
}

/// Many more reservations than an index needs, and back to none.
#[test]
fn implementations_alternate() {
    let net = dual_stack();
    let both = [ours(), peer()];
    for i in 0..90 {
        // Two ADDs of ours in a row: the first finds an index that upstream's change has
        // invalidated, the second a valid one.
        let plugin = &both[usize::from(i % 3 == 0)];
        let run = call(plugin, "ADD", &format!("c{i}"), &net.conf)
            .run()
            .expect_ok();
        let expected = [
            format!("10.1.0.{}", i + 2),
            format!("2001:db8:1::{:x}", i + 2),
        ];
        assert_eq!(addresses(&run.json()), expected);
    }
    assert!(net.files().contains(".index"));
    for i in 0..90 {
        let id = format!("c{i}");
        let [one, other] = if i % 2 == 0 { [0, 1] } else { [1, 0] };
        call(&both[one], "CHECK", &id, &net.conf).run().expect_ok();
        call(&both[other], "DEL", &id, &net.conf).run().expect_ok();
        assert_eq!(net.reserved().len(), 2 * (89 - i));
    }
    let expected = ["last_reserved_ip.0", "last_reserved_ip.1", "lock"];
    let mut left = net.files();
    left.remove(".index");
    assert_eq!(left, expected.map(Into::into).into());
    // The last command was the peer's; the next of ours removes the index.
    net.del("x");
    assert_eq!(net.files(), expected.map(Into::into).into());
}

#[test]
fn fifty_concurrent_attachments() {
    for plugins in [vec![ours()], vec![ours(), peer()]] {
        let net = dual_stack();
        let plugin = |i: usize| &plugins[i % plugins.len()];
        let id = |i: usize| format!("container{i}");
        let adds = run_all((0..50).map(|i| call(plugin(i), "ADD", &id(i), &net.conf)));
        let mut all = BTreeSet::new();
        for run in adds {
            for address in addresses(&run.expect_ok().json()) {
                assert!(all.insert(address.clone()), "{address} twice");
            }
        }
        assert_eq!(all.len(), 100);
        assert_eq!(net.reserved().len(), 100);
        for run in run_all((0..50).map(|i| call(plugin(i), "CHECK", &id(i), &net.conf))) {
            run.expect_ok();
        }
        // Deleted by the implementation that did not add it.
        for run in run_all((0..50).map(|i| call(plugin(i + 1), "DEL", &id(i), &net.conf))) {
            run.expect_ok();
        }
        net.del("x");
        let expected = ["last_reserved_ip.0", "last_reserved_ip.1", "lock"];
        assert_eq!(net.files(), expected.map(Into::into).into());
    }
}

/// Concurrent ADDs and DELs of a full pool: every address has one owner at most.
#[test]
fn concurrent_adds_and_dels_of_a_full_pool() {
    let net = Net::of_version("1.0.0", json!({"subnet": "10.1.0.0/26"}));
    for round in 0..3 {
        let adds = run_all((0..80).map(|i| {
            let plugin = if i % 4 == 0 { peer() } else { ours() };
            call(&plugin, "ADD", &format!("c{i}"), &net.conf)
        }));
        let mut all = BTreeSet::new();
        for run in &adds {
            if run.is_ok() {
                assert!(all.insert(addresses(&run.json())));
            } else {
                let text = run.clone().expect_error(999).text();
                assert!(
                    text.contains("no IP addresses available in range set: 10.1.0.1-10.1.0.62"),
                    "{text}"
                );
            }
        }
        assert_eq!((all.len(), net.reserved().len()), (61, 61), "{round}");
        for run in run_all((0..80).map(|i| call(&ours(), "DEL", &format!("c{i}"), &net.conf))) {
            run.expect_ok();
        }
        assert!(net.reserved().is_empty());
    }
}

#[test]
fn both_accept_reservations_of_very_old_releases() {
    for plugin in [ours(), peer()] {
        let net = Net::of_version("1.0.0", json!({"subnet": "10.1.2.0/24"}));
        net.write("10.1.2.9", "old\n");
        call(&plugin, "CHECK", "old", &net.conf).run().expect_ok();
        let text = call(&plugin, "ADD", "old", &net.conf)
            .run()
            .expect_error(999)
            .text();
        assert!(
            text.contains("10.1.2.9 has been allocated to old"),
            "{text}"
        );
        call(&plugin, "DEL", "old", &net.conf).run().expect_ok();
        assert!(net.reserved().is_empty());
    }
}

/// Both implementations give the same answer to the same call.
#[test]
fn both_give_the_same_answers() {
    let ranges = |ranges: Value| json!({"ranges": ranges});
    let ipams = [
        json!({"subnet": "10.1.2.0/24"}),
        json!({"subnet": "10.1.2.0/24", "gateway": "192.0.2.1", "rangeStart": "10.1.2.7"}),
        json!({"subnet": "10.1.2.0/30", "rangeStart": "10.1.2.3", "rangeEnd": "10.1.2.3"}),
        json!({"subnet": "10.1.2.0/30", "rangeStart": "10.1.2.1", "rangeEnd": "10.1.2.2"}),
        json!({"SUBNET": "2001:DB8::/126", "Routes": [{"Dst": "::/0", "gw": ""}]}),
        json!({"subnet": "fd00:0:0:1::/64", "routes": [{"dst": "fd00::1/32", "gw": "fd00::2"}]}),
        json!({}),
        json!({"rangeStart": "10.1.2.7"}),
        json!({"subnet": "10.1.2.4/24"}),
        json!({"subnet": "10.1.2.0/31"}),
        json!({"subnet": "2001:db8::/127"}),
        json!({"subnet": "10.1.2.0/24", "rangeStart": "10.1.3.7"}),
        json!({"subnet": "10.1.2.0/24", "rangeEnd": "10.1.3.7"}),
        json!({"subnet": "10.1.2.0/24", "rangeStart": "10.1.2.9", "rangeEnd": "10.1.2.8"}),
        json!({"subnet": "10.1.2.0/24", "resolvConf": "/nonexistent"}),
        ranges(json!([])),
        ranges(json!([[]])),
        ranges(json!([[{"rangeStart": "10.1.2.7"}]])),
        ranges(
            json!([[{"subnet": "10.1.2.0/24"}, {"subnet": "10.1.3.0/24"}, {"subnet": "10.1.3.0/25"}]]),
        ),
        ranges(json!([[{"subnet": "10.1.2.0/24"}, {"subnet": "fd00::/64"}]])),
        ranges(json!([[{"subnet": "10.1.2.0/24"}], [{"subnet": "10.1.0.0/16"}]])),
        ranges(
            json!([[{"subnet": "fd00::/64"}], [{"subnet": "10.1.0.0/16"}], [{"subnet": "fd01::/64"}]]),
        ),
        ranges(json!([[{"subnet": "::ffff:10.1.2.0/120"}]])),
    ];
    for version in ["1.0.0", "0.4.0", "0.2.0"] {
        for ipam in &ipams {
            let answer = |plugin: &Plugin| {
                let net = Net::of_version(version, ipam.clone());
                let mut answers = Vec::new();
                for (verb, id, args) in [
                    ("ADD", "a", ""),
                    ("ADD", "a", "IgnoreUnknown=1"),
                    ("ADD", "b", "IP=10.1.2.9;IgnoreUnknown=1"),
                    ("ADD", "c", "IP=10.1.2.1"),
                    ("ADD", "d", "IP=10.1.2.9/8"),
                    ("ADD", "e", "IP=10.1.2.300"),
                    ("ADD", "e", "IP=10.1.2.10;X=y"),
                    ("ADD", "e", "IP=10.1.2.10;"),
                    ("ADD", "f", ""),
                    ("DEL", "a", ""),
                    ("DEL", "x", ""),
                    ("ADD", "g", ""),
                ] {
                    let run = call(plugin, verb, id, &net.conf).args(args).run();
                    // Ours accepts DEL with invalid ranges.
                    if verb == "DEL" {
                        continue;
                    }
                    let mut answer = run.json();
                    // Only ours has details. Older upstream releases print an empty `dns`.
                    answer.as_object_mut().unwrap().retain(|key, value| {
                        key != "details" && (key != "dns" || *value != json!({}))
                    });
                    answers.push((verb, id, args, run.status.code(), answer));
                }
                let mut files = net.files();
                // Upstream's DEL creates a lock file even if nothing is reserved.
                files.remove("lock");
                answers.push(("", "", "", None, json!(files)));
                answers
            };
            for (ours, theirs) in answer(&ours()).iter().zip(&answer(&peer())) {
                assert_eq!(ours, theirs, "{version} {ipam}");
            }
        }
    }
}
