//! DEL and GC whatever is left of the attachment; STATUS.

use crate::common::{dual, host_end, ipv4, ptp, reaches, with_ipam};
use serde_json::json;
use testkit::{Host, Node, Plugin, SCRIPTED, ScriptedIpam, VERSIONS, leases};

#[test]
fn del_whatever_is_left() {
    for gone in [
        "namespace",
        "link",
        "host end",
        "netns variable",
        "prevResult",
        "everything",
    ] {
        let host = Host::new();
        let container = host.container("c1");
        let config = dual(json!({}));
        let run = ptp().add(&container, &config).expect_ok();
        let mut del = ptp()
            .command("DEL")
            .container(&container)
            .config(&run.with_prev());
        match gone {
            "namespace" => container.delete(),
            "link" => drop(container.ip("link del eth0")),
            "host end" => drop(host.ip(&format!("link del {}", host_end(&run)))),
            "netns variable" => {
                container.delete();
                del = del.without_env("CNI_NETNS");
            }
            "prevResult" => del = del.config(&config),
            _ => {
                container.delete();
                del = del.config(&config).without_env("CNI_NETNS");
            }
        }
        del.clone().run().expect_ok();
        assert_eq!(leases("net"), [""; 0], "{gone}");
        del.run().expect_ok();
    }
}

#[test]
fn del_with_an_invalid_configuration() {
    let host = Host::new();
    let container = host.container("c1");
    let config = dual(json!({}));
    ptp().add(&container, &config).expect_ok();
    let mut broken = config.clone();
    broken["mtu"] = json!({"a": 1});
    broken["ipMasq"] = true.into();
    broken["dns"] = 7.into();
    ptp().del(&container, &broken).expect_ok();
    assert_eq!(container.link_names(), ["lo"]);
    assert_eq!(leases("net"), [""; 0]);
}

#[test]
fn the_link_is_deleted_though_ipam_fails() {
    let host = Host::new();
    let container = host.container("c1");
    ptp().add(&container, &ipv4(json!({}))).expect_ok();
    let gone = with_ipam(json!({"type": "no-such-plugin"}), json!({}));
    ptp()
        .del(&container, &gone)
        .expect_error(999)
        .mentions("failed to find plugin \"no-such-plugin\"");
    assert_eq!(container.link_names(), ["lo"]);
}

#[test]
fn without_ipam_only_del_succeeds() {
    let host = Host::new();
    let container = host.container("c1");
    let config = with_ipam(json!({}), json!({}));
    ptp().del(&container, &config).expect_ok();
    ptp()
        .status(&config)
        .expect_error(999)
        .mentions("no plugin name provided")
        .mentions("the configuration needs an \"ipam\" object");
    let before = host.snapshot();
    ptp()
        .add(&container, &config)
        .expect_error(999)
        .mentions("no plugin name provided");
    before.assert_same(&host.snapshot());
}

#[test]
fn ipam_is_called_before_the_link_is_deleted() {
    let host = Host::new();
    let answer = json!({
        "cniVersion": "1.1.0", "ips": [{"address": "10.3.0.9/24", "gateway": "10.3.0.1"}],
    });
    let ipam = ScriptedIpam::answering(&host, &answer);
    let container = host.container("c1");
    let config = with_ipam(json!({"type": SCRIPTED}), json!({}));
    let run = |verb| {
        let call = ipam.command(&ptp(), verb).container(&container);
        call.config(&config).run().expect_ok()
    };
    run("ADD");
    assert_eq!(ipam.calls(), ["ADD"]);
    let seen = host.dir().join("seen");
    let witness = format!(
        "#!/bin/sh\n[ \"$CNI_COMMAND\" = DEL ] && ip -n c1 -o link show eth0 > {}\n",
        seen.display()
    );
    host.write(SCRIPTED, witness);
    run("DEL");
    assert!(std::fs::read_to_string(seen).unwrap().contains("eth0"));
    assert_eq!(container.link_names(), ["lo"]);
}

#[test]
fn gc_releases_leases_of_attachments_that_are_not_valid() {
    let host = Host::new();
    let (c1, c2) = (host.container("c1"), host.container("c2"));
    let config = dual(json!({}));
    for container in [&c1, &c2] {
        ptp().add(container, &config).expect_ok();
    }
    c1.delete();
    let mut gc = config.clone();
    ptp().gc(&gc).expect_ok();
    assert_eq!(leases("net").len(), 4);
    gc["cni.dev/valid-attachments"] = json!([{"containerID": "c2", "ifname": "eth0"}]);
    ptp().gc(&gc).expect_ok();
    assert_eq!(leases("net"), ["10.1.0.3", "fd00:1::3"]);
    reaches(&c2, "10.1.0.1");
}

#[test]
fn status_is_that_of_ipam() {
    let _host = Host::new();
    ptp().status(&dual(json!({}))).expect_ok();
    let mut config = dual(json!({}));
    config["ipam"]["ranges"] = json!([[{"subnet": "nonsense"}]]);
    ptp().status(&config).expect_error(999);
    config["cniVersion"] = "1.0.0".into();
    ptp()
        .status(&config)
        .expect_error(1)
        .mentions("config version does not allow STATUS");
    let version = Plugin::new("ptp").version().expect_ok().json();
    assert_eq!(version["supportedVersions"], json!(VERSIONS));
}
