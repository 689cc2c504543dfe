//! DEL from every state that a crash may have left.

use crate::common::{
    add, assert_same, attached, attached_without_vrf, config, del, state, table, vrf,
};
use serde_json::{Value, json};
use testkit::{Container, Host, Node, merge};

type Change = fn(&Host, &Container, &mut Value) -> &'static str;

#[test]
fn from_anywhere() {
    let circumstances: [(&str, Change); 9] = [
        ("no prevResult", |_, _, config| {
            config["prevResult"] = Value::Null;
            "/run/netns/c1"
        }),
        ("link gone", |_, container, _| {
            container.ip("link del eth0");
            "/run/netns/c1"
        }),
        ("link out of the VRF", |_, container, _| {
            container.ip("link set eth0 nomaster");
            "/run/netns/c1"
        }),
        ("link down", |_, container, _| {
            container.ip("link set eth0 down");
            "/run/netns/c1"
        }),
        ("VRF gone", |_, container, _| {
            container.ip("link del blue");
            "/run/netns/c1"
        }),
        ("configuration that ADD refuses", |_, _, config| {
            config["vrfname"] = json!(7);
            config["table"] = json!("x");
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
    ];
    for (what, change) in circumstances {
        let (host, container) = attached();
        let mut config = add(&container, json!({}));
        let netns = change(&host, &container, &mut config);
        for _ in 0..2 {
            let call = vrf().command("DEL").id("c1").ifname("eth0").netns(netns);
            let run = call.config(&config).run().expect_ok();
            assert_eq!(run.stdout_text(), "", "{what}");
            if what != "link down" {
                assert_eq!(run.stderr_text(), "", "{what}");
            }
        }
        if netns.is_empty() || what.contains("namespace") {
            continue;
        }
        assert_eq!(container.link("blue"), None, "{what}");
        if let Some(link) = container.link("eth0") {
            assert_eq!(link["master"], Value::Null, "{what}");
        }
    }
}

#[test]
fn without_an_add() {
    let (host, container) = attached_without_vrf();
    let before = state(&host, &container);
    for name in ["blue", "eth0", "nosuch"] {
        del(&container, &config(json!({"vrfname": name})));
    }
    assert_same(&before, &state(&host, &container));
}

/// Another master, and a VRF that the plugin did not create, are not touched.
#[test]
fn links_of_others_are_not_touched() {
    let (host, container) = attached();
    for command in [
        "link add br0 type bridge",
        "link set eth0 master br0",
        "link add blue type vrf table 5",
    ] {
        container.ip(command);
    }
    let before = state(&host, &container);
    for config in [config(json!({})), config(json!({"vrfname": ""}))] {
        del(&container, &config);
        assert_same(&before, &state(&host, &container));
    }
    container.ip("link set eth0 master blue");
    let before = state(&host, &container);
    del(&container, &config(json!({"vrfname": ""})));
    assert_same(&before, &state(&host, &container));
}

/// Routes that were added to the VRF's table meanwhile are moved as well.
#[test]
fn routes_added_meanwhile() {
    let (_host, container) = attached();
    let config = add(&container, json!({}));
    container.ip("route add 10.90.0.0/16 via 10.1.0.1 table 1");
    container.ip("route add blackhole 10.91.0.0/16 table 1");
    del(&container, &config);
    assert!(table(&container, "main").contains(&"10.90.0.0/16 via 10.1.0.1 dev eth0".to_owned()));
    assert_eq!(table(&container, "1"), ["blackhole 10.91.0.0/16"]);
}

#[test]
fn gc_and_status_change_nothing() {
    let (host, container) = attached();
    let config_of = add(&container, json!({}));
    let before = state(&host, &container);
    let extra = json!({"prevResult": null, "cni.dev/valid-attachments": []});
    vrf().gc(&merge(config(json!({})), &extra)).expect_ok();
    vrf().status(&config(json!({}))).expect_ok();
    vrf()
        .status(&config(json!({"vrfname": ""})))
        .expect_error(999)
        .mentions("configuration is expected to have a valid vrf name");
    assert_same(&before, &state(&host, &container));
    vrf().check(&container, &config_of).expect_ok();
}
