//! ADD answers with what was asked for, by whom with more right.

use crate::common::{add, add_with, call, config, full, ips, plugin, refuses};
use serde_json::{Value, json};
use testkit::{Plugin, VERSIONS};

#[test]
fn every_version() {
    for version in VERSIONS {
        let mut config = full();
        config["cniVersion"] = version.into();
        let run = add(&config).expect_ok();
        let expected = match version {
            "0.1.0" | "0.2.0" => json!({
                "cniVersion": version,
                "ip4": {
                    "ip": "10.10.0.1/24", "gateway": "10.10.0.254", "routes": [
                        {"dst": "0.0.0.0/0"}, {"dst": "192.168.0.0/16", "gw": "10.10.5.1"},
                        {"dst": "10.9.0.0/16", "gw": "10.10.0.2"},
                        {"dst": "10.9.0.0/16", "gw": "10.10.0.3"},
                    ],
                },
                "ip6": {"ip": "3ffe:ffff:0:1ff::1/64", "gateway": "3ffe:ffff::1"},
                "dns": config["ipam"]["dns"],
            }),
            _ => {
                let mut ips = json!([
                    {"address": "10.10.0.1/24", "gateway": "10.10.0.254"},
                    {"address": "3ffe:ffff:0:1ff::1/64", "gateway": "3ffe:ffff::1"},
                ]);
                if version < "1.0.0" {
                    ips[0]["version"] = "4".into();
                    ips[1]["version"] = "6".into();
                }
                json!({
                    "cniVersion": version, "ips": ips, "routes": config["ipam"]["routes"],
                    "dns": config["ipam"]["dns"],
                })
            }
        };
        assert_eq!(run.json(), expected, "{version}");
        for verb in ["DEL", "DEL"] {
            let run = call(&plugin(), verb, &config).run().expect_ok();
            assert_eq!(run.stdout_text(), "");
        }
    }
    let version = plugin().version().expect_ok().json();
    assert_eq!(version["supportedVersions"], json!(VERSIONS));
}

#[test]
fn missing_keys_have_defaults() {
    assert_eq!(
        add(&config(json!({}))).expect_ok().json(),
        json!({"cniVersion": "1.0.0"})
    );
    for addresses in [json!(null), json!([])] {
        let config = config(json!({"addresses": addresses}));
        assert_eq!(ips(add(&config)), [""; 0]);
    }
    let mut old = config(json!({}));
    old["cniVersion"] = "0.2.0".into();
    refuses(add(&old), "cannot convert: no valid IP addresses");
    let none = json!({"cniVersion": "1.0.0", "name": "net", "type": "bridge"});
    refuses(add(&none), "IPAM config missing 'ipam' key");
}

#[test]
fn arguments_add_addresses() {
    let config = config(json!({"addresses": [{"address": "10.10.0.1/24"}]}));
    assert_eq!(
        ips(add_with(
            "IP= 10.10.0.2/24 ,fd00::2/64;IgnoreUnknown=1;K8S=x",
            &config
        )),
        ["10.10.0.1/24 -", "10.10.0.2/24 -", "fd00::2/64 -"]
    );
    assert_eq!(ips(add_with("IP=", &config)), ["10.10.0.1/24 -"]);
    for (args, text) in [
        (
            "IP=10.10.0.2",
            "the 'ip' field is expected to be in CIDR notation, got: '10.10.0.2'",
        ),
        (
            "IP=10.10.0.2/24,",
            "the 'ip' field is expected to be in CIDR notation, got: ''",
        ),
        ("GATEWAY=x", "invalid gateway address: x"),
        (
            "GATEWAY=10.10.0.1/24",
            "invalid gateway address: 10.10.0.1/24",
        ),
        ("IP=10.10.0.2/24;", "ARGS: invalid pair \"\""),
        ("IP=a=b", "ARGS: invalid pair \"IP=a=b\""),
        (
            "ip=10.10.0.2/24",
            "ARGS: unknown args [\"ip=10.10.0.2/24\"]",
        ),
    ] {
        refuses(add_with(args, &config), text);
    }
}

#[test]
fn arguments_name_gateways() {
    let config = config(json!({"addresses": [
        {"address": "10.10.0.1/24", "gateway": "10.10.0.9"}, {"address": "10.11.0.1/24"},
    ]}));
    let args = "IP=10.10.0.2/24,10.12.0.2/24;GATEWAY=10.10.0.253, 10.10.0.254,10.11.0.254";
    let run = add_with(args, &config);
    assert_eq!(run.stderr_text(), "");
    assert_eq!(
        ips(run),
        [
            // Written down in the configuration.
            "10.10.0.1/24 10.10.0.9",
            "10.11.0.1/24 10.11.0.254",
            // The last of two.
            "10.10.0.2/24 10.10.0.254",
            "10.12.0.2/24 -",
        ]
    );
    let run = add_with("GATEWAY=192.0.2.1", &config).expect_ok();
    assert!(
        run.stderr_text()
            .contains("gateway 192.0.2.1 of CNI_ARGS is not used")
    );
}

#[test]
fn sources_replace_each_other() {
    let mut config = full();
    config["args"] = json!({"cni": {"ips": ["10.20.0.1/24"]}});
    assert_eq!(
        ips(add_with("IP=10.30.0.1/24", &config)),
        ["10.20.0.1/24 -"]
    );
    config["RuntimeConfig"] = json!({"ips": ["10.40.0.1/24", "fd00::1/64"]});
    assert_eq!(
        ips(add_with("IP=10.30.0.1/24;GATEWAY=10.40.0.9", &config)),
        ["10.40.0.1/24 -", "fd00::1/64 -"]
    );
    // Addresses that are replaced are not validated.
    config["ipam"]["addresses"] = json!([{"address": "filled in by the runtime"}]);
    assert_eq!(ips(add(&config)).len(), 2);
    config["RuntimeConfig"] = json!({"ips": []});
    assert_eq!(ips(add(&config)), ["10.20.0.1/24 -"]);
    // Even one that is replaced itself must be well-formed.
    config["RuntimeConfig"] = json!({"ips": ["10.40.0.1/24"]});
    for bad in [json!("10.20.0.1"), json!(""), json!(null)] {
        config["args"]["cni"]["ips"] = json!([bad]);
        let text = bad.as_str().unwrap_or_default();
        refuses(
            add(&config),
            &format!("an entry in the 'ips' field is NOT in CIDR notation, got: '{text}'"),
        );
    }
}

/// Upstream's structure of an address has the fields `address`, `Address` and `Version`; Go programs that encode it
/// write all of them.
#[test]
fn configurations_that_go_programs_encode() {
    let encoded = [
        r#"{"address":"10.10.0.1/24","gateway":"10.10.0.254","Address":{"IP":"10.10.0.1","Mask":"////AA=="},"Version":""}"#,
        r#"{"Address":{"IP":"10.10.0.1","Mask":"////AA=="},"Version":"","gateway":"10.10.0.254","address":"10.10.0.1/24"}"#,
        r#"{"address":"10.10.0.1/24","gateway":"10.10.0.254","Address":{"IP":"","Mask":null},"Version":"4"}"#,
        r#"{"Address":null,"Version":"4","ADDRESS":"10.10.0.1/24","gateway":"10.10.0.254"}"#,
        r#"{"address":"10.9.9.9/24","Address":{"IP":"","Mask":null},"aDDress":"10.10.0.1/24","gateway":"10.10.0.254"}"#,
    ];
    for text in encoded {
        let address: Value = serde_json::from_str(text).unwrap();
        let ipam = json!({"Name": "", "type": "static", "addresses": [address], "routes": null, "dns": {}});
        let config = config(ipam);
        let added = add(&config);
        assert_eq!(ips(added.clone()), ["10.10.0.1/24 10.10.0.254"], "{text}");
        call(&plugin(), "CHECK", &added.with_prev())
            .run()
            .expect_ok();
        call(&plugin(), "DEL", &config).run().expect_ok();
    }
}

#[test]
fn malformed_addresses_are_refused() {
    for (address, text) in [
        (json!({"address": "10.10.0.1"}), "10.10.0.1"),
        (json!({"address": "10.10.0.01/24"}), "10.10.0.01/24"),
        (json!({"gateway": "10.10.0.1"}), ""),
        (json!(null), ""),
    ] {
        refuses(
            add(&config(json!({"addresses": [address]}))),
            &format!("the 'address' field is expected to be in CIDR notation, got: '{text}'"),
        );
    }
    for (ipam, words) in [
        (
            json!({"addresses": [{"address": 7}]}),
            "ipam.addresses[0].address",
        ),
        (
            json!({"addresses": [{"address": "10.0.0.1/8", "gateway": "x"}]}),
            "invalid IP address",
        ),
        (json!({"routes": [{"gw": "10.0.0.1"}]}), "dst"),
        (json!({"dns": []}), "ipam.dns"),
    ] {
        add(&config(ipam)).expect_error(999).mentions(words);
    }
}

#[test]
fn mapped_addresses_are_ipv4() {
    let config = config(json!({"addresses": [
        {"address": "::ffff:10.0.0.7/120", "gateway": "::ffff:10.0.0.1"},
    ]}));
    assert_eq!(ips(add(&config)), ["10.0.0.7/24 10.0.0.1"]);
}

#[test]
fn old_versions_have_one_address_of_each_family() {
    for (version, fits) in [("0.1.0", false), ("0.2.0", false), ("0.3.0", true)] {
        let addresses = json!([{"address": "10.0.0.1/8"}, {"address": "10.0.0.2/8"}]);
        let mut config = config(json!({"addresses": addresses}));
        config["cniVersion"] = version.into();
        match fits {
            true => drop(add(&config).expect_ok()),
            false => drop(refuses(
                add(&config),
                &format!("CNI version {version} does not support more than 1 address per family"),
            )),
        }
    }
}

#[test]
fn del_gc_and_status() {
    let mut broken = config(json!({"addresses": 7}));
    broken["ipam"]["routes"] = "x".into();
    call(&plugin(), "DEL", &broken)
        .args("nonsense")
        .run()
        .expect_ok();
    call(&plugin(), "DEL", &full())
        .without_env("CNI_NETNS")
        .run()
        .expect_ok();
    broken["cniVersion"] = "1.1.0".into();
    plugin()
        .status(&broken)
        .expect_error(999)
        .mentions("ipam.addresses");
    let mut sound = full();
    sound["cniVersion"] = "1.1.0".into();
    plugin().status(&sound).expect_ok();
    sound["cni.dev/valid-attachments"] = json!([]);
    plugin().gc(&sound).expect_ok();
    plugin().gc(&full()).expect_error(1);
}

#[test]
fn the_peer_answers_the_same() {
    let peer = Plugin::peer("static");
    let both = |args: &str, config: &Value| {
        let answer = |plugin: &Plugin| {
            let call = call(plugin, "ADD", config);
            let run = match args.is_empty() {
                true => call.run(),
                false => call.args(args).run(),
            };
            run.expect_ok()
        };
        let (ours, theirs) = (answer(&plugin()), answer(&peer));
        assert_eq!(ours.json(), theirs.json());
        // Upstream sorts the keys since 1.2.
        if config["cniVersion"] != "1.0.0" {
            assert_eq!(ours.stdout_text(), theirs.stdout_text());
        }
    };
    // Upstream of that age knows neither of these.
    let mut config = full();
    let route = config["ipam"]["routes"][1].as_object_mut().unwrap();
    for key in ["mtu", "priority", "table"] {
        route.remove(key);
    }
    for version in &VERSIONS[..6] {
        config["cniVersion"] = (*version).into();
        both("", &config);
    }
    both("IP=10.12.0.1/24;GATEWAY=10.12.0.254", &config);
    config["args"] = json!({"cni": {"ips": ["10.20.0.1/24"]}});
    both("", &config);
    config["runtimeConfig"] = json!({"ips": ["10.40.0.1/24"]});
    both("IP=10.12.0.1/24", &config);
}
