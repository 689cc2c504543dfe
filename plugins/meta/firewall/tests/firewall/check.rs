//! CHECK names each difference, and changes nothing.

use crate::common::{bridged, config, firewall};
use serde_json::{Value, json};
use testkit::{Container, Host, Node};

/// A host with an attachment of both families, isolated on a bridge that is there.
fn attached(backend: &str) -> (Host, Container, Value) {
    let host = Host::new();
    let c1 = host.container("c1");
    host.command(&["ip", "link", "add", "cni0", "type", "bridge"]);
    let config = config(json!({"backend": backend, "ingressPolicy": "isolated"}));
    firewall().add(&c1, &config).expect_ok();
    firewall().check(&c1, &config).expect_ok();
    (host, c1, config)
}

#[track_caller]
fn drifts(backend: &str, change: &[&str], said: &[&str]) {
    let (host, c1, config) = attached(backend);
    for command in change {
        host.command(&["sh", "-ec", command]);
    }
    let before = host.snapshot();
    let error = firewall().check(&c1, &config).expect_error(999);
    said.iter().fold(error, |error, part| error.mentions(part));
    before.assert_same(&host.snapshot());
    // ADD repairs it.
    firewall().add(&c1, &config).expect_ok();
    firewall().check(&c1, &config).expect_ok();
}

#[test]
fn differences_in_iptables_are_found() {
    let shared =
        "-m comment --comment 'CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)'";
    let isolated = "-m comment --comment 'CNI firewall plugin rules (ingressPolicy: isolated)'";
    for (change, said) in [
        (
            "iptables -D CNI-FORWARD -s 10.1.0.2 -j ACCEPT".to_owned(),
            "expected rule [-s 10.1.0.2/32 -j ACCEPT] not found",
        ),
        (
            "ip6tables -D CNI-FORWARD -d fd00:1::2 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT".to_owned(),
            "expected rule [-d fd00:1::2/128 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT] not found",
        ),
        (
            "iptables -D FORWARD -m comment --comment 'CNI firewall plugin rules' -j CNI-FORWARD".to_owned(),
            "expected FORWARD rule [-m comment --comment CNI firewall plugin rules -j CNI-FORWARD] not found",
        ),
        ("ip6tables -F CNI-FORWARD".to_owned(), "expected CNI-FORWARD rule ["),
        (
            format!("iptables -D FORWARD {shared} -j CNI-ISOLATION-STAGE-1"),
            "expected FORWARD rule [",
        ),
        (
            format!("iptables -D FORWARD {shared} -j CNI-ISOLATION-STAGE-1
                     iptables -A FORWARD {shared} -j CNI-ISOLATION-STAGE-1"),
            "ingress policy isolated is without effect",
        ),
        (
            format!("ip6tables -D CNI-ISOLATION-STAGE-1 -i cni0 -o cni0 {isolated} -j DROP"),
            "expected rule [-i cni0 -o cni0 ",
        ),
        (
            format!("iptables -D CNI-ISOLATION-STAGE-1 -i cni0 ! -o cni0 {isolated} -j CNI-ISOLATION-STAGE-2"),
            "expected rule [-i cni0 ! -o cni0 ",
        ),
        (
            format!("iptables -D CNI-ISOLATION-STAGE-2 -o cni0 {shared} -j DROP"),
            "expected rule [-o cni0 ",
        ),
        ("nft flush ruleset".to_owned(), "expected FORWARD rule ["),
    ] {
        drifts("iptables", &[&change], &[said]);
    }
}

#[test]
fn differences_in_nftables_are_found() {
    let table = "inet cni_firewall";
    for (change, said) in [
        (
            format!("delete element {table} container_ipv4 {{ 10.1.0.2 }}"),
            "address 10.1.0.2 not found",
        ),
        (
            format!("delete element {table} container_ipv6 {{ fd00:1::2 }}"),
            "address fd00:1::2 not found",
        ),
        (
            format!(
                "delete element {table} container_ipv4 {{ 10.1.0.2 }}; \
                     add element {table} container_ipv4 {{ 10.1.0.2 comment \"mine\" }}"
            ),
            "address 10.1.0.2 in set container_ipv4 of table inet cni_firewall belongs to another",
        ),
        (
            format!("delete element {table} bridges {{ cni0 }}"),
            "bridge cni0 not found in set bridges",
        ),
        (
            format!("delete element {table} within_bridges {{ cni0 . cni0 }}"),
            "bridge cni0 not found in map within_bridges",
        ),
        (
            format!("flush chain {table} forward"),
            "chain forward of table inet cni_firewall lacks",
        ),
        (
            format!("flush chain {table} isolation"),
            "chain isolation of table inet cni_firewall lacks",
        ),
        (
            format!(
                "flush chain {table} forward; add rule {table} forward jump containers; \
                     add rule {table} forward jump isolation"
            ),
            "in another order",
        ),
        (
            format!("flush chain {table} containers"),
            "chain containers of table inet cni_firewall lacks",
        ),
        (
            format!("insert rule {table} containers ip saddr @container_ipv4 accept"),
            "does not begin with the jump to CNI-ADMIN",
        ),
        (
            "flush ruleset".to_owned(),
            "chain forward of table inet cni_firewall not found",
        ),
    ] {
        let change = format!("nft '{change}'");
        drifts("nftables", &[&change], &[said]);
    }
}

#[test]
fn rules_of_others_are_ignored() {
    for backend in ["iptables", "nftables"] {
        let (host, c1, config) = attached(backend);
        host.command(&["iptables", "-I", "FORWARD", "-s", "192.0.2.1", "-j", "DROP"]);
        if backend == "nftables" {
            let mine = "nft 'insert rule inet cni_firewall forward ip saddr 192.0.2.1 drop; \
                add rule inet cni_firewall containers counter; \
                add element inet cni_firewall container_ipv4 { 192.0.2.7 }'";
            host.command(&["sh", "-c", mine]);
        } else {
            let mine = "iptables -A CNI-FORWARD -s 192.0.2.1 -j DROP";
            host.command(&["sh", "-c", mine]);
        }
        firewall().check(&c1, &config).expect_ok();
        firewall().add(&c1, &config).expect_ok();
        firewall().check(&c1, &config).expect_ok();
    }
}

#[test]
fn prev_result_is_required() {
    let (_host, c1, mut config) = attached("nftables");
    config["prevResult"] = Value::Null;
    firewall()
        .check(&c1, &config)
        .expect_error(999)
        .mentions("missing prevResult from earlier plugin");
}

/// A changed policy applies with the next ADD; of two networks on a bridge the stricter
/// policy applies.
#[test]
fn a_policy_can_be_changed() {
    for backend in ["iptables", "nftables"] {
        let (host, c1, isolated) = attached(backend);
        let other = testkit::merge(
            isolated.clone(),
            &json!({
                "name": "other", "ingressPolicy": "same-bridge",
                "prevResult": bridged("1.1.0", "cni0", 9),
            }),
        );
        firewall().add(&c1, &other).expect_ok();
        firewall().check(&c1, &isolated).expect_ok();
        firewall().check(&c1, &other).expect_ok();
        let same = testkit::merge(isolated.clone(), &json!({"ingressPolicy": "same-bridge"}));
        firewall().add(&c1, &same).expect_ok();
        firewall().check(&c1, &same).expect_ok();
        firewall().check(&c1, &isolated).expect_error(999);
        firewall().add(&c1, &isolated).expect_ok();
        firewall().check(&c1, &isolated).expect_ok();
        drop(host);
    }
}

#[test]
fn add_restores_the_order_of_the_jumps() {
    let (host, c1, isolated) = attached("iptables");
    let cut = "iptables -D FORWARD -m comment --comment 'CNI firewall plugin rules' -j CNI-FORWARD";
    host.command(&["sh", "-c", cut]);
    let open = testkit::merge(
        isolated.clone(),
        &json!({"name": "open", "ingressPolicy": "open", "prevResult": bridged("1.1.0", "cni1", 7)}),
    );
    firewall().add(&c1, &open).expect_ok();
    firewall().check(&c1, &isolated).expect_ok();
}
