//! The verbs, and what can go wrong.

use serde_json::{Value, json};
use std::fs;
use testkit::{Container, Host, Node, Plugin};

fn loopback() -> Plugin {
    Plugin::new("loopback")
}

fn config() -> Value {
    json!({"cniVersion": "1.1.0", "name": "lo", "type": "loopback"})
}

fn is_up(container: &Container) -> bool {
    let lo = container.link("lo").unwrap();
    lo["flags"]
        .as_array()
        .unwrap()
        .iter()
        .any(|flag| flag == "UP")
}

#[test]
fn add_and_del_can_be_repeated() {
    let host = Host::new();
    let container = host.container("c1");
    // An IPv4 address that it had once stays.
    container.command(&["ip", "link", "set", "lo", "up"]);
    container.command(&["ip", "link", "set", "lo", "down"]);
    let before = host.snapshot();
    for _ in 0..2 {
        let run = loopback().add(&container, &config()).expect_ok();
        assert!(is_up(&container));
        container.ping("127.0.0.1");
        container.ping("::1");
        loopback().check(&container, &run.with_prev()).expect_ok();
        loopback().check(&container, &config()).expect_ok();
    }
    for _ in 0..2 {
        let del = loopback().del(&container, &config()).expect_ok();
        assert_eq!(
            (del.stdout_text(), del.stderr_text()),
            (String::new(), String::new())
        );
        before.assert_same(&host.snapshot());
    }
}

#[test]
fn the_interface_name_does_not_matter() {
    let host = Host::new();
    let container = host.container("c1");
    let run = loopback()
        .command("ADD")
        .ifname("eth7")
        .container(&container)
        .config(&config())
        .run();
    assert_eq!(run.expect_ok().json()["interfaces"][0]["name"], "lo");
    assert_eq!(container.link_names(), ["lo"]);
}

#[test]
fn del_without_a_namespace() {
    let host = Host::new();
    let container = host.container("c1");
    container.delete();
    loopback().del(&container, &config()).expect_ok();
    let del = loopback()
        .command("DEL")
        .container(&container)
        .config(&config());
    del.netns("").run().expect_ok();
}

#[test]
fn check_finds_it_down() {
    let host = Host::new();
    let container = host.container("c1");
    loopback()
        .check(&container, &config())
        .expect_error(999)
        .mentions("loopback interface is down");
    container.delete();
    loopback()
        .check(&container, &config())
        .expect_error(999)
        .mentions("failed to open netns");
}

#[test]
fn a_foreign_address_is_refused_before_anything_is_changed() {
    for address in ["10.0.0.1/8", "fd00::1/128"] {
        let host = Host::new();
        let container = host.container("c1");
        container.command(&["ip", "addr", "add", address, "dev", "lo"]);
        let words = format!("loopback interface found with non-loopback address \"{address}\"");
        for state in ["down", "up"] {
            container.command(&["ip", "link", "set", "lo", state]);
            container.command(&["ip", "addr", "replace", address, "dev", "lo"]);
            let before = host.snapshot();
            loopback()
                .add(&container, &config())
                .expect_error(999)
                .mentions(&words);
            before.assert_same(&host.snapshot());
        }
    }
}

#[test]
fn further_loopback_addresses_are_accepted() {
    let host = Host::new();
    let container = host.container("c1");
    container.command(&["ip", "addr", "add", "127.1.2.3/8", "dev", "lo"]);
    let result = loopback().add(&container, &config()).expect_ok().json();
    assert_eq!(
        result["ips"].as_array().unwrap().len(),
        2,
        "the first of each family: {result}"
    );
}

#[test]
fn a_request_that_the_kernel_refuses() {
    let host = Host::new();
    let container = host.container("c1");
    let before = host.snapshot();
    let count = host.dir().join("count");
    let failing = |verb: &str| {
        let call = loopback()
            .command(verb)
            .container(&container)
            .config(&config());
        call.env("RTNL_FAIL_AT", "1")
            .env("RTNL_COUNT", &count)
            .env("CNI_TEST_WRITABLE", host.dir())
            .run()
    };
    failing("ADD")
        .expect_error(999)
        .mentions("failed to set lo up: input/output error");
    before.assert_same(&host.snapshot());
    let counted = fs::read_to_string(&count);
    assert_eq!(
        counted.expect("a binary built with cargo test or nextest"),
        "1"
    );
    loopback().add(&container, &config()).expect_ok();
    failing("DEL")
        .expect_error(999)
        .mentions("failed to set lo down: input/output error");
    assert!(is_up(&container));
    // One that is up need not be set up.
    failing("ADD").expect_ok();
}

#[test]
fn the_hosts_own_is_not_touched() {
    let host = Host::new();
    let container = host.container("c1");
    let before = host.snapshot();
    for verb in ["ADD", "DEL"] {
        let call = loopback()
            .command(verb)
            .container(&container)
            .netns("/proc/self/ns/net");
        call.config(&config()).run().expect_error(8);
        before.assert_same(&host.snapshot());
    }
}

#[test]
fn bad_input() {
    let host = Host::new();
    let container = host.container("c1");
    let before = host.snapshot();
    for (key, value, words) in [
        (
            "ipam",
            json!("x"),
            "failed to parse network config: ipam: expected an object, got string",
        ),
        (
            "dns",
            json!([]),
            "failed to parse network config: dns: expected an object, got array",
        ),
        (
            "capabilities",
            json!({"a": 1}),
            "failed to parse network config: capabilities.a: ",
        ),
        (
            "prevResult",
            json!({"ips": 5}),
            "failed to parse prevResult: could not parse prevResult: ",
        ),
        (
            "prevResult",
            json!({"cniVersion": "0.2.0"}),
            "failed to parse prevResult: ",
        ),
    ] {
        let mut config = config();
        config[key] = value;
        loopback()
            .add(&container, &config)
            .expect_error(999)
            .mentions(words);
        before.assert_same(&host.snapshot());
        loopback().del(&container, &config).expect_ok();
    }
    let call = loopback()
        .command("ADD")
        .container(&container)
        .config(&config());
    call.clone().netns("/run/netns/none").run().expect_error(999).mentions(
        "failed to open netns \"/run/netns/none\": failed to Statfs \"/run/netns/none\": no such file or directory",
    );
    call.without_env("CNI_NETNS")
        .run()
        .expect_error(4)
        .mentions("CNI_NETNS");
}

#[test]
fn status_and_gc() {
    let host = Host::new();
    let before = host.snapshot();
    for run in [loopback().status(&config()), loopback().gc(&config())] {
        let run = run.expect_ok();
        assert_eq!(
            (run.stdout_text(), run.stderr_text()),
            (String::new(), String::new())
        );
    }
    before.assert_same(&host.snapshot());
    let mut wrong = config();
    wrong["dns"] = json!("x");
    loopback()
        .status(&wrong)
        .expect_error(999)
        .mentions("dns: expected an object, got string");
}

#[test]
fn results_equal_upstreams() {
    let host = Host::new();
    let container = host.container("c1");
    let config = json!({"cniVersion": "1.0.0", "name": "lo", "type": "loopback"});
    let (ours, peer) = (loopback(), Plugin::peer("loopback"));
    for (one, other) in [(&ours, &peer), (&peer, &ours)] {
        let run = one.add(&container, &config).expect_ok();
        other.check(&container, &run.with_prev()).expect_ok();
        let again = other.add(&container, &config).expect_ok().json();
        for key in ["cniVersion", "interfaces", "ips"] {
            assert_eq!(again[key], run.json()[key]);
        }
        other.del(&container, &run.with_prev()).expect_ok();
        assert!(!is_up(&container));
    }
}
