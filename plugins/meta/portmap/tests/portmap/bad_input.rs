//! Invalid configurations are refused before anything changes.

use serde_json::{Value, json};
use testkit::{Host, merge};

use crate::common::{config, portmap, ruleset, web};

fn mapping(extra: Value) -> Value {
    let good = json!({"hostPort": 8080, "containerPort": 80, "protocol": "tcp"});
    json!({"runtimeConfig": {"portMappings": [good, merge(good.clone(), &extra)]}})
}

fn cases() -> Vec<(Value, &'static str)> {
    vec![
        (
            mapping(json!({"hostPort": 0})),
            "Invalid host port number: 0",
        ),
        (
            mapping(json!({"hostPort": -7})),
            "Invalid host port number: -7",
        ),
        (
            mapping(json!({"hostPort": 65536})),
            "runtimeConfig.portMappings[1].hostPort must be 1 to 65535",
        ),
        (
            mapping(json!({"containerPort": 0})),
            "Invalid container port number: 0",
        ),
        (
            mapping(json!({"containerPort": 70000})),
            "runtimeConfig.portMappings[1].containerPort must be",
        ),
        (
            mapping(json!({"hostPort": "80"})),
            "runtimeConfig.portMappings[1].hostPort: expected",
        ),
        (
            mapping(json!({"protocol": "icmp"})),
            "runtimeConfig.portMappings[1].protocol must be",
        ),
        (mapping(json!({"protocol": null})), "Invalid protocol: \"\""),
        (
            mapping(json!({"hostIP": "192.0.2"})),
            "runtimeConfig.portMappings[1].hostIP must be an IP address",
        ),
        (
            mapping(json!({"hostIP": "fe80::1%eth0"})),
            "Invalid host IP",
        ),
        (
            mapping(json!({"hostIP": "192.0.2.1/24"})),
            "Invalid host IP",
        ),
        (
            json!({"backend": "ipchains"}),
            "unrecognized backend \"ipchains\"",
        ),
        (json!({"backend": ""}), "unrecognized backend \"\""),
        (json!({"rules": "maps"}), "unrecognized rules \"maps\""),
        (
            json!({"rules": "map", "backend": "iptables"}),
            "\"rules\": \"map\" needs nftables",
        ),
        (
            json!({"rules": "map", "conditionsV6": ["iifname", "x"]}),
            "conditionsV6 cannot be combined with",
        ),
        (
            json!({"markMasqBit": 32}),
            "MasqMarkBit must be between 0 and 31",
        ),
        (
            json!({"markMasqBit": -1}),
            "MasqMarkBit must be between 0 and 31",
        ),
        (
            json!({"markMasqBit": 3, "externalSetMarkChain": "X"}),
            "Cannot specify externalSetMarkChain and markMasqBit",
        ),
        (
            json!({"backend": "nftables", "externalSetMarkChain": "X", "conditionsV6": ["-s", "::1"]}),
            "nftables backend was requested but configuration contains iptables-specific options \
             [externalSetMarkChain conditionsV6]",
        ),
        (
            json!({"backend": "iptables", "conditionsV4": ["ip", "saddr", "10.0.0.0/8"]}),
            "iptables backend was requested but configuration contains nftables-specific options [conditionsV4]",
        ),
        (
            json!({"conditionsV4": ["-s", "10.0.0.0/8"], "conditionsV6": ["ip6", "saddr", "::1"]}),
            "iptables backend was requested but configuration contains nftables-specific options [conditionsV6]",
        ),
        (
            json!({"conditionsV4": "x"}),
            "failed to parse network configuration: conditionsV4: expected",
        ),
        (
            json!({"externalSetMarkChain": "has blank"}),
            "externalSetMarkChain \"has blank\" is not a valid chain name",
        ),
        (
            json!({"backend": "iptables", "conditionsV4": ["-s", "a\nb"]}),
            "line break in argument",
        ),
        (
            json!({"prevResult": null}),
            "must be called as chained plugin",
        ),
        (
            json!({"prevResult": {"cniVersion": "1.0.0", "ips": 3}}),
            "could not parse prevResult: could not parse prevResult: ",
        ),
    ]
}

#[test]
fn invalid_input_changes_nothing() {
    let host = Host::new();
    let container = host.container("c1");
    let before = host.snapshot();
    for (extra, words) in cases() {
        let config = merge(config(&container, &web(), &json!({})), &extra);
        let run = portmap().add(&container, &config);
        run.expect_error(999).mentions(words);
        let diff = before.diff(
            &host
                .snapshot()
                .without("transaction.lock")
                .without("/run/cni"),
        );
        assert!(diff.is_empty(), "{extra}\n{diff}");
    }
}

/// Programs compare upstream's messages; additions are in the details.
#[test]
fn messages_are_those_of_upstream() {
    let host = Host::new();
    let container = host.container("c1");
    for (verb, prefix) in [("ADD", "failed to parse config: "), ("CHECK", "")] {
        for (extra, msg, details) in [
            (
                mapping(json!({"hostPort": 0})),
                "Invalid host port number: 0",
                "runtimeConfig.portMappings[1].hostPort must be 1 to 65535",
            ),
            (
                mapping(json!({"containerPort": -1})),
                "Invalid container port number: -1",
                "runtimeConfig.portMappings[1].containerPort must be 1 to 65535",
            ),
            (
                json!({"markMasqBit": 32}),
                "MasqMarkBit must be between 0 and 31",
                "",
            ),
            (
                json!({"prevResult": {"cniVersion": "1.0.0", "ips": 3}}),
                "could not parse prevResult: could not parse prevResult: \
                 ips: expected an array, got number",
                "",
            ),
        ] {
            let config = merge(config(&container, &web(), &json!({})), &extra);
            let call = portmap().command(verb).container(&container);
            let error = call.config(&config).run().expect_error(999);
            assert_eq!(error.msg, format!("{prefix}{msg}"));
            assert_eq!(error.details, details);
        }
    }
    let config = config(&container, &web(), &json!({"backend": "nftables"}));
    let error = portmap().check(&container, &config).expect_error(999);
    assert_eq!(error.msg, "missing hostport rules in \"hostports\" chain");
    assert_eq!(
        error.details,
        "no rule for tcp port 8080 that leads to 10.1.0.2:80 in table ip cni_hostport"
    );
}

#[test]
fn conditions_that_iptables_refuses_are_undone() {
    let host = Host::new();
    let container = host.container("c1");
    let keys = json!({"backend": "iptables", "conditionsV6": ["--no-such-option"]});
    let config = config(&container, &web(), &keys);
    // Those of IPv4 are valid, and their rules are undone.
    portmap()
        .add(&container, &config)
        .expect_error(999)
        .mentions("no-such-option");
    let rules = ruleset(&host);
    assert!(
        !rules.contains("CNI-DN-") && !rules.contains("10.1.0.2"),
        "{rules}"
    );
}

#[test]
fn a_missing_backend_is_an_error_or_replaced() {
    let host = Host::new();
    let container = host.container("c1");
    let before = host.snapshot();
    let call = |keys: Value| {
        let config = config(&container, &web(), &keys);
        let call = portmap().command("ADD").container(&container);
        call.env("PATH", "/nowhere").config(&config).run()
    };
    call(json!({"backend": "iptables"}))
        .expect_error(999)
        .mentions(
            "failed to open iptables: exec: \"iptables\": executable file not found in $PATH",
        );
    before.assert_same(&host.snapshot().without("/run/cni"));
    // Without "backend", nftables is used, which needs no commands.
    call(json!({})).expect_ok();
    let rules = ruleset(&host);
    assert!(rules.contains("table ip cni_hostport"), "{rules}");
    call(json!({"rules": "map"})).expect_ok();
}

#[test]
fn a_map_refuses_a_host_port_of_another_container() {
    let host = Host::new();
    let first = host.container("c1");
    let second = host.container("c2");
    let config = |container| config(container, &web(), &json!({"rules": "map"}));
    portmap().add(&first, &config(&first)).expect_ok();
    let before = host.snapshot();
    portmap()
        .add(&second, &config(&second))
        .expect_error(999)
        .mentions("tcp port 8080 of the host is already mapped to container \"c1\"");
    before.assert_same(&host.snapshot());
    portmap().del(&first, &config(&first)).expect_ok();
    portmap().add(&second, &config(&second)).expect_ok();
}
