//! The verbs with the plugins that flannel is used with.

use crate::common::{DUAL, IPV4, SUBNET_FILE, config, flannel, host, lease, states};
use serde_json::{Value, json};
use testkit::{Host, Node, VERSIONS, leases};

#[test]
fn lists_its_versions() {
    let _host = Host::new();
    let reply = flannel().version().expect_ok().json();
    assert_eq!(
        reply,
        json!({"cniVersion": "1.1.0", "supportedVersions": VERSIONS})
    );
}

#[test]
fn every_version() {
    let host = host(IPV4);
    for version in VERSIONS {
        let container = host.container("c1");
        let mut config = config(json!({"cniVersion": version}));
        let run = flannel().add(&container, &config).expect_ok();
        let result = run.json();
        assert_eq!(result["cniVersion"], version);
        let address = match version {
            "0.1.0" | "0.2.0" => &result["ip4"]["ip"],
            _ => &result["ips"][0]["address"],
        };
        assert!(
            address.as_str().unwrap().starts_with("10.1.17."),
            "{result}"
        );
        assert_eq!(run.stderr_text(), "");
        assert_eq!(container.link("eth0").expect("the interface")["mtu"], 1472);
        container.ping("10.1.17.1");
        config["prevResult"] = result;
        let check = flannel().check(&container, &config);
        if version >= "0.4.0" {
            assert_eq!(check.expect_ok().stdout_text(), "");
        } else {
            check
                .expect_error(1)
                .mentions("config version does not allow CHECK");
        }
        for _ in 0..2 {
            let del = flannel().del(&container, &config).expect_ok();
            assert_eq!((del.stdout_text(), del.stderr_text()), Default::default());
            assert_eq!(container.link("eth0"), None);
            assert_eq!(leases("net"), [""; 0]);
            assert_eq!(states(), [""; 0]);
        }
        container.delete();
    }
}

#[test]
fn both_families() {
    let host = host(DUAL);
    let (first, second) = (host.container("c1"), host.container("c2"));
    for container in [&first, &second] {
        flannel().add(container, &config(json!({}))).expect_ok();
    }
    first.ping("10.1.17.3");
    first.ping("fd00:1:0:17::3");
    let has = |family: &str, dst: &str| {
        let routes = first.routes(family);
        assert!(
            routes.iter().any(|route| route.starts_with(dst)),
            "{routes:?}"
        );
    };
    has("-4", "10.1.0.0/16 via 10.1.17.1");
    has("-6", "fd00:1::/48 via fd00:1:0:17::1");
    for container in [&first, &second] {
        flannel().del(container, &config(json!({}))).expect_ok();
    }
}

#[test]
fn another_delegate() {
    let host = host(IPV4);
    let container = host.container("c1");
    let config = config(json!({"delegate": {"type": "ptp", "mtu": 1300, "ipMasq": false}}));
    let run = flannel().add(&container, &config).expect_ok();
    assert_eq!(container.link("eth0").expect("the interface")["mtu"], 1300);
    flannel().check(&container, &run.with_prev()).expect_ok();
    flannel().del(&container, &config).expect_ok();
    assert_eq!(container.link("eth0"), None);
}

#[test]
fn check_is_the_delegates() {
    let host = host(IPV4);
    let container = host.container("c1");
    let run = flannel().add(&container, &config(json!({}))).expect_ok();
    container.command(&["ip", "addr", "flush", "dev", "eth0"]);
    flannel()
        .check(&container, &run.with_prev())
        .expect_error(999)
        .mentions("10.1.17.2/24");
    flannel().del(&container, &run.with_prev()).expect_ok();
    flannel()
        .check(&container, &run.with_prev())
        .expect_error(999)
        .mentions("/var/lib/cni/flannel/c1:net:eth0 does not hold the configuration");
}

/// The daemon has leased another subnet since: what has been attached stays as it was.
#[test]
fn a_new_lease() {
    let host = host(IPV4);
    let container = host.container("c1");
    let run = flannel().add(&container, &config(json!({}))).expect_ok();
    lease(&IPV4.replace("10.1.17.1", "10.1.99.1"));
    flannel().check(&container, &run.with_prev()).expect_ok();
    flannel().del(&container, &run.with_prev()).expect_ok();
    assert_eq!(leases("net"), [""; 0]);
}

#[test]
fn status() {
    let _host = host(IPV4);
    flannel().status(&config(json!({}))).expect_ok();
    let missing = config(json!({"delegate": {"type": "nosuchplugin"}}));
    flannel()
        .status(&missing)
        .expect_error(50)
        .mentions("failed to find plugin \"nosuchplugin\"");
    let ipam = config(json!({"ipam": {"type": "nosuchipam"}}));
    assert!(!flannel().status(&ipam).is_ok());
    std::fs::remove_file(SUBNET_FILE).unwrap();
    flannel()
        .status(&config(json!({})))
        .expect_error(50)
        .mentions(
            "failed to load flannel 'subnet.env' file: open /run/flannel/subnet.env: no such file",
        );
}

/// The daemon is gone, its file, the container, and most of the configuration.
#[test]
fn del_from_anywhere() {
    type Break = fn(&Host);
    let gone: [(Break, Value, Option<&str>); 7] = [
        (|_| {}, json!({}), None),
        (
            |_| std::fs::remove_file(SUBNET_FILE).unwrap(),
            json!({}),
            None,
        ),
        (
            |host| drop(host.command(&["ip", "netns", "del", "c1"])),
            json!({}),
            None,
        ),
        (
            |host| drop(host.command(&["ip", "-n", "c1", "link", "del", "eth0"])),
            json!({}),
            None,
        ),
        (|_| {}, json!({}), Some("")),
        (
            |_| {},
            json!({"delegate": 5, "ipam": [], "subnetFile": 7, "runtimeConfig": "x"}),
            None,
        ),
        (
            |_| {},
            json!({"delegate": {"type": "flannel", "name": "x"}, "prevResult": 5}),
            None,
        ),
    ];
    for (number, (break_it, extra, netns)) in gone.into_iter().enumerate() {
        let host = host(IPV4);
        let container = host.container("c1");
        flannel().add(&container, &config(json!({}))).expect_ok();
        assert_eq!(leases("net"), ["10.1.17.2"]);
        break_it(&host);
        for _ in 0..2 {
            let config = config(extra.clone());
            let mut call = flannel()
                .command("DEL")
                .container(&container)
                .config(&config);
            if let Some(netns) = netns {
                call = call.netns(netns);
            }
            let del = call.run().expect_ok();
            assert_eq!((del.stdout_text(), del.stderr_text()), Default::default());
            assert_eq!(leases("net"), [""; 0], "{number}");
            assert_eq!(states(), [""; 0], "{number}");
        }
    }
}
