//! Shaped and unshaped subnets.

use crate::common::{IFB, bandwidth, both, host, qdisc, run};
use rtnl::{QdiscInfo, TcHandle};
use serde_json::{Value, json};
use testkit::{Container, Host, Node, Run};

#[track_caller]
fn attached(extra: Value) -> (Host, Container, Run) {
    let (host, container) = host();
    let run = bandwidth().add(&container, &both(extra)).expect_ok();
    bandwidth().check(&container, &run.with_prev()).expect_ok();
    (host, container, run)
}

fn default_class(link: &str) -> u32 {
    match qdisc(link, TcHandle::ROOT).map(|q| q.info) {
        Some(QdiscInfo::Htb(htb)) => htb.default_class,
        other => panic!("{other:?}"),
    }
}

/// Bytes that a class of a link has sent.
fn sent(host: &Host, link: &str, class: &str) -> u64 {
    let text = host.command(&["tc", "-s", "class", "show", "dev", link]);
    let mut lines = text
        .lines()
        .skip_while(|line| !line.starts_with(&format!("class htb {class} ")));
    let line = lines.nth(1).unwrap_or_default().trim();
    let bytes = line
        .strip_prefix("Sent ")
        .and_then(|line| line.split(' ').next());
    bytes
        .and_then(|bytes| bytes.parse().ok())
        .unwrap_or_else(|| panic!("{text}"))
}

#[test]
fn classes_and_filters_of_version_1_5() {
    let (host, _container, _) =
        attached(json!({"unshapedSubnets": ["10.1.0.0/16", "2001:db8:1::/48"]}));
    for (link, rate, source) in [("veth1", "8Mbit", true), (IFB, "16Mbit", false)] {
        assert_eq!(default_class(link), 48);
        let classes = host.command(&["tc", "class", "show", "dev", link]);
        assert!(
            classes.contains(&format!("class htb 1:30 root prio 0 rate {rate} ")),
            "{classes}"
        );
        assert!(
            classes.contains("class htb 1:1 root prio 0 rate 800Gbit"),
            "{classes}"
        );
        let filters = host.command(&["tc", "filter", "show", "dev", link]);
        // The offset of the remote address.
        let (v4, v6) = if source {
            (12, [8, 12])
        } else {
            (16, [24, 28])
        };
        for part in [
            "protocol ip pref 16 u32".to_owned(),
            format!("match 0a010000/ffff0000 at {v4}"),
            "protocol ipv6 pref 15 u32".to_owned(),
            format!("match 20010db8/ffffffff at {}", v6[0]),
            format!("match 00010000/ffff0000 at {}", v6[1]),
        ] {
            assert!(filters.contains(&part), "{part}: {filters}");
        }
        assert_eq!(filters.matches("*flowid 1:1 ").count(), 2, "{filters}");
    }
    let ifb = host.link(IFB).expect("the ifb");
    assert_eq!(ifb["txqlen"], 1000);
}

#[test]
fn packets_are_classified() {
    let ping = |container: &Container| {
        for address in ["10.1.0.1", "fd00:1::1"] {
            container.command(&["ping", "-c", "1", "-W", "5", "-s", "1000", address]);
        }
    };
    // More than neighbour discovery sends.
    let counts = |host: &Host| {
        ["veth1", IFB].map(|link| ["1:1", "1:30"].map(|class| sent(host, link, class) > 2000))
    };
    let subnets = json!(["10.1.0.0/24", "fd00:1::/64"]);
    let others = json!(["192.0.2.0/24", "2001:db8::/32"]);
    for (key, list, unshaped) in [
        ("unshapedSubnets", &subnets, true),
        ("unshapedSubnets", &others, false),
        ("shapedSubnets", &subnets, false),
        ("shapedSubnets", &others, true),
    ] {
        let (host, container) = host();
        // The neighbours are resolved: solicitations have other addresses.
        ping(&container);
        let config = both(json!({key: list}));
        bandwidth().add(&container, &config).expect_ok();
        ping(&container);
        assert_eq!(counts(&host), [[unshaped, !unshaped]; 2], "{key} {list}");
    }
}

#[test]
fn empty_lists_are_ignored() {
    for key in ["shapedSubnets", "unshapedSubnets"] {
        let (_host, _container, _) = attached(json!({key: []}));
        assert_eq!(
            qdisc("veth1", TcHandle::ROOT).map(|q| q.kind),
            Some("tbf".into())
        );
    }
}

/// Subnets of the network with rates of the runtime, and subnets of the runtime.
#[test]
fn subnets_and_rates_from_different_places() {
    let (_host, container) = host();
    let rates = json!({"ingressRate": 8000, "ingressBurst": 80_000});
    let of_runtime = testkit::merge(rates.clone(), &json!({"shapedSubnets": ["10.0.0.0/8"]}));
    for extra in [
        json!({"shapedSubnets": ["10.0.0.0/8"], "runtimeConfig": {"bandwidth": rates}}),
        json!({"runtimeConfig": {"bandwidth": of_runtime}}),
        json!({"unshapedSubnets": ["10.0.0.0/9"], "runtimeConfig": {"bandwidth": of_runtime}}),
    ] {
        let config = crate::common::bare(extra);
        let run = bandwidth().add(&container, &config).expect_ok();
        assert_eq!(default_class("veth1"), 1);
        bandwidth().del(&container, &run.with_prev()).expect_ok();
    }
}

#[test]
fn a_latency_limits_the_class() {
    let (host, container, added) = attached(json!({
        "unshapedSubnets": ["10.9.0.0/16"], "latency": "25ms"
    }));
    let shown = host.command(&["tc", "qdisc", "show", "dev", "veth1"]);
    assert!(
        shown.contains("qdisc bfifo 2: parent 1:30 limit 125000b"),
        "{shown}"
    );
    run(&host, "tc qdisc del dev veth1 parent 1:30");
    bandwidth()
        .check(&container, &added.with_prev())
        .expect_error(999)
        .mentions("queue doesn't match; link veth1 has ");
}

#[test]
fn drift() {
    let tree = "tc class change dev veth1 parent 1: classid";
    for (commands, words) in [
        (
            format!("{tree} 1:30 htb rate 9mbit ceil 16mbit burst 100000 cburst 100000"),
            "Rate doesn't match; class 1:30 of link veth1 has 1125000, not 1000000",
        ),
        (
            format!("{tree} 1:30 htb rate 8mbit ceil 9mbit burst 100000 cburst 100000"),
            "Ceiling doesn't match; class 1:30 of link veth1 has 1125000, not 2000000",
        ),
        (
            format!("{tree} 1:1 htb rate 8mbit"),
            "Rate doesn't match; class 1:1 of link veth1",
        ),
        (
            "tc filter del dev veth1 parent 1: prio 15".to_owned(),
            "link veth1 has no filter that puts fd00:9::/32 into class 1:1",
        ),
        (
            format!("tc filter del dev {IFB} parent 1: prio 16"),
            "link bwp623e1c388032 has no filter that puts 10.9.0.0/16 into class 1:1",
        ),
        (
            "tc qdisc del dev veth1 root; tc qdisc add dev veth1 root handle 1: htb default 1"
                .to_owned(),
            "qdisc of link veth1 puts other traffic into class 1:1, not 1:30",
        ),
        (
            "tc qdisc del dev veth1 root; tc qdisc add dev veth1 root handle 1: htb default 30"
                .to_owned(),
            "class 1:30 of link veth1 is missing",
        ),
    ] {
        let lists = json!({"unshapedSubnets": ["10.9.0.0/16", "fd00:9::/32"]});
        let (host, container, added) = attached(lists);
        run(&host, &commands);
        bandwidth()
            .check(&container, &added.with_prev())
            .expect_error(999)
            .mentions(words);
    }
}
