//! Rules and objects in the kernel.

use crate::common::{bridged, config, filter_tables, firewall, nft_table, records};
use serde_json::{Value, json};
use testkit::{Host, Node, Plugin};

fn made_by(plugin: &Plugin, extra: Value) -> String {
    let host = Host::new();
    let c1 = host.container("c1");
    let mut config = config(extra);
    config["cniVersion"] = "1.0.0".into();
    config["prevResult"] = bridged("1.0.0", "cni0", 2);
    plugin.add(&c1, &config).expect_ok();
    // A second ADD changes nothing.
    plugin.add(&c1, &config).expect_ok();
    filter_tables(&host)
}

#[test]
fn iptables_rules_are_those_of_upstream() {
    let peer = Plugin::peer("firewall");
    for extra in [
        json!({"backend": "iptables"}),
        json!({"backend": "iptables", "iptablesAdminChainName": "NOMAD-ADMIN", "ingressPolicy": "open"}),
        json!({"backend": ""}),
        json!({"BACKEND": "iptables", "ingresspolicy": "same-bridge"}),
    ] {
        let ours = made_by(&firewall(), extra.clone());
        // Newer releases have another comment on shared rules.
        let ours = ours.replace("same-bridge|isolated", "same-bridge");
        assert_eq!(ours, made_by(&peer, extra));
    }
}

#[test]
fn isolated_rules_are_those_of_newer_releases() {
    let text = made_by(&firewall(), json!({"ingressPolicy": "isolated"}));
    let rules: Vec<&str> = text.lines().filter(|line| line.starts_with("-A")).collect();
    let half = rules.len() / 2;
    assert_eq!(
        rules[..half],
        [
            "-A FORWARD -m comment --comment \"CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)\" -j CNI-ISOLATION-STAGE-1",
            "-A FORWARD -m comment --comment \"CNI firewall plugin rules\" -j CNI-FORWARD",
            "-A CNI-FORWARD -m comment --comment \"CNI firewall plugin admin overrides\" -j CNI-ADMIN",
            "-A CNI-FORWARD -d 10.1.0.2/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            "-A CNI-FORWARD -s 10.1.0.2/32 -j ACCEPT",
            "-A CNI-ISOLATION-STAGE-1 -i cni0 -o cni0 -m comment --comment \"CNI firewall plugin rules (ingressPolicy: isolated)\" -j DROP",
            "-A CNI-ISOLATION-STAGE-1 -i cni0 ! -o cni0 -m comment --comment \"CNI firewall plugin rules (ingressPolicy: isolated)\" -j CNI-ISOLATION-STAGE-2",
            "-A CNI-ISOLATION-STAGE-1 -m comment --comment \"CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)\" -j RETURN",
            "-A CNI-ISOLATION-STAGE-2 -o cni0 -m comment --comment \"CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)\" -j DROP",
            "-A CNI-ISOLATION-STAGE-2 -m comment --comment \"CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)\" -j RETURN",
        ]
    );
    assert!(rules[half..].contains(&"-A CNI-FORWARD -s fd00:1::2/128 -j ACCEPT"));
}

#[test]
fn the_nftables_table_has_its_sets_and_rules() {
    let host = Host::new();
    let c1 = host.container("c1");
    let extra = json!({"backend": "nftables", "ingressPolicy": "isolated"});
    let config = config(extra);
    firewall().add(&c1, &config).expect_ok();
    let once = nft_table(&host);
    firewall().add(&c1, &config).expect_ok();
    assert_eq!(nft_table(&host), once);
    for part in [
        "comment \"CNI firewall plugin\"",
        "type filter hook forward priority 0; policy accept;",
        "\t\tjump isolation\n\t\tjump containers\n",
        "iifname . oifname vmap @within_bridges\n",
        "iifname @bridges oifname @bridges drop\n",
        "\t\tjump CNI-ADMIN\n\t\tip daddr @container_ipv4 ct state 0x2,0x4 accept\n\
         \t\tip saddr @container_ipv4 accept\n",
        "\t\tip6 daddr @container_ipv6 ct state 0x2,0x4 accept\n\t\tip6 saddr @container_ipv6 accept\n",
        "10.1.0.2 comment \"",
        "fd00:1::2 comment \"",
        ", net: net, if: eth0, id: c1\"",
        "\"cni0\" . \"cni0\" comment \"isolated, ",
    ] {
        assert!(once.contains(part), "{part:?} in\n{once}");
    }
    assert_eq!(records(), [""; 0]);
    // nft can read what it printed.
    let file = host.write("rules", &once);
    let script = file.display().to_string();
    host.command(&["nft", "--check", "-f", &script]);
    firewall().del(&c1, &config).expect_ok();
    let rest = nft_table(&host);
    assert!(
        !rest.contains("10.1.0.2") && !rest.contains("fd00:1::2"),
        "{rest}"
    );
}

#[test]
fn nftables_executes_nothing() {
    let host = Host::new();
    let c1 = host.container("c1");
    let extra = json!({"backend": "nftables", "ingressPolicy": "same-bridge"});
    let mut config = config(extra);
    for verb in ["STATUS", "ADD", "CHECK", "DEL", "GC"] {
        config["cni.dev/valid-attachments"] = json!([]);
        let call = firewall()
            .command(verb)
            .config(&config)
            .env("PATH", "/nowhere");
        let call = match verb {
            "STATUS" | "GC" => call,
            _ => call.container(&c1),
        };
        call.run().expect_ok();
    }
    assert!(!nft_table(&host).contains("10.1.0.2"));
}

#[test]
fn without_iptables_the_choice_is_nftables() {
    let host = Host::new();
    let c1 = host.container("c1");
    for (extra, is_fine) in [(json!({}), true), (json!({"backend": "iptables"}), false)] {
        let config = config(extra);
        let call = |verb: &str| {
            let call = firewall().command(verb).config(&config);
            call.container(&c1).env("PATH", "/nowhere").run()
        };
        if is_fine {
            call("ADD").expect_ok();
            call("CHECK").expect_ok();
            assert!(nft_table(&host).contains("10.1.0.2"));
            call("DEL").expect_ok();
            assert!(!nft_table(&host).contains("10.1.0.2"));
        } else {
            let before = host.snapshot();
            call("ADD").expect_error(999).mentions("exec: \"iptables\"");
            call("STATUS")
                .expect_error(50)
                .mentions("exec: \"iptables\"");
            before.assert_same(&host.snapshot());
        }
    }
}

#[test]
fn without_addresses_nothing_is_done() {
    let host = Host::new();
    let c1 = host.container("c1");
    let before = host.snapshot();
    for backend in ["iptables", "nftables"] {
        // A layer 2 attachment has no addresses.
        let mut result = bridged("1.1.0", "cni0", 2);
        result["ips"] = json!([]);
        let config = config(json!({"backend": backend, "prevResult": result}));
        let run = firewall().add(&c1, &config).expect_ok();
        assert_eq!(run.json()["interfaces"], result["interfaces"]);
        firewall().check(&c1, &config).expect_ok();
        firewall().del(&c1, &config).expect_ok();
        before.assert_same(&host.snapshot());
    }
}

#[test]
fn only_families_with_addresses_get_rules() {
    let host = Host::new();
    let c1 = host.container("c1");
    let mut result = bridged("1.1.0", "cni0", 2);
    result["ips"].as_array_mut().unwrap().remove(1);
    let config = config(json!({
        "backend": "iptables", "ingressPolicy": "isolated", "prevResult": result,
    }));
    firewall().add(&c1, &config).expect_ok();
    let text = host.command(&["nft", "list", "tables"]);
    assert_eq!(text, "table ip filter\n");
}

#[test]
fn prev_result_is_passed_on_in_every_version() {
    let host = Host::new();
    let c1 = host.container("c1");
    for version in ["0.4.0", "1.0.0", "1.1.0"] {
        let mut result = bridged(version, "cni0", 2);
        result["interfaces"][2]["mac"] = "02:00:00:00:00:01".into();
        result["dns"] = json!({"nameservers": ["10.1.0.1"], "search": ["example.org"]});
        result["routes"] = json!([{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}]);
        let config = config(json!({
            "cniVersion": version, "prevResult": result, "backend": "nftables",
        }));
        let run = firewall().add(&c1, &config).expect_ok();
        assert_eq!(run.json(), result);
        firewall().check(&c1, &config).expect_ok();
        firewall().del(&c1, &config).expect_ok();
    }
    for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1"] {
        let config = config(json!({"cniVersion": version}));
        firewall().add(&c1, &config).expect_error(1);
    }
    let reply = firewall().version().expect_ok().json();
    assert_eq!(
        reply["supportedVersions"],
        json!(["0.4.0", "1.0.0", "1.1.0"])
    );
}
