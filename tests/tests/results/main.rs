//! Results, byte for byte, in every version of the specification. The peer's results are compared with the same texts.

use blackbox::networks::{self, VERSIONS};
use blackbox::{answer, state};
use serde_json::{Value, json};
use testkit::{Host, Node, Plugin, Run};

mod texts;
use texts::{DUAL_STACK, EVERYTHING, LOOPBACK, README};

/// The form of results of a version, as an index into the texts.
fn form(version: &str) -> usize {
    match networks::ordinal(version) {
        [0, ..3, _] => 0,
        [0, ..] => 1,
        _ => 2,
    }
}

#[track_caller]
fn assert_prints(run: &Run, texts: &[&str; 3], version: &str) {
    let mut expected = texts[form(version)].replace("<version>", version);
    if version == "1.1.0" {
        // Version 1.1.0 adds the MTU of the interfaces that the plugin created.
        expected = expected.replace("mac>\",", "mac>\",\n            \"mtu\": 1500,");
    }
    assert_eq!(answer::normalised(run), expected, "{}", run.report());
}

/// Compares the results of ADD in every version, of our plugin and, where it prints the same, of the peer's. Each ADD
/// has a host of its own.
fn both(plugin: &str, config: impl Fn(&str) -> Value, texts: &[&str; 3]) {
    for version in VERSIONS {
        for (ours, program) in [(true, Plugin::new(plugin)), (false, Plugin::peer(plugin))] {
            // For 1.0.0 and later, the library sorts keys and omits an empty dns since its version 1.1.2; the peer
            // uses an older one. interop.rs compares the values.
            if !ours && form(version) == 2 {
                continue;
            }
            let host = Host::new();
            let container = host.container("c1");
            assert_prints(&program.add(&container, &config(version)), texts, version);
        }
    }
}

#[test]
fn the_network_of_the_readme() {
    both("bridge", networks::readme, &README);
}

#[test]
fn a_dual_stack_network() {
    both("bridge", networks::dual_stack, &DUAL_STACK);
}

/// Only of ours: below 1.0.0 upstream prints the newest form with the old version number, so that a reader of 0.2.0
/// finds no address.
#[test]
fn loopback() {
    for version in VERSIONS {
        let host = Host::new();
        let container = host.container("c1");
        let run = Plugin::new("loopback").add(&container, &networks::loopback(version));
        assert_prints(&run, &LOOPBACK, version);
    }
}

#[test]
fn loopback_passes_a_previous_result_on() {
    for version in &VERSIONS[2..] {
        let host = Host::new();
        let container = host.container("c1");
        let first = Plugin::new("bridge")
            .add(&container, &networks::readme(version))
            .expect_ok();
        let mut config = networks::loopback(version);
        config["prevResult"] = first.json();
        let run = Plugin::new("loopback").add(&container, &config);
        assert_eq!(run.stdout_text(), first.stdout_text());
    }
}

/// Only of ours: the peer is older than route members other than `dst` and `gw`.
#[test]
fn routes_and_dns_with_every_member() {
    for version in VERSIONS {
        let host = Host::new();
        let container = host.container("c1");
        let resolv_conf = host.write(
            "resolv.conf",
            b"# a comment\nnameserver 192.0.2.53\nnameserver 2001:db8::53\ndomain example.com\n\
              search a.example.com b.example.com\n; another\nsearch c.example.com\noptions ndots:2 edns0\n",
        );
        let config = json!({
            "cniVersion": version,
            "name": "net",
            "type": "none",
            "ipam": {
                "type": "host-local",
                "ranges": [[{
                    "subnet": "10.24.0.0/24",
                    "rangeStart": "10.24.0.9",
                    "gateway": "10.24.0.254"
                }]],
                "routes": [
                    {
                        "dst": "192.0.2.7/24", "gw": "10.24.0.253", "mtu": 1400, "advmss": 1360,
                        "priority": 7, "table": 0, "scope": 0
                    },
                    {"dst": "198.51.100.0/24"}
                ],
                "resolvConf": resolv_conf
            }
        });
        assert_prints(
            &Plugin::new("host-local").add(&container, &config),
            &EVERYTHING,
            version,
        );
    }
}

/// A result of 0.2.0 and older requires an address, so ADD without IPAM fails before it changes anything.
#[test]
fn add_without_ipam_requires_version_0_3_0() {
    for version in VERSIONS {
        let host = Host::new();
        let container = host.container("c1");
        let before = state::of(&host);
        let mut config = networks::bridged(version, &[]);
        config.as_object_mut().expect("an object").remove("ipam");
        let run = Plugin::new("bridge").add(&container, &config);
        if form(version) == 0 {
            let error = answer::refusal(run, 999);
            assert_eq!(error.msg, "cannot convert: no valid IP addresses");
            before.assert_same(&state::of(&host));
        } else {
            let result = answer::result(&run);
            assert_eq!(result["interfaces"][2]["name"], "eth0");
            assert!(result["ips"].is_null());
        }
    }
}

#[test]
fn options_that_are_false_have_no_effect() {
    let host = Host::new();
    let container = host.container("c1");
    let config = networks::with(
        networks::readme("1.1.0"),
        &json!({"ipMasq": false, "macspoofchk": false, "vlan": 0, "portIsolation": false}),
    );
    answer::result(&Plugin::new("bridge").add(&container, &config));
    container.ping("10.22.0.1");
}
