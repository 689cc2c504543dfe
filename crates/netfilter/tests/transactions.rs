//! Transactions: atomicity, concurrency, size, and errors.
#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use netfilter::nft::{
    Batch, Chain, ChainType, Element, Family, Hook, NatFlags, Nft, NftCommand, Protocol, Set,
    Table, Type, Value,
};
use nix::sched::{CloneFlags, setns};
use testkit::namespace::{in_namespace, nft, run};

const TABLE: Table<'_> = Table::new(Family::Inet, "t");
const CHAIN: Chain<'_> = TABLE.chain("c");
const PORTS: Set<'_> = TABLE.map(
    "ports",
    &[Type::Protocol, Type::Port],
    &[Type::Ipv4Addr, Type::Port],
);

fn port(port: u16) -> Element {
    Element::new(&[Value::Protocol(Protocol::Tcp), Value::Port(port)])
}

fn to(host: u8) -> [Value<'static>; 2] {
    Value::socket((Ipv4Addr::new(10, 0, 0, host), 80).into())
}

/// A client, after the creation of the table and chain.
fn client() -> Nft {
    let client = Nft::open().unwrap();
    let mut batch = Batch::new();
    batch.add_table(&TABLE).add_chain(&CHAIN).add_set(&PORTS);
    client.commit(&batch).unwrap();
    client
}

#[test]
fn rules_are_found_by_handle_and_by_comment() {
    in_namespace(|| {
        let client = client();
        let rule = |comment: &'static str| CHAIN.rule().accept().comment(comment);
        let mut batch = Batch::new();
        batch.add_rule(&rule("unseen")).echo();
        batch
            .add_rule(&rule("b"))
            .add_rule(&rule("c"))
            .insert_rule(&rule("a"));
        let added = client.commit(&batch).unwrap();
        let comments: Vec<_> = added
            .iter()
            .map(|r| r.comment.as_deref().unwrap())
            .collect();
        assert_eq!(comments, ["b", "c", "a"]);
        assert_eq!(added[0].chain, "c");
        let b = added[0].handle;
        let order = || -> Vec<String> {
            let rules = client.rules(&CHAIN).unwrap();
            rules
                .into_iter()
                .map(|rule| rule.comment.unwrap())
                .collect()
        };
        assert_eq!(order(), ["a", "unseen", "b", "c"]);
        assert_eq!(
            client.rule(&CHAIN, b).unwrap().unwrap().comment.as_deref(),
            Some("b")
        );
        client.commit(Batch::new().delete_rule(&CHAIN, b)).unwrap();
        assert_eq!(client.rule(&CHAIN, b).unwrap(), None);
        assert_eq!(order(), ["a", "unseen", "c"]);
        let found = client
            .find_rules(&CHAIN, |rule| rule.comment == Some("c"))
            .unwrap();
        assert!(found[0].same_as(&rule("another comment")));
        assert!(!found[0].same_as(&CHAIN.rule().drop()));
        assert!(!found[0].same_as(&CHAIN.rule().counter().accept()));
    });
}

#[test]
fn a_missing_object_is_not_an_error_of_a_read() {
    in_namespace(|| {
        let client = Nft::open().unwrap();
        assert!(!client.has_table(&TABLE).unwrap());
        assert_eq!(client.chain(&CHAIN).unwrap(), None);
        assert_eq!(client.rules(&CHAIN).unwrap(), []);
        assert_eq!(client.rule(&CHAIN, 1).unwrap(), None);
        assert_eq!(client.element(&PORTS, &port(1)).unwrap(), None);
        assert!(client.elements(&PORTS).unwrap_err().is_not_found());
        assert_eq!(client.commit(&Batch::new()).unwrap(), []);
        client.probe(Family::Ip).unwrap();
        assert_eq!(run("nft list ruleset"), "", "probing leaves nothing");
    });
}

/// If the last change of a batch fails, no change is made, and the error names
/// the failed change and its object.
#[test]
fn a_failed_batch_changes_nothing_and_names_the_change() {
    let commit = |fill: &(dyn Fn(&mut Batch) + Sync)| {
        in_namespace(|| {
            let client = client();
            client
                .commit(Batch::new().add_elements(&PORTS, [port(1).data(&to(1))]))
                .unwrap();
            let before = run("nft -a list ruleset");
            let mut batch = Batch::new();
            batch.add_chain(&TABLE.chain("more"));
            batch.add_rule(&CHAIN.rule().accept());
            fill(&mut batch);
            let error = client.commit(&batch).unwrap_err();
            assert_eq!(run("nft -a list ruleset"), before, "{error}");
            let checked = client.check(&batch).unwrap_err();
            assert_eq!(checked.to_string(), error.to_string());
            error
        })
    };
    let error = commit(&|batch| {
        batch.add_rule(&CHAIN.rule().jump("nowhere").comment("x"));
    });
    assert_eq!(
        error.to_string(),
        "add rule to chain inet t c comment \"x\": no such file or directory (expression \"immediate\")"
    );
    assert!(error.is_not_found() && !error.is_unsupported());
    let error = commit(&|batch| {
        batch.delete_rule(&CHAIN, 4711);
    });
    assert_eq!(
        error.to_string(),
        "delete rule of chain inet t c handle 4711: no such file or directory"
    );
    let error = commit(&|batch| {
        batch.delete_chain(&TABLE.chain("nowhere"));
    });
    assert_eq!(
        error.to_string(),
        "delete chain inet t nowhere: no such file or directory (\"nowhere\")"
    );
    let error = commit(&|batch| {
        batch.add_rule(&Table::new(Family::Ip6, "other").chain("c").rule().accept());
    });
    assert!(error.to_string().ends_with("(\"other\")"), "{error}");
    // The same port with other data.
    let error = commit(&|batch| {
        batch.add_elements(&PORTS, [port(2).data(&to(1)), port(1).data(&to(2))]);
    });
    assert!(error.is_exists(), "{error}");
    assert!(
        error
            .to_string()
            .starts_with("add elements to set inet t ports: "),
        "{error}"
    );
    let error = commit(&|batch| {
        batch.add_rule(&CHAIN.rule().dnat_map(&[], &PORTS));
    });
    assert!(
        error.to_string().contains("other types than the fields"),
        "{error}"
    );
    // An expression that no kernel has stands for one that an old kernel lacks.
    let error = commit(&|batch| {
        let bridge = Table::new(Family::Bridge, "b");
        batch.add_table(&bridge);
        batch.add_chain(&bridge.base_chain("c", ChainType::Nat, Hook::Prerouting, 0));
    });
    assert!(error.is_unsupported() && !error.is_not_found());
    assert_eq!(
        error.to_string(),
        "add chain bridge b c: no such file or directory (chain type \"nat\"); \
         this kernel has no such chains in this family: NAT needs CONFIG_NFT_NAT, \
         in family inet also Linux 5.2 or later"
    );
    // Masquerading is not allowed in prerouting.
    let error = commit(&|batch| {
        let base = TABLE.base_chain("b", ChainType::Nat, Hook::Prerouting, 0);
        batch.add_chain(&base);
        batch.add_rule(&base.rule().masquerade(NatFlags::NONE));
    });
    assert!(error.is_unsupported(), "{error}");
}

#[test]
fn an_invalid_change_is_not_sent() {
    in_namespace(|| {
        let client = client();
        let rule = || CHAIN.rule();
        let ip6: IpAddr = "fd00::1".parse().unwrap();
        let ip4: IpAddr = "10.0.0.1".parse().unwrap();
        let one_family = Table::new(Family::Ip, "v4").chain("c");
        for (rule, words) in [
            (rule().comment(&"x".repeat(129)), "129 bytes"),
            (rule().jump("a\0b"), "zero byte"),
            (rule().iifname("sixteen-letters-"), "invalid interface name"),
            (rule().iifname(""), "invalid interface name"),
            (rule().saddr(ip4).daddr(ip6), "both families"),
            (one_family.rule().saddr(ip6), "both families"),
            (
                rule().dport(Protocol::Tcp, 1).sport(Protocol::Udp, 1),
                "two transport protocols",
            ),
            (rule().ether_saddr([0; 6]), "outside of a bridge"),
        ] {
            let error = client.commit(Batch::new().add_rule(&rule)).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
            assert_eq!(error.errno(), None);
        }
        let wrong = [
            port(1),
            port(1).data(&[Value::Port(1)]),
            Element::new(&[Value::Port(1)]).data(&to(1)),
            port(1).data(&to(1)).comment(&"x".repeat(129)),
        ];
        for element in wrong {
            let error = client
                .commit(Batch::new().add_elements(&PORTS, [element]))
                .unwrap_err();
            assert!(
                error
                    .to_string()
                    .starts_with("elements of set inet t ports: "),
                "{error}"
            );
        }
    });
}

#[test]
fn scripts_of_nft() {
    in_namespace(|| {
        let client = client();
        let nft = NftCommand::find().unwrap();
        let rule = "add rule inet t c ip saddr { 10.0.0.1, 10.0.0.3 } accept comment \"x\"";
        let handles = nft.add_rules(rule).unwrap();
        let added = &client.rules(&CHAIN).unwrap()[0];
        assert_eq!(added.comment.as_deref(), Some("x"));
        assert_eq!(handles, [added.handle]);
        assert!(added.ends_with(&CHAIN.rule().accept()));
        assert!(!added.ends_with(&CHAIN.rule().drop()));
        let script = "flush chain inet t c\nadd rule inet t c nonsense";
        let error = nft.add_rules(script).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("running [nft --echo --handle --file -]: exit status 1: "),
            "{error}"
        );
        assert_eq!(client.rules(&CHAIN).unwrap().len(), 1);
    });
}

/// The test runs itself again as an unprivileged user.
#[test]
fn a_missing_permission_is_reported() {
    const NAME: &str = "a_missing_permission_is_reported";
    if std::env::var_os("NETFILTER_UNPRIVILEGED").is_some() {
        let client = Nft::open().unwrap();
        let mut batch = Batch::new();
        batch.add_table(&TABLE).add_chain(&CHAIN);
        for error in [client.probe(Family::Ip), client.commit(&batch).map(drop)] {
            let error = error.unwrap_err();
            assert!(error.is_permission(), "{error}");
            let text = error.to_string();
            assert!(
                text.ends_with(": operation not permitted; CAP_NET_ADMIN is needed"),
                "{text}"
            );
        }
        return;
    }
    // A copy in a directory that every user can read.
    let dir = std::env::temp_dir().join(format!("netfilter-{}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    let program = dir.join("test");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let output = std::process::Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .args(["--exact", NAME])
        .env("NETFILTER_UNPRIVILEGED", "1")
        .output()
        .unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

#[test]
fn a_batch_may_have_thousands_of_changes() {
    in_namespace(|| {
        let client = client();
        let mut batch = Batch::new();
        batch.add_elements(
            &PORTS,
            (1..=20_000).map(|n| port(n).data(&to(2)).comment("id")),
        );
        client.commit(&batch).unwrap();
        assert_eq!(client.elements(&PORTS).unwrap().len(), 20_000);
        let mut batch = Batch::new();
        batch.echo();
        for number in 0..5000 {
            let source = Ipv4Addr::from_bits(0x0a00_0000 + number);
            batch.add_rule(
                &CHAIN
                    .rule()
                    .saddr(IpAddr::V4(source))
                    .accept()
                    .comment("many"),
            );
        }
        let added = client.commit(&batch).unwrap();
        assert_eq!(added.len(), 5000);
        assert_eq!(client.rules(&CHAIN).unwrap(), added);
        let last = &added[4999];
        assert_eq!(
            client.rule(&CHAIN, last.handle).unwrap().as_ref(),
            Some(last)
        );
        let mut batch = Batch::new();
        for rule in &added {
            batch.delete_rule(&CHAIN, rule.handle);
        }
        client.commit(&batch).unwrap();
        assert_eq!(client.rules(&CHAIN).unwrap(), []);
        // Even with many failed changes, the first error is reported.
        let mut batch = Batch::new();
        for number in 0..5000 {
            batch.delete_chain(if number == 0 { &CHAIN } else { &NONE });
        }
        let error = client.commit(&batch).unwrap_err();
        assert!(
            error.to_string().starts_with("delete chain inet t none: "),
            "{error}"
        );
        client.probe(Family::Ip).unwrap();
    });
}

const NONE: Chain<'_> = TABLE.chain("none");

/// Two writers read a rule and replace it, while another process changes its own
/// rules all the time. No update is lost.
#[test]
fn concurrent_transactions_lose_no_update() {
    const EACH: u32 = 100;
    in_namespace(|| {
        client();
        let namespace = std::fs::File::open("/proc/thread-self/ns/net").unwrap();
        let stop = AtomicBool::new(false);
        let rewrites = AtomicU32::new(0);
        let builds = AtomicU32::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                setns(&namespace, CloneFlags::CLONE_NEWNET).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    nft("table ip other { chain c { counter; }; }\nflush table ip other\nadd rule ip other c drop");
                    rewrites.fetch_add(1, Ordering::Relaxed);
                }
            });
            // Each adds one to the number in the comment of the only rule.
            let writers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        setns(&namespace, CloneFlags::CLONE_NEWNET).unwrap();
                        let client = Nft::open().unwrap();
                        for _ in 0..EACH {
                            client
                                .transaction(|client| {
                                    builds.fetch_add(1, Ordering::Relaxed);
                                    let rules = client.rules(&CHAIN)?;
                                    let mut batch = Batch::new();
                                    let mut count = 0;
                                    for rule in rules {
                                        count = rule.comment.unwrap().parse().unwrap();
                                        batch.delete_rule(&CHAIN, rule.handle);
                                    }
                                    let text = format!("{}", count + 1);
                                    batch.add_rule(&CHAIN.rule().accept().comment(&text));
                                    Ok(batch)
                                })
                                .unwrap();
                        }
                    })
                })
                .collect();
            for writer in writers {
                writer.join().unwrap();
            }
            stop.store(true, Ordering::Relaxed);
        });
        let rules = Nft::open().unwrap().rules(&CHAIN).unwrap();
        assert_eq!(rules.len(), 1);
        assert_eq!(
            rules[0].comment.as_deref(),
            Some((2 * EACH).to_string().as_str())
        );
        assert!(rewrites.load(Ordering::Relaxed) > 0);
        assert!(builds.load(Ordering::Relaxed) >= 2 * EACH);
        assert!(run("nft list table ip other").contains("drop"));
    });
}

#[test]
fn a_transaction_is_repeated_when_rules_have_changed_meanwhile() {
    in_namespace(|| {
        let client = client();
        let mut calls = 0;
        client
            .transaction(|client| {
                calls += 1;
                if calls == 1 {
                    nft("add table ip in_between");
                }
                assert!(client.has_table(&TABLE)?);
                let mut batch = Batch::new();
                batch.add_chain(&TABLE.chain("new"));
                Ok(batch)
            })
            .unwrap();
        assert_eq!(calls, 2);
    });
}
