//! A failing ADD leaves host and container exactly as they were, wherever it fails.

use crate::common::{bare, dual, host, ipv4, ipvlan};
use serde_json::json;
use testkit::{Node, ScriptedIpam, fail_each_request};

#[test]
fn each_request() {
    let (host, _router) = host();
    let container = host.container("c1");
    let config = dual(json!({"mtu": 1400, "mode": "l3"}));
    let add = || {
        ipvlan()
            .command("ADD")
            .container(&container)
            .config(&config)
    };
    // The link, two addresses, up, two routes.
    assert_eq!(fail_each_request(&host, add), 6);
}

/// Where the host has the interface's name, older kernels make it a longer way.
#[test]
fn each_request_with_a_name_of_the_hosts() {
    let (host, _router) = host();
    host.command(&[
        "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "p0",
    ]);
    let container = host.container("c1");
    let config = ipv4(json!({}));
    let add = || {
        ipvlan()
            .command("ADD")
            .container(&container)
            .config(&config)
    };
    fail_each_request(&host, add);
}

#[test]
fn each_request_in_the_container() {
    let (host, _router) = host();
    let container = host.container("c1");
    host.command(&["ip", "link", "set", "m0", "netns", "c1", "up"]);
    let config = ipv4(json!({"linkInContainer": true}));
    let add = || {
        ipvlan()
            .command("ADD")
            .container(&container)
            .config(&config)
    };
    fail_each_request(&host, add);
}

#[test]
fn ipam_fails() {
    let (host, _router) = host();
    let container = host.container("c1");
    for (on_add, code, words, calls) in [
        (
            r#"echo '{"code": 11, "msg": "no address"}'; exit 1"#,
            11,
            "no address",
            1,
        ),
        (
            r#"echo '{"cniVersion": "1.1.0", "ips": []}'"#,
            999,
            "IPAM plugin returned missing IP config",
            2,
        ),
        (
            r#"echo '{"cniVersion": "1.1.0", "ips": [{"address": "10.3.0.9/24"}, {"address": "10.3.0.9/24"}]}'"#,
            999,
            "failed to add IP addr 10.3.0.9/24 to \"eth0\": ",
            2,
        ),
    ] {
        let ipam = ScriptedIpam::new(&host, on_add);
        host.write("calls", "");
        let config = bare(json!({"ipam": {"type": "scripted"}}));
        let call = ipam.command(&ipvlan(), "ADD").container(&container);
        call.config(&config)
            .run()
            .expect_error(code)
            .mentions(words);
        assert_eq!(container.link_names(), ["lo"]);
        assert_eq!(ipam.calls().len(), calls);
    }
}

/// The kernel refuses an address that another ipvlan of the master has.
#[test]
fn an_address_that_is_taken() {
    let (host, _router) = host();
    let (first, second) = (host.container("c1"), host.container("c2"));
    let answer = json!({"cniVersion": "1.1.0", "ips": [{"address": "10.1.0.9/24"}]});
    let ipam = ScriptedIpam::answering(&host, &answer);
    let config = bare(json!({"ipam": {"type": "scripted"}}));
    let add = |container| {
        ipam.command(&ipvlan(), "ADD")
            .container(container)
            .config(&config)
            .run()
    };
    add(&first).expect_ok();
    add(&second)
        .expect_error(999)
        .mentions("failed to add IP addr 10.1.0.9/24 to \"eth0\": address already in use");
    assert_eq!(second.link_names(), ["lo"]);
    first.ping("10.1.0.1");
}
