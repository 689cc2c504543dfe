//! Results, byte for byte, in every version of the specification.
//!
//! The texts below are held against the peer's binaries too: what upstream prints, we print.

use blackbox::networks::{self, VERSIONS};
use blackbox::{answer, state};
use serde_json::{Value, json};
use testkit::{Host, Node, Plugin, Run};

mod texts;
use texts::{DUAL_STACK, EVERYTHING, LOOPBACK, README};

/// Which shape a version has: an index into the texts below.
fn family(version: &str) -> usize {
    match networks::ordinal(version) {
        [0, ..3, _] => 0,
        [0, ..] => 1,
        _ => 2,
    }
}

#[track_caller]
fn assert_prints(run: &Run, texts: &[&str; 3], version: &str) {
    let mut expected = texts[family(version)].replace("<version>", version);
    if version == "1.1.0" {
        // The first version with a place for the MTU of the interfaces that the plugin made.
        expected = expected.replace("mac>\",", "mac>\",\n            \"mtu\": 1500,");
    }
    assert_eq!(answer::normalised(run), expected, "{}", run.report());
}

/// ADDs in every version, ours and, where it prints alike, the peer's, each on a host of its own.
fn both(plugin: &str, config: impl Fn(&str) -> Value, texts: &[&str; 3]) {
    for version in VERSIONS {
        for (ours, program) in [(true, Plugin::new(plugin)), (false, Plugin::peer(plugin))] {
            // From 1.0.0 on the library sorts keys and leaves an empty dns out since its version 1.1.2; the
            // peer is older. interop.rs compares the values.
            if !ours && family(version) == 2 {
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

/// Only ours: below 1.0.0 upstream prints the newest shape under the old version's number, in which readers of
/// 0.2.0 find no address at all.
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

/// Route members beyond `dst` and `gw` came after the peer, so only ours.
#[test]
fn routes_and_name_service_in_full() {
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

/// Without addresses there is no result of 0.2.0 and older: told before anything is done.
#[test]
fn layer_2_needs_a_version_that_can_say_so() {
    for version in VERSIONS {
        let host = Host::new();
        let container = host.container("c1");
        let before = state::of(&host);
        let mut config = networks::bridged(version, &[]);
        config.as_object_mut().expect("an object").remove("ipam");
        let run = Plugin::new("bridge").add(&container, &config);
        if family(version) == 0 {
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
fn asked_not_to_is_not_asked() {
    let host = Host::new();
    let container = host.container("c1");
    let config = networks::with(
        networks::readme("1.1.0"),
        &json!({"ipMasq": false, "macspoofchk": false, "vlan": 0, "portIsolation": false}),
    );
    answer::result(&Plugin::new("bridge").add(&container, &config));
    container.ping("10.22.0.1");
}
