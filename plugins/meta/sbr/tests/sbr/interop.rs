//! Interoperability with upstream: what one implementation added, the other checks and
//! deletes.

use crate::common::{attached, call, config, del, prev, rules, sbr, table};
use serde_json::{Value, json};
use testkit::{Container, Plugin};

fn old(extra: Value) -> Value {
    let mut config = config(extra);
    config["cniVersion"] = "1.0.0".into();
    config["prevResult"] = prev("1.0.0");
    // Upstream mistakes the host's interface of the same name for the container's.
    config["prevResult"]["ips"].as_array_mut().unwrap().pop();
    config
}

/// Rules and tables, without the routes of the other family that upstream copies.
fn made(container: &Container) -> Vec<Vec<String>> {
    let family = |lines: Vec<String>, part: &str| -> Vec<String> {
        lines
            .into_iter()
            .filter(|line| line.contains(part))
            .collect()
    };
    vec![
        rules(container),
        family(table(container, "100"), "10."),
        family(table(container, "101"), "fd00:"),
        table(container, "main"),
    ]
}

#[test]
fn each_implementation_deletes_the_others_rules() {
    let peer = Plugin::peer("sbr");
    // The installed release lacks `table` and `gateways`.
    for extra in [json!({}), json!({"addSourceHints": false})] {
        let mut seen = Vec::new();
        for (adder, other) in [(&sbr(), &peer), (&peer, &sbr())] {
            let (_host, container) = attached();
            let run = call(adder, "ADD", &container, &old(extra.clone())).expect_ok();
            seen.push((run.json(), made(&container)));
            call(&sbr(), "CHECK", &container, &run.with_prev()).expect_ok();
            for deleter in [other, adder] {
                call(deleter, "DEL", &container, &run.with_prev()).expect_ok();
                assert_eq!(rules(&container), [""; 0], "{extra}");
            }
        }
        let (theirs, ours) = (seen.pop().unwrap(), seen.pop().unwrap());
        let without_dns = |mut result: Value| {
            result.as_object_mut().unwrap().remove("dns");
            result
        };
        assert_eq!(without_dns(ours.0), without_dns(theirs.0));
        assert_eq!(ours.1, theirs.1, "{extra}");
    }
}

/// ADD after an ADD of upstream succeeds and uses the same tables.
#[test]
fn add_after_an_add_of_upstream() {
    let (_host, container) = attached();
    call(&Plugin::peer("sbr"), "ADD", &container, &old(json!({}))).expect_ok();
    let before = made(&container);
    let run = call(&sbr(), "ADD", &container, &old(json!({}))).expect_ok();
    assert_eq!(made(&container), before);
    call(&sbr(), "CHECK", &container, &run.with_prev()).expect_ok();
    del(&container, &run.with_prev());
    assert_eq!(rules(&container), [""; 0]);
}

/// A record that is left because upstream deleted the attachment.
#[test]
fn del_restores_routes_after_a_del_of_upstream() {
    let (_host, container) = attached();
    let run = call(&sbr(), "ADD", &container, &old(json!({}))).expect_ok();
    call(&Plugin::peer("sbr"), "DEL", &container, &run.with_prev()).expect_ok();
    let left = table(&container, "main");
    // The tables still have routes, which DEL restores.
    del(&container, &run.with_prev());
    assert_ne!(table(&container, "main"), left);
    assert_eq!(table(&container, "100"), [""; 0]);
    let home = table(&container, "main");
    del(&container, &run.with_prev());
    assert_eq!(table(&container, "main"), home);
}
