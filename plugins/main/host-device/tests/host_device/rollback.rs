//! A failing ADD leaves host and container exactly as they were, wherever it fails.

use crate::common::{device, devices, dual, host_with_device, plugin};
use serde_json::{Value, json};
use testkit::{Host, Invocation, Node, fail_each_request, leases, state};

#[test]
fn each_request_to_the_kernel() {
    for config in [device(json!({})), dual(json!({}))] {
        let (host, _outside) = host_with_device();
        let container = host.container("c1");
        let requests = fail_each_request(&host, || {
            let add = plugin().command("ADD").container(&container);
            add.config(&config)
        });
        assert!(requests >= 3, "{requests}");
    }
}

/// A device with everything that it loses when it leaves the host.
fn busy_device(host: &Host) {
    for command in [
        "link set dev0 alias uplink",
        "addr add 10.9.0.1/24 dev dev0",
        "addr add 10.9.0.2/32 dev dev0",
        "addr add fd00:9::1/64 dev dev0 nodad",
        "route add 10.99.0.0/16 via 10.9.0.254 mtu 1300 metric 50",
        "route add 10.98.0.0/16 via 192.0.2.1 dev dev0 onlink",
        "route add 10.97.0.0/16 dev dev0 table 77",
        "-6 route add fd00:99::/32 via fd00:9::fe",
        "route add default via 10.9.0.254",
    ] {
        host.ip(command);
    }
}

#[test]
fn addresses_and_routes_of_the_device_are_restored() {
    let (host, _outside) = host_with_device();
    busy_device(&host);
    let container = host.container("c1");
    let other = host.container("other");
    // State directories are created with the first use.
    let link = dual(json!({"device": "spare0"}));
    host.ip("link add spare0 type veth peer name spare1");
    plugin().add(&other, &link).expect_ok();
    plugin().del(&other, &link).expect_ok();
    let before = state(&host);
    let counter = host.dir().join("requests");
    let add = |config: &Value| -> Invocation {
        let add = plugin().command("ADD").container(&container);
        add.config(config)
            .env("RTNL_COUNT", &counter)
            .env("CNI_TEST_WRITABLE", host.dir())
    };
    for number in 1..20 {
        let run = add(&dual(json!({})))
            .env("RTNL_FAIL_AT", number.to_string())
            .run();
        std::fs::remove_file(&counter).unwrap();
        if run.is_ok() {
            assert!(number > 6, "{number}");
            return;
        }
        let report = run.report();
        run.expect_error(999);
        let diff = before.diff(&state(&host));
        assert!(
            diff.is_empty(),
            "request {number} failed and left\n{diff}\n{report}"
        );
    }
    panic!("no ADD succeeded");
}

#[test]
fn ipam_fails() {
    let (host, _outside) = host_with_device();
    busy_device(&host);
    let container = host.container("c1");
    let config = |ipam: Value| device(json!({"ipam": ipam}));
    plugin()
        .add(&container, &config(json!({"type": "no-such-plugin"})))
        .expect_error(999)
        .mentions("failed to find plugin \"no-such-plugin\"");
    // The directory of records exists now.
    let before = host.snapshot();
    for (ipam, words) in [
        (json!({"type": "no-such-plugin"}), "failed to find plugin"),
        (
            json!({"type": "static"}),
            "IPAM plugin returned missing IP config",
        ),
        (
            json!({
                "type": "static", "addresses": [{"address": "10.1.0.2/24"}],
                "routes": [{"dst": "10.9.0.0/16", "gw": "192.0.2.1"}],
            }),
            "failed to add route",
        ),
    ] {
        plugin()
            .add(&container, &config(ipam))
            .expect_error(999)
            .mentions(words);
        before.assert_same(&host.snapshot());
        assert_eq!(leases("net"), [""; 0]);
    }
    assert_eq!(devices(&container), [""; 0]);
}

#[test]
fn the_master_of_the_device_is_restored() {
    let (host, _outside) = host_with_device();
    host.ip("link add br0 address 02:00:00:00:00:b0 up type bridge");
    host.ip("link set dev0 master br0");
    let container = host.container("c1");
    let config = device(json!({"ipam": {"type": "no-such-plugin"}}));
    plugin().add(&container, &config).expect_error(999);
    assert_eq!(host.link("dev0").unwrap()["master"], "br0");
}
