//! CHECK names each difference, and changes nothing.

use serde_json::{Value, json};
use testkit::{Container, Host, Node};

use crate::common::{Net, config, portmap, web};

fn setup(keys: &Value) -> (Net, Value) {
    let net = Net::new();
    let config = config(&net.container, &web(), keys);
    portmap().add(&net.container, &config).expect_ok();
    portmap().check(&net.container, &config).expect_ok();
    (net, config)
}

#[track_caller]
fn drift(host: &Host, container: &Container, config: &Value, command: &str, words: &str) {
    let argv: Vec<&str> = command.split('|').collect();
    host.command(&argv);
    let before = host.snapshot();
    let check = portmap().check(container, config);
    check.expect_error(999).mentions(words);
    before.assert_same(&host.snapshot());
}

#[test]
fn differences_in_iptables_are_found() {
    let dn = |net: &Net| {
        let text = net.host.command(&["iptables-save", "-t", "nat"]);
        let line = text
            .lines()
            .find(|line| line.starts_with(":CNI-DN-"))
            .unwrap();
        line[1..].split(' ').next().unwrap().to_owned()
    };
    for (command, words) in [
        ("-F|DN", "could not check ipv4 dnat: rule"),
        ("-D|DN|3", "--to-destination 10.1.0.2:80"),
        ("-D|DN|2", "-s 127.0.0.1/32"),
        ("-D|DN|1", "-s 10.1.0.0/24"),
        ("-F|CNI-HOSTPORT-DNAT", "--dports 8080"),
        (
            "-F|CNI-HOSTPORT-SETMARK",
            "in chain CNI-HOSTPORT-SETMARK not found",
        ),
        (
            "-F|CNI-HOSTPORT-MASQ",
            "in chain CNI-HOSTPORT-MASQ not found",
        ),
        ("-F|POSTROUTING", "in chain POSTROUTING not found"),
        ("-F|PREROUTING", "in chain PREROUTING not found"),
        ("-F|OUTPUT", "in chain OUTPUT not found"),
        (
            "-I|POSTROUTING|-s|10.1.0.0/24|-j|MASQUERADE",
            "comes before the jump to CNI-HOSTPORT-MASQ",
        ),
    ] {
        let (net, config) = setup(&json!({"backend": "iptables"}));
        let command = format!(
            "iptables|-t|nat|{}",
            command
                .replace("DN|", &format!("{}|", dn(&net)))
                .replace("-F|DN", &format!("-F|{}", dn(&net)))
        );
        drift(&net.host, &net.container, &config, &command, words);
    }
    let (net, config) = setup(&json!({"backend": "iptables"}));
    net.host.command(&["ip6tables", "-t", "nat", "-F"]);
    net.host.command(&["ip6tables", "-t", "nat", "-X"]);
    let check = portmap().check(&net.container, &config);
    check
        .expect_error(999)
        .mentions("could not check ipv6 dnat: chain CNI-DN-")
        .mentions("not found in iptables table nat");
}

/// Scripts of `nft`, each with what CHECK says after it.
#[track_caller]
fn nft_drifts(keys: &Value, cases: &[(&str, &str)]) {
    for (script, words) in cases {
        let (net, config) = setup(keys);
        let command = format!("nft|{script}");
        drift(&net.host, &net.container, &config, &command, words);
    }
}

#[test]
fn differences_in_nftables_are_found() {
    let cases = [
        (
            "flush chain ip cni_hostport hostports",
            "missing hostport rules in \"hostports\" chain",
        ),
        (
            "flush chain ip6 cni_hostport hostports",
            "tcp port 8080 that leads to [fd00:1::2]:80",
        ),
        (
            "flush chain ip cni_hostport hostports; \
             add rule ip cni_hostport hostports tcp dport 8080 dnat to 10.1.0.9:80 comment c1",
            "leads to 10.1.0.2:80",
        ),
        (
            "flush chain ip cni_hostport masquerading",
            "missing hostport rules in \"masquerading\" chain",
        ),
        (
            "flush chain ip cni_hostport hostports_all",
            "chain \"hostports_all\"",
        ),
        (
            "flush chain ip cni_hostport prerouting",
            "chain \"prerouting\" of table ip cni_hostport does not jump",
        ),
        (
            "flush chain ip6 cni_hostport output",
            "chain \"output\" of table ip6 cni_hostport does not jump",
        ),
        (
            "add rule ip cni_hostport prerouting jump hostports",
            "maps packets that are not for this host",
        ),
        ("delete table ip cni_hostport", "missing hostport rules"),
    ];
    nft_drifts(&json!({"backend": "nftables"}), &cases);
}

#[test]
fn differences_in_maps_are_found() {
    let cases = [
        (
            "flush map ip cni_portmap by_port",
            "map \"by_port\" of table ip cni_portmap does not map tcp port 8080",
        ),
        (
            "flush map ip cni_portmap by_port; \
             add element ip cni_portmap by_port { tcp . 8080 : 10.1.0.9 . 80 }",
            "does not map tcp port 8080",
        ),
        (
            "flush set ip cni_portmap from_localhost",
            "clients on localhost",
        ),
        (
            "flush set ip6 cni_portmap from_network_64",
            "clients of the container's network",
        ),
        ("flush chain ip cni_portmap mappings", "chain \"mappings\""),
        ("flush chain ip cni_portmap clients", "chain \"clients\""),
        (
            "flush chain ip6 cni_portmap prerouting",
            "chain \"prerouting\"",
        ),
        (
            "flush chain ip6 cni_portmap masquerading",
            "chain \"masquerading\"",
        ),
        ("add rule ip cni_portmap output accept", "chain \"output\""),
    ];
    nft_drifts(&json!({"rules": "map"}), &cases);
}

#[test]
fn route_localnet_must_be_set() {
    for keys in crate::common::backends() {
        let (net, config) = setup(&keys);
        assert_eq!(net.host.sysctl("net/ipv4/conf/cni0/route_localnet"), "1");
        net.host
            .set_sysctl("net/ipv4/conf/cni0/route_localnet", "0");
        let check = portmap().check(&net.container, &config);
        check
            .expect_error(999)
            .mentions("net/ipv4/conf/cni0/route_localnet is not 1");
    }
}

#[test]
fn prev_result_is_required() {
    let host = Host::new();
    let container = host.container("c1");
    let config = config(&container, &web(), &json!({"prevResult": {}}));
    let bare = testkit::merge(config, &json!({"prevResult": null}));
    let check = portmap().check(&container, &bare);
    check
        .expect_error(999)
        .mentions("Required prevResult missing");
}
