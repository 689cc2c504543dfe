//! CHECK reports each single difference.

use crate::common::{add, attached, call, config, ip, sbr};
use serde_json::{Value, json};
use testkit::merge;

#[track_caller]
fn drift(extra: Value, command: &str, words: &str) {
    let (_host, container) = attached();
    ip(&container, "route add 10.60.0.0/16 via 10.2.0.1");
    ip(
        &container,
        "-6 route add fd00:60::/64 via fd00:2::1 metric 7",
    );
    let config = add(&container, extra);
    call(&sbr(), "CHECK", &container, &config).expect_ok();
    for command in command.split("; ") {
        ip(&container, command);
    }
    call(&sbr(), "CHECK", &container, &config)
        .expect_error(999)
        .mentions(words);
}

#[test]
fn rules_and_routes() {
    for (command, words) in [
        (
            "rule del from 10.2.0.5",
            "Failed to find rule from 10.2.0.5 lookup 100",
        ),
        (
            "-6 rule del from fd00:2::5",
            "Failed to find rule from fd00:2::5 lookup 101",
        ),
        (
            "rule del from 10.2.0.5; rule add from 10.2.0.5 lookup 105",
            "Failed to find rule from 10.2.0.5 lookup 100",
        ),
        (
            "rule del from 10.2.0.5; rule add from 10.2.0.5 fwmark 1 lookup 100",
            "Failed to find rule from 10.2.0.5 lookup 100",
        ),
        (
            "route del default table 100",
            "Failed to find route 0.0.0.0/0 via 10.2.0.1 in table 100",
        ),
        (
            "route change default via 10.2.0.9 table 100",
            "Failed to find route 0.0.0.0/0 via 10.2.0.1 in table 100",
        ),
        (
            "route del 10.2.0.0/24 table 100",
            "Failed to find route 10.2.0.0/24 in table 100",
        ),
        (
            "route del 10.60.0.0/16 table 100",
            "Failed to find route 10.60.0.0/16 via 10.2.0.1 in table 100",
        ),
        (
            "-6 route del fd00:2::/64 table 101",
            "Failed to find route fd00:2::/64 in table 101",
        ),
        (
            "-6 route del default metric 98 table 101",
            "Failed to find route ::/0 via fd00:2::1 in table 101",
        ),
        (
            "-6 route del fd00:60::/64 table 101",
            "Failed to find route fd00:60::/64 via fd00:2::1 in table 101",
        ),
        ("link set net1 down", "Failed to find route"),
        (
            "link del net1",
            "Cannot find network interface net1: Link not found",
        ),
    ] {
        drift(json!({}), command, words);
    }
}

#[test]
fn the_default_route_of_an_address() {
    let (_host, container) = attached();
    for family in ["-4", "-6"] {
        ip(&container, &format!("{family} route del default dev net1"));
    }
    let config = add(&container, json!({}));
    call(&sbr(), "CHECK", &container, &config).expect_ok();
    ip(
        &container,
        "route change default via 10.2.0.9 dev net1 table 100",
    );
    let run = call(&sbr(), "CHECK", &container, &config);
    run.expect_error(999)
        .mentions("Failed to find default route via 10.2.0.1 in table 100");
}

#[test]
fn source_hints() {
    let hints = json!({"addSourceHints": true});
    for command in [
        "route del 10.2.0.0/24 dev net1",
        "route change 10.2.0.0/24 dev net1 scope link",
    ] {
        let words = "Failed to find route 10.2.0.0/24 with source 10.2.0.5 in the main table";
        drift(hints.clone(), command, words);
    }
    let words = "Failed to find route fd00:2::/64 with source fd00:2::5 in the main table";
    drift(hints, "-6 route del fd00:2::/64 dev net1 table main", words);
}

#[test]
fn a_configured_table() {
    for (command, words) in [
        (
            "rule del from 10.2.0.5",
            "Failed to find rule from 10.2.0.5 lookup 7",
        ),
        (
            "-6 rule del from fd00:2::5",
            "Failed to find rule from fd00:2::5 lookup 7",
        ),
    ] {
        drift(json!({"table": 7}), command, words);
    }
}

/// Upstream's ADD leaves no record.
#[test]
fn without_a_record() {
    for (command, words) in [
        (
            "rule del from 10.2.0.5",
            "Failed to find rule from 10.2.0.5",
        ),
        (
            "route del default table 100",
            "Failed to find default route via 10.2.0.1 in table 100",
        ),
        (
            "route del 10.2.0.0/24 table 100",
            "Failed to find route 10.2.0.0/24 in table 100",
        ),
    ] {
        let (_host, container) = attached();
        let config = add(&container, json!({}));
        std::fs::remove_dir_all("/run/cni").unwrap();
        call(&sbr(), "CHECK", &container, &config).expect_ok();
        ip(&container, command);
        call(&sbr(), "CHECK", &container, &config)
            .expect_error(999)
            .mentions(words);
    }
}

#[test]
fn foreign_rules_and_routes_are_ignored() {
    let (_host, container) = attached();
    let config_of = add(&container, json!({}));
    for command in [
        "route add 10.70.0.0/16 dev net1",
        "route add 10.70.0.0/16 dev eth0 table 100",
        "rule add from 10.2.0.5 fwmark 9 lookup 55",
    ] {
        ip(&container, command);
    }
    call(&sbr(), "CHECK", &container, &config_of).expect_ok();
    let without = merge(config(json!({})), &json!({"prevResult": null}));
    let run = call(&sbr(), "CHECK", &container, &without);
    run.expect_error(999)
        .mentions("This plugin must be called as chained plugin");
}
