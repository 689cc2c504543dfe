//! The other verbs, and an ADD that fails.

use crate::common::{dual, dummy, host};
use serde_json::json;
use testkit::{Node, ScriptedIpam, del_from_anywhere, fail_each_request, leases, merge};

fn ipv4() -> serde_json::Value {
    dual(json!({"ipam": {"type": "host-local", "subnet": "10.1.0.0/24"}}))
}

#[test]
fn del_finds_everything_gone() {
    let broken = [
        merge(ipv4(), &json!({"prevResult": 7})),
        merge(ipv4(), &json!({"dns": 7, "txQueueLen": "x"})),
    ];
    del_from_anywhere(&dummy(), &ipv4(), &broken, || (host(), ()));
}

#[test]
fn del_without_ipam_has_nothing_to_release() {
    let host = host();
    let container = host.container("c1");
    dummy().add(&container, &ipv4()).expect_ok();
    let without = merge(ipv4(), &json!({"ipam": null}));
    dummy().del(&container, &without).expect_ok();
    assert_eq!(container.link_names(), ["lo"]);
}

#[test]
fn gc_releases_what_nobody_holds() {
    let host = host();
    let lost = host.container("lost");
    dummy().add(&lost, &ipv4()).expect_ok();
    lost.delete();
    dummy().gc(&ipv4()).expect_ok();
    assert_eq!(leases("net").len(), 1);
    let config = merge(ipv4(), &json!({"cni.dev/valid-attachments": []}));
    dummy().gc(&config).expect_ok();
    assert_eq!(leases("net"), [""; 0]);
}

#[test]
fn status_asks_ipam() {
    let host = host();
    dummy().status(&ipv4()).expect_ok();
    dummy()
        .status(&merge(ipv4(), &json!({"ipam": null})))
        .expect_error(999)
        .mentions("dummy interface requires an IPAM configuration");
    let ipam = ScriptedIpam::new(&host, "");
    let config = dual(json!({"ipam": {"type": "scripted"}}));
    ipam.command(&dummy(), "STATUS")
        .config(&config)
        .run()
        .expect_ok();
    assert_eq!(ipam.calls(), ["STATUS"]);
}

#[test]
fn each_request_fails_without_a_trace() {
    let host = host();
    let container = host.container("c1");
    let config = dual(json!({}));
    let add = || dummy().command("ADD").container(&container).config(&config);
    // The link, two addresses, up, two routes.
    assert_eq!(fail_each_request(&host, add), 6);
}

#[test]
fn ipam_fails() {
    let host = host();
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
    ] {
        let ipam = ScriptedIpam::new(&host, on_add);
        host.write("calls", "");
        let config = dual(json!({"ipam": {"type": "scripted"}}));
        let call = ipam.command(&dummy(), "ADD").container(&container);
        call.config(&config)
            .run()
            .expect_error(code)
            .mentions(words);
        assert_eq!(container.link_names(), ["lo"]);
        assert_eq!(ipam.calls().len(), calls);
    }
}
