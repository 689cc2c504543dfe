//! Upstream's plugin with this daemon, and this plugin with upstream's daemon: one of the two
//! is upgraded before the other.

use crate::lan::{Daemon, Lan, SERVER, config, eventually, plugin, status};
use serde_json::json;
use testkit::{Plugin, Service, peer_dir};

#[test]
fn upstreams_plugin_gets_a_lease_of_this_daemon() {
    let lan = Lan::new();
    let _server = lan.dnsmasq("--dhcp-option=option:classless-static-route,10.9.0.0/16,10.20.0.9");
    let _daemon = Daemon::start(&[]);
    let container = lan.container("c1");
    let peer = Plugin::peer("dhcp");
    let mut conf = config(&json!({}));
    conf["cniVersion"] = json!("1.0.0");
    let run = peer.add(&container, &conf).expect_ok();
    let result = run.json();
    assert_eq!(result["ips"][0]["gateway"], SERVER);
    assert!(
        result["ips"][0]["address"]
            .as_str()
            .unwrap()
            .starts_with("10.20.0.")
    );
    assert_eq!(
        result["routes"],
        json!([{"dst": "0.0.0.0/0", "gw": SERVER}])
    );
    assert_eq!(status().len(), 1);
    peer.check(&container, &run.with_prev()).expect_ok();
    plugin().check(&container, &run.with_prev()).expect_ok();
    peer.del(&container, &conf).expect_ok();
    eventually("released", || lan.leases().is_empty());
    // Errors reach it as well.
    let bad = config(&json!({"request": [{"option": "frob"}]}));
    let mut bad = bad;
    bad["cniVersion"] = json!("1.0.0");
    peer.add(&container, &bad)
        .expect_error(999)
        .mentions("Can not parse option");
}

#[test]
fn this_plugin_gets_a_lease_of_upstreams_daemon() {
    let lan = Lan::new();
    let _server = lan.dnsmasq("");
    let program = peer_dir().join("dhcp");
    let _daemon = Service::start(&[&program.to_string_lossy(), "daemon"]);
    let container = lan.container("c1");
    let conf = config(&json!({}));
    eventually("upstream's daemon listens", || {
        plugin().status(&conf).is_ok()
    });
    let run = plugin().add(&container, &conf).expect_ok();
    assert_eq!(run.json()["ips"][0]["gateway"], SERVER);
    assert_eq!(
        run.json()["routes"],
        json!([{"dst": "0.0.0.0/0", "gw": SERVER}])
    );
    plugin().check(&container, &run.with_prev()).expect_ok();
    let mut gc = conf.clone();
    gc["cni.dev/valid-attachments"] = json!([]);
    plugin().gc(&gc).expect_ok();
    plugin().del(&container, &conf).expect_ok();
    plugin().del(&container, &conf).expect_ok();
    let bad = config(&json!({"provide": [{"option": "300", "value": "x"}]}));
    plugin()
        .add(&container, &bad)
        .expect_error(999)
        .mentions("value out of range");
}
