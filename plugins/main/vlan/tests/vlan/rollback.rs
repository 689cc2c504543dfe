//! A failing ADD leaves host and container exactly as they were, wherever it fails.

use crate::common::{dual, host, ipv4, vlan};
use serde_json::json;
use testkit::{Node, ScriptedIpam, fail_each_request};

#[test]
fn each_request() {
    let (host, _router) = host();
    let container = host.container("c1");
    let config = dual(json!({"mtu": 1400}));
    let add = || vlan().command("ADD").container(&container).config(&config);
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
    let add = || vlan().command("ADD").container(&container).config(&config);
    fail_each_request(&host, add);
}

#[test]
fn each_request_in_the_container() {
    let (host, _router) = host();
    let container = host.container("c1");
    host.command(&["ip", "link", "set", "m0", "netns", "c1", "up"]);
    let config = ipv4(json!({"linkInContainer": true}));
    let add = || vlan().command("ADD").container(&container).config(&config);
    fail_each_request(&host, add);
}

/// The one plugin whose own error tells of IPAM's.
#[test]
fn ipam_fails() {
    let (host, _router) = host();
    let container = host.container("c1");
    let before = container.link_names();
    for (on_add, words, calls) in [
        (
            r#"echo '{"code": 11, "msg": "no address", "details": "later"}'; exit 1"#,
            "failed to execute IPAM delegate: no address; later",
            1,
        ),
        (
            r#"echo '{"cniVersion": "1.1.0", "ips": []}'"#,
            "failed to execute IPAM delegate: IPAM plugin returned missing IP config",
            2,
        ),
        (
            r#"echo '{"cniVersion": "1.1.0", "ips": [{"address": "10.3.0.9/24"}, {"address": "10.3.0.9/24"}]}'"#,
            "failed to add IP addr 10.3.0.9/24 to \"eth0\": file exists",
            2,
        ),
    ] {
        let ipam = ScriptedIpam::new(&host, on_add);
        host.write("calls", "");
        let config = dual(json!({"ipam": {"type": "scripted"}}));
        let call = ipam.command(&vlan(), "ADD").container(&container);
        call.config(&config).run().expect_error(999).mentions(words);
        assert_eq!(container.link_names(), before);
        assert_eq!(ipam.calls().len(), calls);
    }
}
