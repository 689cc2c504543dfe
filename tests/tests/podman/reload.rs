//! `podman network reload` after somebody has deleted the rules.

use testkit::Node as _;

use crate::{HOST, NEIGHBOUR, Stage, addresses, create_base_chains, expect_answer, expect_silence};

/// The commands that delete all rules, each list in its own way.
const FLUSHES: [&[&[&str]]; 2] = [
    &[
        &["iptables", "-F"],
        &["iptables", "-t", "nat", "-F"],
        &["ip6tables", "-F"],
        &["ip6tables", "-t", "nat", "-F"],
    ],
    &[&["nft", "flush", "ruleset"]],
];

#[test]
fn reload_repairs_rules_that_were_flushed() {
    let stage = Stage::new();
    let (podman, host) = (&stage.podman, &stage.podman.host);
    stage.dual_network("n", 81);
    stage.network("other", &["--subnet=10.82.0.0/24"]);
    let networks = ["--network=n", "--network=other"];
    let id = stage.start("c1", &[networks[0], networks[1], "--publish=8080:80"]);
    stage.start("c2", &[networks[1], "--publish=8090:80"]);
    let before = ["n", "other"].map(|network| addresses(network, &id));
    let macs = || {
        let c1 = podman.container("c1");
        ["eth0", "eth1"].map(|link| c1.link_attribute(link, "/address"))
    };
    let macs_before = macs();
    let ports =
        [("8080", "c1"), ("8090", "c2")].map(|(port, name)| (format!("{HOST}:{port}"), name));
    for flush in FLUSHES {
        for command in flush {
            host.command(command);
        }
        for (port, _) in &ports {
            expect_silence(&stage.neighbour, port);
        }
        podman.run(&["network", "reload", "--all"]);
        for (port, name) in &ports {
            expect_answer(&stage.neighbour, port, name, NEIGHBOUR);
        }
        expect_answer(&stage.neighbour, "[2001:db8::1]:8080", "c1", "2001:db8::9");
        expect_answer(host, "127.0.0.1:8090", "c2", "10.82.0.1");
        let after = ["n", "other"].map(|network| addresses(network, &id));
        assert_eq!(after, before);
        assert_eq!(macs(), macs_before);
    }
    stage.remove_all();
    let rules = host.command(&["nft", "list", "ruleset"]);
    for part in ["10.8", "fd00:8", "CNI-DN-", &id] {
        assert!(!rules.contains(part), "{part} in\n{rules}");
    }
    // The base chains in the order in which they were at the beginning.
    host.command(&["nft", "flush", "ruleset"]);
    create_base_chains(host);
    stage.expect_nothing_left();
}
