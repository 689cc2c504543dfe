//! Invalid configurations are refused before anything changes.

use crate::common::{bridged, config, filter_tables, firewall, mentions};
use serde_json::{Value, json};
use testkit::{Host, Node};

#[test]
fn invalid_input_changes_nothing() {
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
            "the name is reserved",
        ),
        (
            json!({"iptablesAdminChainName": "x".repeat(29)}),
            7,
            "longer than 28 characters",
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
fn a_missing_capability_is_named() {
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
fn status_tells_whether_the_backend_works() {
    let _host = Host::new();
    let status = |extra: Value| firewall().status(&config(extra));
    for backend in ["", "iptables", "nftables"] {
        let run = status(json!({"backend": backend, "prevResult": null})).expect_ok();
        assert_eq!((run.stdout_text(), run.stderr_text()), Default::default());
    }
    status(json!({"backend": "firewalld"}))
        .expect_error(50)
        .mentions("firewalld does not run");
    status(json!({"ingressPolicy": "x"}))
        .expect_error(999)
        .mentions("unknown ingress policy");
}

/// As with upstream: a network that works must continue to work.
#[test]
fn an_unknown_backend_is_chosen_automatically_with_a_warning() {
    for backend in ["iptable", "NFTables"] {
        let host = Host::new();
        let c1 = host.container("c1");
        let unknown = config(json!({"backend": backend}));
        let warning = format!(
            "firewall: unrecognized backend \"{backend}\", choosing one automatically; \
             set it to \"iptables\", \"firewalld\" or \"nftables\", or remove it\n"
        );
        let run = firewall().add(&c1, &unknown).expect_ok();
        assert_eq!(run.stderr_text(), warning);
        let automatic = Host::new();
        let other = automatic.container("c1");
        firewall().add(&other, &config(json!({}))).expect_ok();
        assert_eq!(filter_tables(&host), filter_tables(&automatic));
        let run = firewall().status(&unknown).expect_ok();
        assert_eq!(run.stderr_text(), warning);
        firewall().check(&c1, &unknown).expect_ok();
        let run = firewall().del(&c1, &unknown).expect_ok();
        assert_eq!(run.stderr_text(), "");
        assert!(!mentions(&host, "10.1.0.2"));
    }
}

/// Programs compare upstream's messages; additions are in the details.
#[test]
fn messages_are_those_of_upstream() {
    let host = Host::new();
    let c1 = host.container("c1");
    let error = |extra: Value, verb: &str| {
        let call = firewall().command(verb).container(&c1);
        let error = call.config(&config(extra)).run().expect_error(999);
        (error.msg, error.details)
    };
    for verb in ["ADD", "CHECK"] {
        let (msg, details) = error(json!({"ingressPolicy": "closed"}), verb);
        assert_eq!(msg, "unknown ingress policy: \"closed\"");
        assert!(details.contains("\"same-bridge\""), "{details}");
    }
    firewall()
        .add(&c1, &config(json!({"backend": "iptables"})))
        .expect_ok();
    let words = ["iptables", "-F", "CNI-FORWARD"];
    host.command(&words);
    let (msg, details) = error(json!({"backend": "iptables"}), "CHECK");
    let rule = "-m comment --comment CNI firewall plugin admin overrides -j CNI-ADMIN";
    assert_eq!(msg, format!("expected CNI-FORWARD rule [{rule}] not found"));
    assert!(
        details.contains("chain CNI-FORWARD of table filter"),
        "{details}"
    );
}
