//! Sets, maps and their elements are the same in the kernel as those that `nft` adds.
#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, SocketAddr};

use netfilter::nft::{Batch, Element, Family, Nft, Protocol, Table, Type, Value, Verdict};
use testkit::namespace::{in_namespace, nft, run};

const TABLE: Table<'_> = Table::new(Family::Inet, "t");
const PORTS: &[Type] = &[Type::Protocol, Type::Port];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn sets_are_the_same_as_those_of_nft() {
    let element = |values: &[Value<'_>]| Element::new(values);
    let address = |text: &str| Value::Address(ip(text));
    let theirs = "table inet t {
        comment \"of a table\"
        chain c { comment \"of a chain\"; }
        set plain { type ipv4_addr; elements = { 10.0.0.1 comment \"of an element\", 10.0.0.2 }; }
        set six { type ipv6_addr . ether_addr . inet_proto; elements = { fd00::1 . 02:00:00:00:00:01 . udp }; }
        map ports { type inet_proto . inet_service : ipv4_addr . inet_service; elements = { tcp . 80 comment \"id\" : 10.0.0.2 . 8080 }; }
        map hosts { type ifname : ipv6_addr; elements = { \"eth0\" : fd00::2 }; }
        map verdicts { type ifname : verdict; elements = { \"br1\" : drop, \"br4\" : return }; }
    }";
    let theirs = in_namespace(|| {
        nft(theirs);
        (
            run("nft -j list ruleset"),
            run("nft --debug=netlink list ruleset"),
        )
    });
    let ours = in_namespace(|| {
        let table = TABLE.with_comment("of a table");
        let plain = TABLE.set("plain", &[Type::Ipv4Addr]);
        let six = TABLE.set("six", &[Type::Ipv6Addr, Type::EtherAddr, Type::Protocol]);
        let ports = TABLE.map("ports", PORTS, &[Type::Ipv4Addr, Type::Port]);
        let hosts = TABLE.map("hosts", &[Type::Interface], &[Type::Ipv6Addr]);
        let verdicts = TABLE.verdict_map("verdicts", &[Type::Interface]);
        let mut batch = Batch::new();
        batch.add_table(&table);
        batch.add_chain(&TABLE.chain("c").with_comment("of a chain"));
        for set in [&plain, &six, &ports, &hosts, &verdicts] {
            batch.add_set(set);
        }
        batch.add_elements(
            &plain,
            [
                element(&[address("10.0.0.1")]).comment("of an element"),
                element(&[address("10.0.0.2")]),
            ],
        );
        batch.add_elements(
            &six,
            [element(&[
                address("fd00::1"),
                Value::Ether([2, 0, 0, 0, 0, 1]),
                Value::Protocol(Protocol::Udp),
            ])],
        );
        batch.add_elements(
            &ports,
            [element(&[Value::Protocol(Protocol::Tcp), Value::Port(80)])
                .data(&Value::socket(socket("10.0.0.2:8080")))
                .comment("id")],
        );
        batch.add_elements(
            &hosts,
            [element(&[Value::Interface("eth0")]).data(&[address("fd00::2")])],
        );
        let verdict =
            |name: &'static str, verdict| element(&[Value::Interface(name)]).verdict(verdict);
        batch.add_elements(
            &verdicts,
            [
                verdict("br1", Verdict::Drop),
                verdict("br4", Verdict::Return),
            ],
        );
        let client = Nft::open().unwrap();
        client.commit(&batch).unwrap();

        assert!(client.has_table(&TABLE).unwrap());
        assert!(!client.has_table(&Table::new(Family::Ip, "t")).unwrap());
        let found = client.elements(&plain).unwrap();
        assert_eq!(found.len(), 2);
        assert!(
            found
                .iter()
                .any(|e| e.comment.as_deref() == Some("of an element"))
        );
        let wanted = element(&[Value::Protocol(Protocol::Tcp), Value::Port(80)])
            .data(&Value::socket(socket("10.0.0.2:8080")));
        let found = client.element(&ports, &wanted).unwrap().unwrap();
        assert_eq!(found.key, wanted.key_bytes());
        assert_eq!(found.data, wanted.data_bytes());
        assert_eq!(found.comment.as_deref(), Some("id"));
        let missing = element(&[Value::Protocol(Protocol::Tcp), Value::Port(81)]);
        assert_eq!(client.element(&ports, &missing).unwrap(), None);
        let printed = (
            run("nft -j list ruleset"),
            run("nft --debug=netlink list ruleset"),
        );
        let mut batch = Batch::new();
        batch.delete_elements(
            &ports,
            [client.elements(&ports).unwrap()[0].to_element(&ports)],
        );
        client.commit(&batch).unwrap();
        assert_eq!(client.elements(&ports).unwrap(), []);
        printed
    });
    assert_eq!(sorted(&theirs.0), sorted(&ours.0));
    assert_eq!(elements(&theirs.1), elements(&ours.1));
}

/// JSON of `nft`, without what depends on the order of creation, sorted.
fn sorted(json: &str) -> Vec<String> {
    let value: serde_json::Value = serde_json::from_str(json).unwrap();
    let mut list: Vec<String> = value["nftables"]
        .as_array()
        .unwrap()
        .iter()
        .map(|object| {
            let mut object = object.clone();
            for value in object.as_object_mut().unwrap().values_mut() {
                if let Some(fields) = value.as_object_mut() {
                    fields.remove("handle");
                    if let Some(list) = fields.get_mut("elem").and_then(|e| e.as_array_mut()) {
                        list.sort_by_key(ToString::to_string);
                    }
                }
            }
            object.to_string()
        })
        .collect();
    list.sort();
    list
}

/// The elements as the kernel has them.
fn elements(debug: &str) -> Vec<&str> {
    let lines = debug.lines();
    let mut list: Vec<&str> = lines.filter(|line| line.contains("element")).collect();
    list.sort_unstable();
    list
}
