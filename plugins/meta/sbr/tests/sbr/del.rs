//! DEL from any state that a crash may leave, and GC.

use crate::common::{
    add, assert_same, attached, call, config, del, ip, prev, rules, sbr, state, table,
};
use serde_json::{Value, json};
use std::fs;
use testkit::{Container, Host, Node, merge};

type Change = fn(&Host, &Container, &mut Value) -> &'static str;

#[test]
fn del_succeeds_from_any_state() {
    let circumstances: [(&str, Change); 9] = [
        ("no prevResult", |_, _, config| {
            config["prevResult"] = Value::Null;
            "/run/netns/c1"
        }),
        ("link gone", |_, container, _| {
            ip(container, "link del net1");
            "/run/netns/c1"
        }),
        ("link down", |_, container, _| {
            ip(container, "link set net1 down");
            "/run/netns/c1"
        }),
        ("addresses gone", |_, container, _| {
            ip(container, "addr flush dev net1");
            "/run/netns/c1"
        }),
        ("namespace gone", |_, container, _| {
            container.delete();
            "/run/netns/c1"
        }),
        ("namespace not given", |_, _, _| ""),
        (
            "an empty file in the place of the namespace",
            |host, container, _| {
                container.delete();
                host.command(&["touch", "/run/netns/c1"]);
                "/run/netns/c1"
            },
        ),
        ("configuration that ADD refuses", |_, _, config| {
            config["table"] = json!("x");
            config["gateways"] = json!(5);
            config["prevResult"] = json!({"ips": 7});
            "/run/netns/c1"
        }),
        ("record lost", |_, _, _| {
            fs::remove_dir_all("/run/cni").unwrap();
            "/run/netns/c1"
        }),
    ];
    for (what, change) in circumstances {
        let (host, container) = attached();
        let mut config = add(&container, json!({}));
        let netns = change(&host, &container, &mut config);
        for _ in 0..2 {
            let call = sbr().command("DEL").id("c1").ifname("net1").netns(netns);
            let run = call.config(&config).run().expect_ok();
            assert_eq!(run.stdout_text(), "", "{what}");
            if !matches!(what, "link down" | "addresses gone") {
                assert_eq!(run.stderr_text(), "", "{what}");
            }
            let left = fs::read_dir("/run/cni/sbr").map_or(0, Iterator::count);
            assert_eq!(left, 0, "{what}");
        }
        if netns.is_empty() || what.contains("namespace") {
            continue;
        }
        assert_eq!(rules(&container), [""; 0], "{what}");
    }
}

/// DEL does not create a file in place of a missing namespace.
#[test]
fn del_creates_no_file() {
    let (host, container) = attached();
    let config = config(json!({}));
    container.delete();
    let before = host.snapshot();
    del(&container, &config);
    before.assert_same(&host.snapshot());
    assert!(!fs::exists("/run/netns/c1").unwrap());
    assert!(!fs::exists("/run/cni").unwrap());
}

#[test]
fn del_without_add() {
    let (host, container) = attached();
    ip(&container, "rule add from 10.2.0.5 lookup 50");
    ip(&container, "rule add from 10.2.0.5 fwmark 3 lookup 100");
    ip(&container, "rule add from 10.2.0.0/24 lookup 100");
    ip(&container, "rule add from 10.1.0.5 lookup 100");
    let before = state(&host, &container);
    del(&container, &config(json!({})));
    crate::common::assert_same(&before, &state(&host, &container));
}

/// The record is of an earlier container with the same name.
#[test]
fn a_record_of_another_container() {
    let (host, container) = attached();
    let config_of = add(&container, json!({}));
    let record = fs::read("/run/cni/sbr/net:c1:net1").unwrap();
    del(&container, &config_of);
    let before = state(&host, &container);
    fs::create_dir_all("/run/cni/sbr").unwrap();
    fs::write("/run/cni/sbr/net:c1:net1", &record).unwrap();
    del(&container, &config_of);
    crate::common::assert_same(&before, &state(&host, &container));
    for text in ["", "{", "{\"index\": 3, \"rules\": 5}"] {
        fs::create_dir_all("/run/cni/sbr").unwrap();
        fs::write("/run/cni/sbr/net:c1:net1", text).unwrap();
        let run = call(&sbr(), "DEL", &container, &config_of).expect_ok();
        assert_eq!(run.stdout_text(), "");
        // What is JSON is taken for a record of another version, and left alone.
        let is_removed = run.stderr_text().contains("which is not a record");
        assert_eq!(is_removed, !text.ends_with('}'));
        crate::common::assert_same(&before, &state(&host, &container));
    }
}

/// Others use the table since ADD.
#[test]
fn a_table_with_foreign_rules_is_kept() {
    let (_host, container) = attached();
    let config = add(&container, json!({}));
    ip(&container, "rule add fwmark 5 lookup 100");
    ip(
        &container,
        "route add 10.50.0.0/16 via 10.1.0.1 dev eth0 table 101",
    );
    del(&container, &config);
    assert!(ip(&container, "rule").contains("fwmark 0x5 lookup 100"));
    assert!(table(&container, "100").len() > 1);
    assert_eq!(
        table(&container, "101"),
        ["10.50.0.0/16 via 10.1.0.1 dev eth0"]
    );
}

#[test]
fn gc() {
    let (_host, container) = attached();
    add(&container, json!({}));
    fs::write("/run/cni/sbr/other:c1:net1", "{}").unwrap();
    fs::write("/run/cni/sbr/net", "{}").unwrap();
    let gc = |valid: Value| {
        let extra = json!({"prevResult": null, "cni.dev/valid-attachments": valid});
        let run = sbr().gc(&merge(config(json!({})), &extra)).expect_ok();
        assert_eq!((run.stdout_text(), run.stderr_text()), Default::default());
        let files = fs::read_dir("/run/cni/sbr").unwrap();
        let mut names: Vec<String> = files
            .map(|f| f.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(gc(Value::Null).len(), 3);
    assert_eq!(
        gc(json!([{"containerID": "c1", "ifname": "net1"}])).len(),
        3
    );
    assert_eq!(
        gc(json!([{"containerID": "c1", "ifname": "net2"}])),
        ["net", "other:c1:net1"]
    );
    assert_eq!(rules(&container).len(), 2);
}

/// GC takes the record of an attachment that lives on, for example because the runtime
/// lost its list. What the tables have is then all that tells the routes of the main table.
#[test]
fn the_routes_come_back_after_gc() {
    let (host, container) = attached();
    let before = state(&host, &container);
    for repeated in [false, true] {
        let config = add(&container, json!({}));
        let none = json!({"prevResult": null, "cni.dev/valid-attachments": []});
        sbr().gc(&merge(config.clone(), &none)).expect_ok();
        assert!(!fs::exists("/run/cni/sbr").unwrap());
        if repeated {
            add(&container, json!({}));
        }
        call(&sbr(), "CHECK", &container, &config).expect_ok();
        del(&container, &config);
        assert_same(&before, &state(&host, &container));
    }
}

/// A table that others fill keeps its routes, whether ADD has left a record or not.
#[test]
fn a_configured_table_is_neither_emptied_nor_restored_from() {
    for has_record in [true, false] {
        let (_host, container) = attached();
        ip(
            &container,
            "route add 10.50.0.0/16 via 10.2.0.1 dev net1 table 300",
        );
        // Of one address: a table that another rule looks up is kept for that reason.
        let mut previous = prev("1.1.0");
        previous["ips"] = json!([previous["ips"][0]]);
        let config = add(&container, json!({"table": 300, "prevResult": previous}));
        if !has_record {
            fs::remove_dir_all("/run/cni/sbr").unwrap();
        }
        for family in ["-4", "-6"] {
            ip(
                &container,
                &format!("{family} route flush table main dev net1"),
            );
        }
        let main = table(&container, "main");
        del(&container, &config);
        assert_eq!(table(&container, "main"), main);
        assert_eq!(
            table(&container, "300"),
            ["10.50.0.0/16 via 10.2.0.1 dev net1"],
            "with a record: {has_record}"
        );
    }
}

#[test]
fn status() {
    let (host, _container) = attached();
    let before = host.snapshot();
    sbr().status(&config(json!({}))).expect_ok();
    sbr()
        .status(&config(json!({"table": 0})))
        .expect_error(999)
        .mentions("invalid table 0");
    before.assert_same(&host.snapshot());
}

/// The name of the record is bounded.
#[test]
fn long_network_names_and_container_ids() {
    let (host, container) = attached();
    let before = state(&host, &container);
    let id = "c".repeat(300);
    let config = config(json!({"name": "n".repeat(200)}));
    for verb in ["ADD", "CHECK", "DEL", "DEL"] {
        let call = sbr().command(verb).container(&container).id(&id);
        call.ifname("net1").config(&config).run().expect_ok();
    }
    assert_same(&before, &state(&host, &container));
}
