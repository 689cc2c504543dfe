//! Both variants of iptables: number of processes, errors, concurrency.
#![allow(clippy::unwrap_used)]

mod variants;

use std::path::Path;

use netfilter::iptables::{self, Change, Family, Iptables, Rule, Table};
use testkit::Host;
use testkit::namespace::feed;
use variants::{BOTH, CHAIN, COMMENT, Counted, VARIANTS, each, ip, masquerade, portmap, variant};

#[test]
fn user_arguments_are_passed_to_iptables() {
    each(&[Family::V4], |variant| {
        let rule = |address: &str| {
            Rule::new()
                .comment("x")
                .user_args(&[
                    "!",
                    "--dst",
                    address,
                    "-m",
                    "mac",
                    "--mac-source",
                    "02:00:00:00:00:01",
                ])
                .jump("ACCEPT")
        };
        let change = Change::new(Table::Filter)
            .own_chain("own")
            .append("own", rule("10.0.0.0/255.0.0.0"));
        variant.iptables.apply(&change).unwrap();
        variant.iptables.apply(&change).unwrap();
        let saved = variant.iptables.read(Table::Filter).unwrap();
        assert_eq!(saved.rules_of("own").count(), 1);
        let holds = |chain, rule: &Rule| variant.iptables.check_rule(Table::Filter, chain, rule);
        assert!(holds("own", &rule("10.0.0.0/8")).unwrap());
        assert!(!holds("own", &rule("11.0.0.0/8")).unwrap());
        assert!(!holds("other", &rule("10.0.0.0/8")).unwrap());
    });
}

/// A transaction with an invalid line changes nothing, and the error names the line.
#[test]
fn a_refused_change_changes_nothing() {
    each(BOTH, |variant| {
        let change = Change::new(Table::Nat)
            .own_chain("own")
            .append("own", Rule::new().jump("ACCEPT"))
            .append("own", Rule::new().jump("NO-SUCH-CHAIN"));
        let error = variant.iptables.apply(&change).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("running [/usr/sbin/ip"), "{text}");
        assert!(
            text.contains("-restore --noflush --wait=30]: exit status"),
            "{text}"
        );
        assert!(
            text.contains("NO-SUCH-CHAIN") || text.contains("line"),
            "{text}"
        );
        assert!(!variant.iptables.read(Table::Nat).unwrap().has_chain("own"));
    });
}

#[test]
fn a_missing_command_is_named() {
    let missing = Path::new("/nonexistent/iptables");
    let error = Iptables::with_command(Family::V4, missing).unwrap_err();
    assert!(error.is_missing_command());
    assert!(Iptables::find(Family::V6).is_ok());
    assert_eq!(
        error.to_string(),
        "exec: \"/nonexistent/iptables\": executable file not found in $PATH; \
         install iptables or use nftables"
    );
}

/// Several processes at once add rules, then delete them, while another one changes
/// its own rules. No rule is missing or added twice, and none is left in the end.
#[test]
fn concurrent_changes_lose_and_repeat_no_rule() {
    each(&[Family::V4], |variant| {
        let command = variant.command();
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let rules = "*nat\n:OTHER - [0:0]\n-A OTHER -j ACCEPT\nCOMMIT\n";
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    feed(&format!("{command}-restore --noflush --wait=30"), rules);
                }
            });
            let change = |number: u32, add: bool| {
                let own = format!("CNI-DN-{number:021}");
                let shared = Change::new(Table::Nat).chain("CNI-HOSTPORT-DNAT").append(
                    "PREROUTING",
                    Rule::new().local_destination().jump("CNI-HOSTPORT-DNAT"),
                );
                let entry = Rule::new().comment(&own).jump(&own);
                if add {
                    shared
                        .own_chain(&own)
                        .append(&own, Rule::new().jump("ACCEPT"))
                        .append("CNI-HOSTPORT-DNAT", entry)
                } else {
                    Change::new(Table::Nat)
                        .delete("CNI-HOSTPORT-DNAT", entry)
                        .delete_chain(&own)
                }
            };
            let all = |add: bool| {
                std::thread::scope(|inner| {
                    for number in 0..12 {
                        let change = change(number, add);
                        inner.spawn(move || match add {
                            true => variant.iptables.apply(&change).unwrap(),
                            false => iptables::delete(variant.family, &change).unwrap(),
                        });
                    }
                });
            };
            all(true);
            let saved = variant.iptables.read(Table::Nat).unwrap();
            assert_eq!(saved.rules_of("CNI-HOSTPORT-DNAT").count(), 12);
            assert_eq!(saved.rules_of("PREROUTING").count(), 1, "{}", variant.name);
            all(false);
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        let saved = variant.iptables.read(Table::Nat).unwrap();
        assert_eq!(saved.rules_of("CNI-HOSTPORT-DNAT").count(), 0);
        assert_eq!(saved.rules_of("OTHER").count(), 1);
        let names: Vec<&str> = saved.chains().filter(|c| c.starts_with("CNI-DN")).collect();
        assert_eq!(names, [""; 0]);
    });
}

#[test]
fn an_unused_chain_is_deleted_with_the_rules_that_jump_to_it() {
    each(BOTH, |variant| {
        let is_v4 = variant.family == Family::V4;
        let (addresses, width) = match is_v4 {
            true => (["10.0.0.2", "10.0.0.3"], 32),
            false => (["fd00::2", "fd00::3"], 128),
        };
        let entry = |address: &str| {
            Rule::new()
                .source(ip(address), width)
                .comment(COMMENT)
                .jump(CHAIN)
        };
        let accept = || Rule::new().comment(COMMENT).jump("ACCEPT");
        let [first, second] = addresses;
        let both = Change::new(Table::Nat)
            .own_chain(CHAIN)
            .append(CHAIN, accept())
            .append("POSTROUTING", entry(first))
            .append("POSTROUTING", entry(second));
        let gone = |address: &str| Change::new(Table::Nat).delete("POSTROUTING", entry(address));
        let left = || {
            let saved = variant.iptables.read(Table::Nat).unwrap();
            let jumps = saved.rules().filter(|rule| rule.jumps_to(CHAIN)).count();
            (saved.has_chain(CHAIN), jumps)
        };
        let add = |change: Change| variant.iptables.apply(&change).unwrap();
        let delete = |change| iptables::delete(variant.family, &change).unwrap();
        add(both.clone());
        assert_eq!(left(), (true, 2));
        delete(gone(first).delete_unused_chain(CHAIN));
        assert_eq!(left(), (true, 1), "{}", variant.name);
        delete(gone(second).delete_unused_chain(CHAIN));
        assert_eq!(left(), (false, 0), "{}", variant.name);

        // Rules in other chains of the table are deleted as well.
        add(both.clone());
        variant.exec(&["-t", "nat", "-A", "OUTPUT", "-j", CHAIN]);
        assert_eq!(left(), (true, 3));
        delete(gone(first).delete_chain(CHAIN));
        assert_eq!(left(), (false, 0), "{}", variant.name);

        // Other rules stay.
        add(both.append(
            "POSTROUTING",
            Rule::new().source(ip(first), width).jump("ACCEPT"),
        ));
        delete(gone(first).delete_chain(CHAIN));
        let saved = variant.iptables.read(Table::Nat).unwrap();
        assert_eq!(saved.rules_of("POSTROUTING").count(), 1);
    });
}

#[test]
fn only_the_accept_rules_of_an_address_are_deleted() {
    each(BOTH, |variant| {
        let (address, other, width) = match variant.family {
            Family::V4 => (ip("10.0.0.2"), ip("10.0.0.3"), 32),
            Family::V6 => (ip("fd00::2"), ip("fd00::3"), 128),
        };
        let of = |address| {
            let to = Rule::new().destination(address, width);
            let from = Rule::new().source(address, width);
            [to.related_or_established(), from].map(|rule| rule.jump("ACCEPT"))
        };
        let add = |address| {
            let change = Change::new(Table::Filter).chain("SHARED");
            of(address)
                .into_iter()
                .fold(change, |change, rule| change.append("SHARED", rule))
        };
        let delete = |address| {
            let rules = of(address).into_iter();
            let change = rules.fold(Change::new(Table::Filter), |change, rule| {
                change.delete("SHARED", rule)
            });
            iptables::delete(variant.family, &change).unwrap();
        };
        let apply = |change: Change| variant.iptables.apply(&change).unwrap();
        let rules = || {
            let saved = variant.iptables.read(Table::Filter).unwrap();
            saved.rules_of("SHARED").count()
        };
        apply(add(other));
        apply(add(address));
        delete(address);
        assert_eq!(rules(), 2, "{}", variant.name);
        // Duplicates, too.
        let text = address.to_string();
        for _ in 0..2 {
            variant.exec(&["-A", "SHARED", "-s", &text, "-j", "ACCEPT"]);
        }
        delete(address);
        assert_eq!(rules(), 2, "{}", variant.name);
        // Similar rules are not ours.
        let states = ["-m", "conntrack", "--ctstate", "ESTABLISHED"];
        variant.exec(
            &[
                &["-A", "SHARED", "-d", &text][..],
                &states,
                &["-j", "ACCEPT"],
            ]
            .concat(),
        );
        variant.exec(&["-A", "SHARED", "-s", &text, "-j", "DROP"]);
        variant.exec(&["-A", "SHARED", "-s", &text, "-p", "tcp", "-j", "ACCEPT"]);
        apply(add(address));
        delete(address);
        assert_eq!(rules(), 5, "{}", variant.name);
        delete(address);
        assert_eq!(rules(), 5, "{}", variant.name);
    });
}

#[test]
fn one_process_is_enough_in_the_usual_case() {
    const ONE: [&str; 1] = ["iptables-restore"];
    const READ: [&str; 3] = ["iptables-restore", "iptables-save", "iptables-restore"];
    for name in VARIANTS {
        let host = Host::new();
        let variant = variant(name, Family::V4);
        let counted = Counted::new(host.dir(), &variant, "iptables");
        assert_eq!(counted.runs(&masquerade(Family::V4)), ONE, "{name}");
        assert_eq!(counted.runs(&masquerade(Family::V4)), READ, "{name} again");
        // The first time, the shared chains are missing.
        assert_eq!(counted.runs(&portmap(Family::V4)), READ, "{name}");
        let dn = "CNI-DN-022110f36292712c8bb50";
        let change = Change::new(Table::Nat)
            .delete_jumps("CNI-HOSTPORT-DNAT", dn)
            .delete_chain(dn);
        assert_eq!(counted.runs(&change), READ[1..], "{name}");
        assert_eq!(counted.runs(&portmap(Family::V4)), ONE, "{name}");
    }
}

#[test]
fn a_transaction_reads_and_writes_once() {
    for name in VARIANTS {
        let host = Host::new();
        let variant = variant(name, Family::V4);
        let counted = Counted::new(host.dir(), &variant, "iptables");
        let rule = || Rule::new().source(ip("10.0.0.2"), 32).jump("ACCEPT");
        let runs = || {
            let mut seen = Vec::new();
            let build = |saved: &netfilter::iptables::Saved| {
                seen.push(saved.has_rule("SHARED", &rule()));
                Change::new(Table::Filter)
                    .chain("SHARED")
                    .append("SHARED", rule())
            };
            counted.iptables.transaction(Table::Filter, build).unwrap();
            (seen, counted.so_far())
        };
        let (seen, commands) = runs();
        assert_eq!(seen, [false], "{name}");
        assert_eq!(commands, ["iptables-save", "iptables-restore"], "{name}");
        let (seen, commands) = runs();
        assert_eq!(seen, [true], "{name}");
        assert_eq!(commands, ["iptables-save"], "{name}");
        let bad = |_: &_| Change::new(Table::Filter).chain("a b");
        let error = counted
            .iptables
            .transaction(Table::Filter, bad)
            .unwrap_err();
        assert!(error.to_string().contains("invalid chain name"), "{error}");
    }
}
