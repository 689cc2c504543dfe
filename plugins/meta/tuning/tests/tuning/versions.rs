//! The result in every version of the specification, byte for byte as upstream prints it.

use crate::common::{attached, config, tuning};
use serde_json::{Value, json};
use testkit::{Plugin, VERSIONS};

/// Whether two results are the same document.
const WITH: [&str; 6] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0"];

fn previous(version: &str) -> Value {
    match version {
        "0.1.0" | "0.2.0" => json!({
            "cniVersion": version,
            "ip4": {"ip": "10.1.0.5/24", "gateway": "10.1.0.1", "routes": [{"dst": "0.0.0.0/0"}]},
            "ip6": {"ip": "fd00:1::5/64"},
            "dns": {"nameservers": ["10.1.0.53"]},
        }),
        _ => {
            let mut prev = crate::common::prev(version);
            if version < "1.0.0" {
                prev["ips"][0]["version"] = "4".into();
                prev["ips"][1]["version"] = "6".into();
            }
            prev
        }
    }
}

#[test]
fn the_result_is_passed_on() {
    for version in WITH {
        for extra in [json!({}), json!({"mac": "02:00:00:00:00:0a", "mtu": 1400})] {
            let (_host, container) = attached();
            let mut config = config(extra);
            config["cniVersion"] = version.into();
            config["prevResult"] = previous(version);
            let ours = tuning().add(&container, &config).expect_ok();
            assert_eq!(ours.stderr_text(), "");
            tuning().del(&container, &ours.with_prev()).expect_ok();
            let theirs = Plugin::peer("tuning").add(&container, &config).expect_ok();
            if version == "1.0.0" {
                // Newer releases sort the members.
                assert_eq!(ours.json(), theirs.json());
            } else {
                assert_eq!(ours.stdout_text(), theirs.stdout_text(), "{version}");
            }
        }
    }
}

#[test]
fn check_since_0_4_0() {
    for version in VERSIONS {
        let (_host, container) = attached();
        let mut config = config(json!({"mtu": 1400}));
        config["cniVersion"] = version.into();
        config["prevResult"] = previous(version);
        let run = tuning().add(&container, &config).expect_ok();
        let check = tuning().check(&container, &run.with_prev());
        match version >= "0.4.0" {
            true => assert_eq!(check.expect_ok().stdout_text(), ""),
            false => drop(
                check
                    .expect_error(1)
                    .mentions("config version does not allow CHECK"),
            ),
        }
    }
    let _host = testkit::Host::new();
    let speaks = tuning().version().expect_ok().json();
    assert_eq!(
        speaks,
        json!({"cniVersion": "1.1.0", "supportedVersions": VERSIONS})
    );
}
