//! ADD, DEL, GC and STATUS.

use crate::common::{
    MAC, assert_same, attach, attached, attribute, config, everything, has_flag, ip, state, tuning,
};
use serde_json::{Value, json};
use std::fs;
use testkit::{Container, Host, Node, merge};

#[track_caller]
fn add(container: &Container, extra: Value) -> Value {
    let run = tuning().add(container, &config(extra)).expect_ok();
    assert_eq!(run.stderr_text(), "");
    run.with_prev()
}

#[test]
fn everything_is_set_and_restored() {
    let (host, container) = attached();
    let before = state(&host, &container);
    let config = add(&container, everything());
    for (key, value) in [
        ("net/core/somaxconn", "500"),
        ("net/ipv4/conf/eth0/arp_filter", "1"),
        ("net/ipv4/ip_forward", "1"),
        ("net/ipv6/conf/all/forwarding", "1"),
        ("net/ipv4/ip_local_port_range", "20000\t30000"),
    ] {
        assert_eq!(container.sysctl(key), value, "{key}");
    }
    assert_eq!(attribute(&container, "address"), "02:00:00:00:00:0a");
    assert_eq!(attribute(&container, "mtu"), 1400);
    assert_eq!(attribute(&container, "txqlen"), 77);
    assert!(has_flag(&container, "PROMISC") && has_flag(&container, "ALLMULTI"));
    let own = &config["prevResult"]["interfaces"];
    assert_eq!(own[1]["mac"], "02:00:00:00:00:0a");
    assert_eq!(own[1]["mtu"], 1400);
    assert_eq!(
        own[0],
        json!({"name": "outside", "mac": "02:00:00:00:00:99"})
    );
    tuning().check(&container, &config).expect_ok();
    for _ in 0..2 {
        let del = tuning().del(&container, &config).expect_ok();
        assert_eq!((del.stdout_text(), del.stderr_text()), Default::default());
        assert!(!fs::exists("/run/cni/tuning/c1_eth0.json").unwrap());
    }
    assert_same(&before, &state(&host, &container));
}

/// Each key alone.
#[test]
fn each_key_is_restored() {
    for (key, value) in everything().as_object().unwrap() {
        let (host, container) = attached();
        let before = state(&host, &container);
        let config = add(&container, json!({key: value}));
        tuning().check(&container, &config).expect_ok();
        tuning().del(&container, &config).expect_ok();
        assert_same(&before, &state(&host, &container));
    }
}

/// Forwarding is set on every interface, and their values differed before.
#[test]
fn dependent_sysctls_are_restored() {
    let (host, container) = attached();
    container.set_sysctl("net/ipv4/conf/eth0/forwarding", "1");
    container.set_sysctl("net/ipv4/conf/all/accept_redirects", "0");
    container.set_sysctl("net/ipv6/conf/default/forwarding", "1");
    let before = state(&host, &container);
    let config = add(
        &container,
        json!({"sysctl": {"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1"}}),
    );
    tuning().del(&container, &config).expect_ok();
    assert_same(&before, &state(&host, &container));
}

#[test]
fn nothing_to_do() {
    let (host, container) = attached();
    let before = state(&host, &container);
    let config = add(&container, json!({}));
    tuning().check(&container, &config).expect_ok();
    tuning().del(&container, &config).expect_ok();
    let config = add(
        &container,
        json!({"sysctl": {"net.core.somaxconn": container.sysctl("net/core/somaxconn")}}),
    );
    tuning().del(&container, &config).expect_ok();
    assert_same(&before, &state(&host, &container));
}

#[test]
fn attributes_can_be_disabled() {
    let (_host, container) = attached();
    ip(&container, "link set eth0 allmulticast on promisc on");
    let config = add(
        &container,
        json!({"allmulti": false, "promisc": false, "txQLen": 0}),
    );
    assert!(!has_flag(&container, "ALLMULTI"));
    // `promisc` cannot be disabled, and CHECK then ignores it.
    assert!(has_flag(&container, "PROMISC"));
    assert_eq!(attribute(&container, "txqlen"), Value::Null);
    tuning().check(&container, &config).expect_ok();
    tuning().del(&container, &config).expect_ok();
    assert!(has_flag(&container, "ALLMULTI"));
    assert_eq!(attribute(&container, "txqlen"), 1000);
}

/// Order of precedence: network, `CNI_ARGS`, runtime, `args.cni`.
#[test]
fn sources_of_the_hardware_address() {
    let mac = |last: u8| format!("02:00:00:00:00:0{last}");
    let network = json!({"mac": mac(2)});
    let runtime = merge(network.clone(), &json!({"runtimeConfig": {"mac": mac(4)}}));
    let operator = merge(runtime.clone(), &json!({"args": {"cni": {"mac": mac(5)}}}));
    let none = merge(runtime.clone(), &json!({"args": {"cni": {"mac": ""}}}));
    for (extra, args, expected) in [
        (&network, "", mac(2)),
        (&network, "MAC=02:00:00:00:00:03", mac(3)),
        (
            &runtime,
            "IgnoreUnknown=1;MAC=02:00:00:00:00:03;K8S_POD_NAME=x",
            mac(4),
        ),
        (&operator, "MAC=02:00:00:00:00:03", mac(5)),
        (&none, "", MAC.to_owned()),
    ] {
        let (_host, container) = attached();
        let call = tuning().command("ADD").container(&container).args(args);
        let run = call.config(&config(extra.clone())).run().expect_ok();
        assert_eq!(attribute(&container, "address"), expected);
        assert_eq!(run.json()["interfaces"][1]["mac"], expected);
    }
}

#[test]
fn args_cni_override_the_network() {
    let (_host, container) = attached();
    let config = add(
        &container,
        json!({
            "sysctl": {"net.core.somaxconn": "100", "net.ipv4.ip_forward": "1"},
            "mtu": 1400, "promisc": true, "allmulti": true, "txQLen": 5,
            "args": {"cni": {
                "sysctl": {"net/core/somaxconn": "200", "net.ipv4.conf.IFNAME.arp_filter": "1"},
                "mtu": 1300, "promisc": false, "allmulti": false, "txQLen": 6,
            }},
        }),
    );
    assert_eq!(container.sysctl("net/core/somaxconn"), "200");
    assert_eq!(container.sysctl("net/ipv4/ip_forward"), "1");
    assert_eq!(container.sysctl("net/ipv4/conf/eth0/arp_filter"), "1");
    assert_eq!(attribute(&container, "mtu"), 1300);
    assert_eq!(attribute(&container, "txqlen"), 6);
    assert!(!has_flag(&container, "PROMISC") && !has_flag(&container, "ALLMULTI"));
    tuning().check(&container, &config).expect_ok();
    // Without sysctls of the network.
    add(
        &container,
        json!({"args": {"cni": {"sysctl": {"net.core.somaxconn": "300"}}}}),
    );
    assert_eq!(container.sysctl("net/core/somaxconn"), "300");
}

/// Three spellings of an interface name with a dot.
#[test]
fn dots_in_interface_names() {
    for key in [
        "net.ipv4.conf.IFNAME.arp_filter",
        "net/ipv4/conf/eth0.5/arp_filter",
        "net.ipv4.conf.eth0/5.arp_filter",
    ] {
        let host = Host::new();
        let container = attach(&host, "c1", "outside");
        ip(&container, "link set eth0 down");
        ip(&container, "link set eth0 name eth0.5 up");
        let config = config(json!({"sysctl": {key: "1"}}));
        let call = |verb| {
            tuning()
                .command(verb)
                .container(&container)
                .ifname("eth0.5")
        };
        call("ADD").config(&config).run().expect_ok();
        assert_eq!(container.sysctl("net/ipv4/conf/eth0.5/arp_filter"), "1");
        call("DEL").config(&config).run().expect_ok();
        assert_eq!(container.sysctl("net/ipv4/conf/eth0.5/arp_filter"), "0");
    }
}

/// A sysctl that has the value already is not written, so `/proc/sys` may be read-only.
#[test]
fn read_only_sysctls() {
    let (host, container) = attached();
    container.set_sysctl("net/core/somaxconn", "500");
    host.command(&["mount", "--bind", "/proc/sys", "/proc/sys"]);
    host.command(&["mount", "-o", "remount,bind,ro", "/proc/sys"]);
    let suits = json!({"sysctl": {"net.core.somaxconn": "500"}, "mtu": 1400});
    let config_of = add(&container, suits);
    tuning().check(&container, &config_of).expect_ok();
    tuning().del(&container, &config_of).expect_ok();
    assert_eq!(attribute(&container, "mtu"), 1500);
    let differs = config(json!({"sysctl": {"net.core.somaxconn": "501"}, "mtu": 1400}));
    tuning()
        .add(&container, &differs)
        .expect_error(999)
        .mentions("failed to set sysctl \"net.core.somaxconn\" to \"501\": read-only file system");
    assert_eq!(attribute(&container, "mtu"), 1500);
    host.unmount(std::path::Path::new("/proc/sys"));
}

#[test]
fn sysctls_that_can_only_be_written() {
    let (_host, container) = attached();
    let config = add(&container, json!({"sysctl": {"net.ipv4.route.flush": "1"}}));
    tuning().check(&container, &config).expect_ok();
    tuning().del(&container, &config).expect_ok();
}

#[test]
fn del_succeeds_from_any_state() {
    type Change = fn(&Host, &Container, &mut Value) -> &'static str;
    let circumstances: [(&str, Change); 8] = [
        ("no prevResult", |_, _, config| {
            config["prevResult"] = Value::Null;
            "/run/netns/c1"
        }),
        ("link gone", |_, container, _| {
            ip(container, "link del eth0");
            "/run/netns/c1"
        }),
        ("link renamed", |_, container, _| {
            ip(container, "link set eth0 down");
            ip(container, "link set eth0 name eth7");
            "/run/netns/c1"
        }),
        ("namespace gone", |_, container, _| {
            container.delete();
            "/run/netns/c1"
        }),
        ("namespace not given", |_, _, _| ""),
        (
            "something else in the place of the namespace",
            |host, container, _| {
                container.delete();
                host.command(&["touch", "/run/netns/c1"]);
                "/run/netns/c1"
            },
        ),
        ("configuration that ADD refuses", |_, _, config| {
            config["mtu"] = json!("big");
            config["sysctl"] = json!({"kernel.hostname": 7});
            config["args"] = json!([]);
            "/run/netns/c1"
        }),
        ("backup that cannot be read", |_, _, _| {
            fs::write("/run/cni/tuning/c1_eth0.json", "{").unwrap();
            "/run/netns/c1"
        }),
    ];
    for (what, change) in circumstances {
        let (host, container) = attached();
        let mut config = add(&container, everything());
        let netns = change(&host, &container, &mut config);
        for _ in 0..2 {
            let call = tuning().command("DEL").id("c1").ifname("eth0").netns(netns);
            let del = call.config(&config).run().expect_ok();
            assert_eq!(
                (del.stdout_text(), del.stderr_text()),
                Default::default(),
                "{what}"
            );
            let left = fs::read_dir("/run/cni/tuning").map_or(0, Iterator::count);
            assert_eq!(left, 0, "{what}");
        }
    }
}

#[test]
fn del_without_add_changes_nothing() {
    let (host, container) = attached();
    let before = state(&host, &container);
    tuning().del(&container, &config(everything())).expect_ok();
    assert_same(&before, &state(&host, &container));
}

/// The backup is kept if a value cannot be restored; the other values are restored.
#[test]
fn del_that_cannot_restore() {
    let (host, container) = attached();
    let config = add(&container, everything());
    host.command(&["mount", "--bind", "/proc/sys", "/proc/sys"]);
    host.command(&["mount", "-o", "remount,bind,ro", "/proc/sys"]);
    let del = tuning().del(&container, &config).expect_ok();
    let said = del.stderr_text();
    assert!(said.contains("failed to restore sysctl net/"), "{said}");
    assert!(
        said.contains("read-only file system; the values stay in /run/cni/tuning/c1_eth0.json"),
        "{said}"
    );
    assert_eq!(attribute(&container, "mtu"), 1500);
    host.unmount(std::path::Path::new("/proc/sys"));
    tuning().del(&container, &config).expect_ok();
    assert_eq!(container.sysctl("net/core/somaxconn"), "4096");
    assert_eq!(
        fs::read_dir("/run/cni/tuning").map_or(0, Iterator::count),
        0
    );
}

#[test]
fn gc_deletes_backups_of_deleted_attachments() {
    let (host, container) = attached();
    let second = attach(&host, "c2", "outside2");
    add(&container, json!({"mtu": 1400}));
    let other = config(json!({"mtu": 1400, "name": "other"}));
    tuning().add(&second, &other).expect_ok();
    let c3 = attach(&host, "c3", "outside3");
    tuning().add(&c3, &config(json!({"mtu": 1400}))).expect_ok();
    fs::write("/run/cni/tuning/c9_eth0.json", "{\n \"mtu\": 1500\n}").unwrap();
    let files = || {
        let mut names: Vec<_> = fs::read_dir("/run/cni/tuning")
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let gc = |valid: Value| {
        let config = merge(
            config(json!({"prevResult": null})),
            &json!({"cni.dev/valid-attachments": valid}),
        );
        let run = tuning().gc(&config).expect_ok();
        assert_eq!((run.stdout_text(), run.stderr_text()), Default::default());
    };
    // Without the key, nothing is collected.
    gc(Value::Null);
    gc(json!([{"containerID": "c1", "ifname": "eth0"}, {"containerID": "c3", "ifname": "eth0"}]));
    assert_eq!(files().len(), 4);
    gc(json!([{"containerID": "c1", "ifname": "eth0"}, {"containerID": "c3", "ifname": "eth1"}]));
    // Backups of other networks and of upstream are kept.
    assert_eq!(files(), ["c1_eth0.json", "c2_eth0.json", "c9_eth0.json"]);
    gc(json!([]));
    assert_eq!(files(), ["c2_eth0.json", "c9_eth0.json"]);
}

#[test]
fn status_validates_the_configuration() {
    let (host, _container) = attached();
    let before = host.snapshot();
    tuning().status(&config(everything())).expect_ok();
    tuning()
        .status(&config(json!({"mtu": -1})))
        .expect_error(999)
        .mentions("invalid mtu -1");
    before.assert_same(&host.snapshot());
}
