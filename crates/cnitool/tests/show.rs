//! `cnitool show`: attachments from the cache and the kernel.

mod support;

use std::fs;

use serde_json::{Value, json};
use support::{Setup, path};
use testkit::{Container, Node, bin_dir, peer_dir};

/// A network with all plugins that leave something on the host.
fn network(backend: &str) -> Value {
    json!({
        "cniVersion": "1.1.0", "name": "net",
        "plugins": [
            {
                "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "ipMasqBackend": backend, "macspoofchk": true,
                "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd01::/64"}]]}
            },
            {"type": "portmap", "backend": backend, "capabilities": {"portMappings": true}},
            {"type": "firewall", "backend": backend},
            {"type": "bandwidth", "ingressRate": 10_000_000, "ingressBurst": 1_000_000,
             "egressRate": 1_500_000, "egressBurst": 1_000_000},
        ]
    })
}

const PORTS: &str = r#"{"portMappings": [
    {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
    {"hostPort": 5353, "containerPort": 53, "protocol": "UDP", "hostIP": "192.0.2.1"}
]}"#;

fn attach(setup: &Setup, container: &Container) {
    let call = setup.call(&["add", "net", path(container)]);
    call.env("CAP_ARGS", PORTS).run().expect_ok();
}

fn show(setup: &Setup) -> Value {
    setup.run(&["show", "--json"]).expect_ok().json()
}

fn id(attachment: &Value) -> &str {
    attachment["containerID"].as_str().expect("a container ID")
}

/// The purposes of the rules, each once, and the commands that show them.
fn rules(attachment: &Value) -> (Vec<String>, Vec<String>) {
    let list = attachment["rules"].as_array().expect("rules");
    let column = |key: &str| {
        let mut words: Vec<String> = list
            .iter()
            .map(|rule| rule[key].as_str().expect("a text").to_owned())
            .collect();
        words.sort();
        words.dedup();
        words
    };
    (column("purpose"), column("tool"))
}

fn shows_everything(backend: &str, tools: &[&str]) {
    let setup = Setup::with_list(&network(backend));
    let containers = ["c1", "c2"].map(|name| setup.host.container(name));
    for container in &containers {
        setup.verb("add", container).expect_ok();
        setup.verb("del", container).expect_ok();
    }
    attach(&setup, &containers[0]);
    let shown = show(&setup);
    assert_eq!(shown["orphans"], json!([]));
    assert_eq!(shown["problems"], json!([]));
    let list = shown["attachments"].as_array().expect("attachments");
    assert_eq!(list.len(), 1, "{shown:#}");
    let attachment = &list[0];
    assert_eq!(attachment["network"], "net");
    assert_eq!(attachment["ifName"], "eth0");
    assert_eq!(attachment["netns"], path(&containers[0]));
    assert_eq!(attachment["state"], "attached");
    let addresses = json!(["10.1.0.4/24", "fd01::4/64"]);
    assert_eq!(attachment["ips"], addresses);
    assert_eq!(attachment["interface"]["addresses"], addresses);
    assert_eq!(attachment["interface"]["kind"], "veth");
    let link = &attachment["hostLink"];
    assert_eq!(link["masters"], json!(["cni0"]));
    assert_eq!(link["alias"], format!("cni:net/{}/eth0", id(attachment)));
    let name = link["name"].as_str().expect("a name");
    setup.host.command(&["ip", "link", "show", name]);
    assert_eq!(
        attachment["ports"],
        json!([
            {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
            {"hostPort": 5353, "containerPort": 53, "protocol": "udp", "hostIP": "192.0.2.1"},
        ])
    );
    let (purposes, by) = rules(attachment);
    assert_eq!(
        purposes,
        ["firewall", "macspoofchk", "masquerade", "portmap"],
        "{attachment:#}"
    );
    assert_eq!(by, tools, "{attachment:#}");
    let shaping = &attachment["shaping"];
    assert_eq!(shaping[0]["direction"], "to-container");
    assert_eq!(shaping[0]["rate"], 10_000_000);
    assert_eq!(shaping[0]["link"], name);
    assert_eq!(shaping[1]["direction"], "from-container");
    assert_eq!(shaping[1]["rate"], 1_500_000);

    let table = setup.run(&["show"]).expect_ok().stdout_text();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|row| {
            row.split("  ")
                .map(str::trim)
                .filter(|cell| !cell.is_empty())
                .collect()
        })
        .collect();
    assert_eq!(
        rows[0],
        [
            "NETWORK",
            "CONTAINER",
            "INTERFACE",
            "STATE",
            "ADDRESSES",
            "HOST LINK",
            "PORTS",
            "RULES",
            "SHAPING"
        ]
    );
    let link = format!("{name} (cni0)");
    assert_eq!(rows[1].len(), 9, "{table}");
    assert_eq!(
        rows[1][..7],
        [
            "net",
            id(attachment),
            "eth0",
            "attached",
            "10.1.0.4/24 fd01::4/64",
            &link,
            "8080->80/tcp 192.0.2.1:5353->53/udp"
        ]
    );
    assert_eq!(rows[1][8], "in 10 Mbit/s out 1500 kbit/s");
    assert!(!table.contains('\x1b'), "no colours except on a terminal");

    let tree = setup.run(&["show", "--tree"]).expect_ok().stdout_text();
    let above = format!(
        "host\n└── cni0\n    └── {name} veth\n        └── container {}\n            └── eth0 of net 10.1.0.4/24 fd01::4/64\n                ├── ports 8080->80/tcp",
        id(attachment)
    );
    assert!(tree.starts_with(&above), "{tree}");
    assert!(
        tree.contains("── shaping in 10 Mbit/s out 1500 kbit/s\n"),
        "{tree}"
    );
}

#[test]
fn everything_with_nftables_is_shown() {
    shows_everything("nftables", &["nft"]);
}

#[test]
fn everything_with_iptables_is_shown() {
    shows_everything("iptables", &["ip6tables", "iptables", "nft"]);
}

#[test]
fn attachments_by_plugins_of_upstream_are_shown() {
    let setup = Setup::with_list(&json!({
        "cniVersion": "1.0.0", "name": "net",
        "plugins": [
            {
                "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true,
                "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}]]}
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
            {"type": "firewall", "backend": "iptables"},
            {"type": "bandwidth", "ingressRate": 10_000_000, "ingressBurst": 1_000_000},
        ]
    }));
    let container = setup.host.container("c1");
    let call = |verb: &str| {
        let call = setup.call(&[verb, "net", path(&container)]);
        call.env("CAP_ARGS", PORTS)
            .env("CNI_PATH", peer_dir())
            .run()
            .expect_ok()
    };
    call("add");
    let shown = show(&setup);
    let attachment = &shown["attachments"][0];
    assert_eq!(attachment["state"], "attached");
    assert_eq!(attachment["interface"]["addresses"], json!(["10.1.0.2/24"]));
    assert_eq!(attachment["hostLink"]["masters"], json!(["cni0"]));
    assert_eq!(attachment["hostLink"].get("alias"), None);
    let (purposes, tools) = rules(attachment);
    assert_eq!(
        purposes,
        ["firewall", "masquerade", "portmap"],
        "{attachment:#}"
    );
    assert_eq!(tools, ["iptables"]);
    assert_eq!(attachment["shaping"][0]["rate"], 10_000_000);
    call("del");
}

#[test]
fn the_parent_of_a_macvlan_is_its_host_link() {
    let setup = Setup::with_list(&json!({
        "cniVersion": "1.1.0", "name": "net",
        "plugins": [{
            "type": "macvlan", "master": "p0",
            "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}]]}
        }]
    }));
    setup.host.command(&[
        "ip", "link", "add", "p0", "type", "veth", "peer", "name", "p1",
    ]);
    setup.host.command(&["ip", "link", "set", "p0", "up"]);
    let container = setup.host.container("c1");
    setup.verb("add", &container).expect_ok();
    let shown = show(&setup);
    let attachment = &shown["attachments"][0];
    assert_eq!(attachment["interface"]["kind"], "macvlan");
    assert_eq!(attachment["hostLink"]["name"], "p0");
    assert_eq!(attachment["shaping"], json!([]));
}

#[test]
fn containers_that_are_gone_are_marked() {
    let setup = Setup::with_list(&network("nftables"));
    let container = setup.host.container("c1");
    attach(&setup, &container);
    let link = show(&setup)["attachments"][0]["hostLink"].clone();
    container.delete();
    let attachment = &show(&setup)["attachments"][0];
    assert_eq!(attachment["state"], "namespace-gone");
    assert_eq!(attachment["ips"], json!(["10.1.0.2/24", "fd01::2/64"]));
    assert_eq!(attachment["interface"], Value::Null);
    // The test still holds the namespace, so its links exist, and the alias finds the one on the host.
    assert_eq!(attachment["hostLink"], link);
    let (purposes, _) = rules(attachment);
    assert_eq!(
        purposes,
        ["firewall", "macspoofchk", "masquerade", "portmap"]
    );
    let table = setup.run(&["show"]).expect_ok().stdout_text();
    assert!(
        table.contains("  namespace gone  10.1.0.2/24 fd01::2/64  "),
        "{table}"
    );
    let tree = setup.run(&["show", "--tree"]).expect_ok().stdout_text();
    assert!(
        tree.contains("eth0 of net 10.1.0.2/24 fd01::2/64 namespace gone\n"),
        "{tree}"
    );
}

#[test]
fn a_missing_interface_and_missing_rules_are_marked() {
    let setup = Setup::with_list(&network("nftables"));
    let container = setup.host.container("c1");
    attach(&setup, &container);
    container.command(&["ip", "link", "del", "eth0"]);
    assert_eq!(show(&setup)["attachments"][0]["state"], "no-interface");
    // As after a reload of the packet filter by somebody else.
    setup.host.command(&["nft", "flush", "ruleset"]);
    let table = setup.run(&["show"]).expect_ok().stdout_text();
    let ports = "  8080->80/tcp 192.0.2.1:5353->53/udp (no rules)  -  ";
    assert!(
        table.contains("  interface missing  ") && table.contains(ports),
        "{table}"
    );
}

#[test]
fn links_without_a_cache_entry_are_orphans() {
    let setup = Setup::with_list(&network("nftables"));
    let container = setup.host.container("c1");
    attach(&setup, &container);
    let shown = show(&setup);
    let link = &shown["attachments"][0]["hostLink"];
    fs::remove_dir_all("/var/lib/cni/results").expect("remove the cache");
    let shown = show(&setup);
    assert_eq!(shown["attachments"], json!([]));
    let orphans = shown["orphans"].as_array().expect("orphans");
    // The veth, and the ifb of bandwidth.
    assert_eq!(orphans.len(), 2, "{shown:#}");
    assert!(orphans.contains(link), "{shown:#}");
    let alias = link["alias"].as_str().expect("an alias");
    let table = setup.run(&["show", "net"]).expect_ok().stdout_text();
    assert!(
        table.starts_with("no attachments\n\nlinks of attachments that are not in the cache:\n"),
        "{table}"
    );
    assert!(table.contains(&format!(" (cni0)  {alias}\n")), "{table}");
    let tree = setup.run(&["show", "--tree"]).expect_ok().stdout_text();
    assert!(
        tree.contains(&format!("veth not in the cache: {alias}\n")),
        "{tree}"
    );
    // Not those of other networks.
    let table = setup.run(&["show", "ne"]).expect_ok().stdout_text();
    assert_eq!(table, "no attachments\n");
}

#[test]
fn networks_and_the_cache_are_selected() {
    let setup = Setup::new();
    let plugin = |subnet: &str| json!({"type": "ptp", "ipam": {"type": "host-local", "ranges": [[{"subnet": subnet}]]}});
    for (name, subnet) in [("a", "10.1.0.0/24"), ("b", "10.2.0.0/24")] {
        let list = json!({"cniVersion": "1.1.0", "name": name, "plugins": [plugin(subnet)]});
        setup.write(&format!("{name}.conflist"), &list);
    }
    let container = setup.host.container("c1");
    let netns = path(&container);
    setup.run(&["add", "b", netns]).expect_ok();
    setup
        .run(&["add", "--ifname", "net1", "a", netns])
        .expect_ok();
    let names = |arguments: &[&str]| -> Vec<String> {
        let arguments = [&["show"], arguments].concat();
        let table = setup.run(&arguments).expect_ok().stdout_text();
        let rows = table.lines().skip(1);
        rows.map(|row| row.split(' ').next().unwrap_or_default().to_owned())
            .collect()
    };
    assert_eq!(names(&[]), ["a", "b"]);
    assert_eq!(names(&["b"]), ["b"]);
    assert_eq!(names(&["b", "a", "c"]), ["a", "b"]);
    // To a runtime with another cache, the links are orphans.
    assert_eq!(names(&["--cache-dir", "/nowhere"]).len(), 4);
    assert_eq!(
        names(&["--cache-dir", "/nowhere", "--cache-dir", "/var/lib/cni"]),
        ["a", "b"]
    );
    let tree = setup.run(&["show", "--tree"]).expect_ok().stdout_text();
    // ptp's links have no master.
    assert!(tree.starts_with("host\n├── veth"), "{tree}");
}

#[test]
fn colours_are_for_terminals() {
    let setup = Setup::with_list(&network("nftables"));
    let container = setup.host.container("c1");
    attach(&setup, &container);
    let program = bin_dir().join("cnitool");
    let on_terminal = |environment: &str| {
        let command = format!("env -u NO_COLOR {environment} {} show", program.display());
        setup.host.command(&[
            "script",
            "--quiet",
            "--return",
            "--command",
            &command,
            "/dev/null",
        ])
    };
    let coloured = on_terminal("TERM=xterm");
    assert!(coloured.contains("\x1b[32mattached"), "{coloured}");
    for environment in ["TERM=xterm NO_COLOR=1", "TERM=dumb"] {
        let plain = on_terminal(environment);
        assert!(
            plain.contains("attached") && !plain.contains('\x1b'),
            "{environment}: {plain}"
        );
    }
}

#[test]
fn other_files_in_the_cache_are_ignored() {
    let setup = Setup::new();
    fs::create_dir_all("/var/lib/cni/results").expect("create the cache");
    fs::write("/var/lib/cni/results/garbage", "{").expect("write garbage");
    let entry = json!({
        "kind": "cniCacheV1", "containerId": "old", "ifName": "eth0", "networkName": "net", "config": "e30=",
        "result": {"cniVersion": "0.2.0", "ip4": {"ip": "10.1.0.9/24"}}
    });
    fs::write("/var/lib/cni/results/net-old-eth0", entry.to_string()).expect("write an entry");
    let shown = show(&setup);
    let attachment = &shown["attachments"][0];
    assert_eq!(attachment["ips"], json!(["10.1.0.9/24"]));
    // Libraries before 1.2 did not write the namespace.
    assert_eq!(attachment["state"], "unknown");
    assert_eq!(
        shown["problems"],
        json!(["the cache has an attachment without the path of its namespace"])
    );
    let run = setup.run(&["show"]).expect_ok();
    assert!(
        run.stderr_text()
            .starts_with("warning: the cache has an attachment without"),
        "{}",
        run.report()
    );
}
