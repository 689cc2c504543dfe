//! Rules of both variants of iptables, compared with those of the reference
//! implementation's commands in the output of `iptables-save`.
#![allow(clippy::unwrap_used)]

mod variants;

use netfilter::iptables::{self, Change, Family, Rule, Table};
use variants::{BOTH, CHAIN, COMMENT, addresses, each, ip, masquerade, portmap};

#[test]
fn masquerade_is_the_same_as_upstream() {
    each(BOTH, |variant| {
        let (address, len, multicast) = addresses(variant.family);
        let network = format!("{address}/{len}");
        let tail = ["-m", "comment", "--comment", COMMENT];
        let change = masquerade(variant.family);
        variant.same(
            &change,
            Table::Nat,
            &[
                &["-N", CHAIN],
                &[&["-A", CHAIN, "-d", &network, "-j", "ACCEPT"], &tail[..]].concat(),
                &[
                    &["-A", CHAIN, "!", "-d", multicast, "-j", "MASQUERADE"],
                    &tail[..],
                ]
                .concat(),
                &[
                    &["-A", "POSTROUTING", "-s", address, "-j", CHAIN],
                    &tail[..],
                ]
                .concat(),
            ],
        );
        let is_legacy = variant.name == "legacy";
        for (table, expected) in [(Table::Nat, is_legacy), (Table::Filter, false)] {
            let found = iptables::is_table_in_legacy_use(variant.family, table);
            assert_eq!(found, expected);
        }
        assert!(iptables::may_have_chain(variant.family, Table::Nat, CHAIN));
        let saved = variant.iptables.read(Table::Nat).unwrap();
        let entry = saved.rules().find(|rule| rule.jumps_to(CHAIN)).unwrap();
        assert_eq!(entry.chain, "POSTROUTING");
        assert_eq!(entry.parse().comment_text(), Some(COMMENT));
        let gone = Change::new(Table::Nat).delete_chain(CHAIN);
        iptables::delete(variant.family, &gone).unwrap();
        iptables::delete(variant.family, &gone).unwrap();
        let left = variant.iptables.read(Table::Nat).unwrap();
        assert_eq!((left.rules().count(), left.has_chain(CHAIN)), (0, false));
    });
}

#[test]
fn portmap_is_the_same_as_upstream() {
    each(BOTH, |variant| {
        let (address, len, _) = addresses(variant.family);
        let network = format!("{address}/{len}");
        let dn = "CNI-DN-022110f36292712c8bb50";
        let (setmark, dnat) = ("CNI-HOSTPORT-SETMARK", "CNI-HOSTPORT-DNAT");
        let to = match variant.family {
            Family::V4 => format!("{address}:80"),
            Family::V6 => format!("[{address}]:80"),
        };
        let local = ["-m", "addrtype", "--dst-type", "LOCAL", "-j", dnat];
        let port = ["-p", "tcp", "--dport", "8080"];
        let comment = ["-m", "comment", "--comment"];
        let mut commands: Vec<Vec<&str>> = vec![
            vec!["-N", setmark],
            [
                &["-A", setmark],
                &comment[..],
                &["CNI portfwd masquerade mark", "-j", "MARK"],
                &["--set-xmark", "0x2000/0x2000"],
            ]
            .concat(),
            vec!["-N", "CNI-HOSTPORT-MASQ"],
            vec![
                "-A",
                "CNI-HOSTPORT-MASQ",
                "-m",
                "mark",
                "--mark",
                "0x2000/0x2000",
                "-j",
                "MASQUERADE",
            ],
            [
                &["-I", "POSTROUTING", "1"],
                &comment[..],
                &[
                    "CNI portfwd requiring masquerade",
                    "-j",
                    "CNI-HOSTPORT-MASQ",
                ],
            ]
            .concat(),
            vec!["-N", dnat],
            [&["-A", "PREROUTING"], &local[..]].concat(),
            [&["-A", "OUTPUT"], &local[..]].concat(),
            vec!["-N", dn],
            [&["-A", dn], &port[..], &["-s", &network, "-j", setmark]].concat(),
        ];
        if variant.family == Family::V4 {
            commands.push([&["-A", dn], &port[..], &["-s", "127.0.0.1", "-j", setmark]].concat());
        }
        commands.push(
            [
                &["-A", dn],
                &port[..],
                &["-j", "DNAT", "--to-destination", &to],
            ]
            .concat(),
        );
        commands.push(
            [
                &["-A", dnat],
                &comment[..],
                &[
                    "dnat name: \"test\" id: \"icee6giejonei6so\"",
                    "-m",
                    "multiport",
                ],
                &["-p", "tcp", "--destination-ports", "8080,8443", "-j", dn],
            ]
            .concat(),
        );
        let commands: Vec<&[&str]> = commands.iter().map(Vec::as_slice).collect();
        variant.same(&portmap(variant.family), Table::Nat, &commands);
        let shared = Change::new(Table::Nat)
            .delete_jumps(dnat, dn)
            .delete_chain(dn);
        variant.iptables.apply(&shared).unwrap();
        let saved = variant.iptables.read(Table::Nat).unwrap();
        assert!(!saved.has_chain(dn) && saved.has_chain(dnat));
        assert_eq!(saved.rules_of(dnat).count(), 0);
        assert_eq!(saved.rules_of("OUTPUT").count(), 1);
    });
}

#[test]
fn firewall_is_the_same_as_upstream() {
    each(BOTH, |variant| {
        let (address, _, _) = addresses(variant.family);
        let host = if variant.family == Family::V4 {
            32
        } else {
            128
        };
        let one = "CNI-ISOLATION-STAGE-1";
        let two = "CNI-ISOLATION-STAGE-2";
        let c1 = "CNI firewall plugin rules (ingressPolicy: isolated)";
        let c2 = "CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)";
        let rules = "CNI firewall plugin rules";
        let admin = "CNI firewall plugin admin overrides";
        let bridge = || Rule::new().in_interface("cni0");
        let change = Change::new(Table::Filter)
            .chain("CNI-FORWARD")
            .chain("CNI-ADMIN")
            .insert("FORWARD", Rule::new().comment(rules).jump("CNI-FORWARD"))
            .insert("CNI-FORWARD", Rule::new().comment(admin).jump("CNI-ADMIN"))
            .append(
                "CNI-FORWARD",
                Rule::new()
                    .destination(ip(address), host)
                    .related_or_established()
                    .jump("ACCEPT"),
            )
            .append(
                "CNI-FORWARD",
                Rule::new().source(ip(address), host).jump("ACCEPT"),
            )
            .chain(one)
            .chain(two)
            .insert("FORWARD", Rule::new().comment(c2).jump(one))
            .insert(
                one,
                bridge().not_out_interface("cni0").comment(c1).jump(two),
            )
            .insert(one, bridge().out_interface("cni0").comment(c1).jump("DROP"))
            .append(one, Rule::new().comment(c2).jump("RETURN"))
            .insert(
                two,
                Rule::new().out_interface("cni0").comment(c2).jump("DROP"),
            )
            .append(two, Rule::new().comment(c2).jump("RETURN"));
        let comment = |text| ["-m", "comment", "--comment", text];
        let (c1, c2) = (comment(c1), comment(c2));
        variant.same(
            &change,
            Table::Filter,
            &[
                &["-N", "CNI-FORWARD"],
                &["-N", "CNI-ADMIN"],
                &[
                    &["-I", "FORWARD", "1"],
                    &comment(rules)[..],
                    &["-j", "CNI-FORWARD"],
                ]
                .concat(),
                &[
                    &["-I", "CNI-FORWARD", "1"],
                    &comment(admin)[..],
                    &["-j", "CNI-ADMIN"],
                ]
                .concat(),
                &[
                    "-A",
                    "CNI-FORWARD",
                    "-d",
                    address,
                    "-m",
                    "conntrack",
                    "--ctstate",
                    "RELATED,ESTABLISHED",
                    "-j",
                    "ACCEPT",
                ],
                &["-A", "CNI-FORWARD", "-s", address, "-j", "ACCEPT"],
                &["-N", one],
                &["-N", two],
                &[&["-I", "FORWARD", "1", "-j", one], &c2[..]].concat(),
                &[
                    &["-I", one, "1", "-i", "cni0", "!", "-o", "cni0", "-j", two],
                    &c1[..],
                ]
                .concat(),
                &[
                    &["-I", one, "1", "-i", "cni0", "-o", "cni0", "-j", "DROP"],
                    &c1[..],
                ]
                .concat(),
                &[&["-A", one, "-j", "RETURN"], &c2[..]].concat(),
                &[&["-I", two, "1", "-o", "cni0", "-j", "DROP"], &c2[..]].concat(),
                &[&["-A", two, "-j", "RETURN"], &c2[..]].concat(),
            ],
        );
    });
}
