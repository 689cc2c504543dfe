//! What cannot be meant is refused before anything is changed.

use crate::common::{bridged, config, firewall};
use serde_json::{Value, json};
use testkit::Host;

#[test]
fn refused_before_anything_is_changed() {
    let host = Host::new();
    let c1 = host.container("c1");
    let before = host.snapshot();
    let without_bridge = |name: Value| {
        let mut result = bridged("1.1.0", "cni0", 2);
        result["interfaces"] = json!([name]);
        json!({"ingressPolicy": "isolated", "prevResult": result})
    };
    for (extra, code, said) in [
        (
            json!({"ingressPolicy": "closed"}),
            999,
            "unknown ingress policy: \"closed\"",
        ),
        (
            json!({"ingressPolicy": "Open"}),
            999,
            "unknown ingress policy: \"Open\"",
        ),
        (
            json!({"ingressPolicy": 1}),
            999,
            "failed to load netconf: ingressPolicy: expected a string",
        ),
        (
            json!({"backend": []}),
            999,
            "failed to load netconf: backend: expected a string",
        ),
        (
            json!({"backend": "iptable"}),
            7,
            "unrecognized backend \"iptable\"; it must be \"iptables\", \"firewalld\" or \"nftables\"",
        ),
        (
            json!({"backend": "NFTables"}),
            7,
            "unrecognized backend \"NFTables\"",
        ),
        (
            json!({"FirewalldZone": {}}),
            999,
            "failed to load netconf: FirewalldZone: ",
        ),
        (
            json!({"iptablesAdminChainName": "A CHAIN"}),
            7,
            "iptablesAdminChainName \"A CHAIN\"",
        ),
        (
            json!({"iptablesAdminChainName": "CNI-FORWARD"}),
            7,
            "the name is taken",
        ),
        (
            json!({"iptablesAdminChainName": "x".repeat(29)}),
            7,
            "more than 28 characters",
        ),
        (
            json!({"prevResult": null}),
            999,
            "missing prevResult from earlier plugin",
        ),
        (
            json!({"prevResult": {"cniVersion": "1.1.0", "ips": 5}}),
            999,
            "could not parse prevResult: ",
        ),
        (
            without_bridge(json!({"name": ""})),
            999,
            "got empty bridge name",
        ),
        (
            without_bridge(json!({"name": "eth0", "sandbox": "/ns"})),
            999,
            "make sure to chain \"firewall\" plugin with \"bridge\"",
        ),
        (
            json!({"ingressPolicy": "same-bridge", "prevResult": {
                "cniVersion": "1.1.0", "ips": [{"address": "10.1.0.2/24"}],
            }}),
            999,
            "interface needs to be set for ingress policy \"same-bridge\"",
        ),
        (
            json!({"backend": "firewalld"}),
            999,
            "firewalld does not run",
        ),
    ] {
        for backend in ["iptables", "nftables"] {
            let mut config = config(json!({"backend": backend}));
            config = testkit::merge(config, &extra);
            firewall()
                .add(&c1, &config)
                .expect_error(code)
                .mentions(said);
            before.assert_same(&host.snapshot());
        }
    }
}

#[test]
fn without_permission() {
    let host = Host::new();
    let c1 = host.container("c1");
    firewall()
        .add(&c1, &config(json!({"backend": "iptables"})))
        .expect_ok();
    firewall()
        .del(&c1, &config(json!({"backend": "iptables"})))
        .expect_ok();
    let before = host.snapshot();
    for backend in ["iptables", "nftables"] {
        let config = config(json!({"backend": backend})).to_string();
        let file = host.write("config", config).display().to_string();
        let binary = testkit::bin_dir().join("firewall").display().to_string();
        let script = format!(
            "exec env CNI_COMMAND=ADD CNI_CONTAINERID=c1 CNI_IFNAME=eth0 CNI_PATH=/nowhere \\
             CNI_NETNS={} setpriv --bounding-set=-net_admin --inh-caps=-net_admin {binary} < {file}",
            c1.netns().display()
        );
        let output = std::process::Command::new("sh")
            .args(["-c", &script])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!output.status.success(), "{text}");
        assert!(text.contains("CAP_NET_ADMIN is needed"), "{text}");
        before.assert_same(&host.snapshot().without("config"));
    }
}

#[test]
fn status() {
    let _host = Host::new();
    let status = |extra: Value| firewall().status(&config(extra));
    for backend in ["", "iptables", "nftables"] {
        let run = status(json!({"backend": backend, "prevResult": null})).expect_ok();
        assert_eq!((run.stdout_text(), run.stderr_text()), Default::default());
    }
    status(json!({"backend": "firewalld"}))
        .expect_error(50)
        .mentions("firewalld does not run");
    status(json!({"backend": "anything"}))
        .expect_error(7)
        .mentions("unrecognized backend");
    status(json!({"ingressPolicy": "x"}))
        .expect_error(999)
        .mentions("unknown ingress policy");
}
