//! Rules of iptables that are added without its commands.
#![allow(clippy::unwrap_used)]

mod variants;

use netfilter::iptables::{self, Change, Family, Iptables, Table};
use testkit::Host;
use testkit::namespace::run;
use variants::{BOTH, CHAIN, Counted, accept, masquerade, variant};

/// Commands of the nf_tables variant, which are recognized by their name.
fn commands(host: &Host, family: Family) -> Counted {
    let name = format!("{}-nft", family.command());
    Counted::new(host.dir(), &variant("nft", family), &name)
}

/// The rules of a table with their chains, as iptables prints them.
fn texts(iptables: &Iptables, table: Table) -> Vec<String> {
    let saved = iptables.read(table).unwrap();
    let rules = saved.rules();
    rules
        .map(|rule| format!("{} {}", rule.chain, rule.text))
        .collect()
}

/// What the commands added, and what was added without them, is printed alike.
#[test]
fn usual_additions_run_no_command() {
    for family in BOTH {
        let host = Host::new();
        let counted = commands(&host, *family);
        let reader = variant("nft", *family).iptables;
        let [first, second] = match family {
            Family::V4 => ["10.0.0.2", "10.0.0.3"],
            Family::V6 => ["fd00::2", "fd00::3"],
        };
        // The first container creates the base chains and the shared chains.
        assert_ne!(counted.runs(&masquerade(*family)), [""; 0]);
        assert_ne!(counted.runs(&accept(*family, first)), [""; 0]);
        let nat = texts(&reader, Table::Nat);
        let gone = Change::new(Table::Nat).delete_jumps("POSTROUTING", CHAIN);
        iptables::delete(*family, &gone.delete_chain(CHAIN)).unwrap();
        assert_eq!(texts(&reader, Table::Nat), [""; 0]);

        assert_eq!(counted.runs(&masquerade(*family)), [""; 0]);
        assert_eq!(counted.runs(&accept(*family, second)), [""; 0]);
        assert_eq!(texts(&reader, Table::Nat), nat);
        let filter = texts(&reader, Table::Filter);
        let of = |address: &str| -> Vec<String> {
            let own = filter.iter().filter(|rule| rule.contains(address));
            own.map(|rule| rule.replace(address, "")).collect()
        };
        assert_eq!(of(first).len(), 2, "{filter:#?}");
        assert_eq!(of(first), of(second));

        // What is there already is left to the commands, which add nothing.
        assert!(
            !counted
                .iptables
                .add_directly(&accept(*family, second))
                .unwrap()
        );
        assert!(!counted.iptables.add_directly(&masquerade(*family)).unwrap());
        assert_ne!(counted.runs(&accept(*family, second)), [""; 0]);
        assert_eq!(texts(&reader, Table::Filter), filter);
    }
}

#[test]
fn missing_shared_rules_and_chains_are_left_to_the_commands() {
    let host = Host::new();
    let counted = commands(&host, Family::V4);
    let count = |chain: &str| {
        let saved = counted.iptables.read(Table::Filter).unwrap();
        let count = saved.rules_of(chain).count();
        counted.so_far();
        count
    };
    counted.runs(&accept(Family::V4, "10.0.0.2"));
    run("/usr/sbin/iptables-nft -D FORWARD 1");
    // A rule that jumps there only for one interface is not the one that is wanted.
    run("/usr/sbin/iptables-nft -A FORWARD -i eth7 -j CNI-FORWARD");
    assert_ne!(counted.runs(&accept(Family::V4, "10.0.0.3")), [""; 0]);
    assert_eq!((count("FORWARD"), count("CNI-FORWARD")), (2, 5));
    run("/usr/sbin/iptables-nft -F");
    run("/usr/sbin/iptables-nft -X");
    assert_ne!(counted.runs(&accept(Family::V4, "10.0.0.4")), [""; 0]);
    assert_eq!((count("FORWARD"), count("CNI-FORWARD")), (1, 3));
}
