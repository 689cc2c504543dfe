//! The result in every version of the specification, byte for byte as upstream prints it.

use crate::common::{attached, call, config, prev, sbr};
use serde_json::{Value, json};
use testkit::{Plugin, VERSIONS};

fn previous(version: &str) -> Value {
    let mut prev = prev(version);
    if version < "0.3.0" {
        return json!({
            "cniVersion": version,
            "ip4": {"ip": "10.2.0.5/24", "gateway": "10.2.0.1", "routes": [{"dst": "0.0.0.0/0"}]},
            "dns": {"nameservers": ["10.1.0.53"]},
        });
    }
    if version < "1.0.0" {
        for (number, family) in ["4", "6", "4"].iter().enumerate() {
            prev["ips"][number]["version"] = (*family).into();
        }
    }
    prev
}

#[test]
fn the_result_is_passed_on() {
    for version in VERSIONS {
        let mut config = config(json!({}));
        config["cniVersion"] = version.into();
        config["prevResult"] = previous(version);
        let (_host, container) = attached();
        let ours = call(&sbr(), "ADD", &container, &config).expect_ok();
        let check = call(&sbr(), "CHECK", &container, &ours.with_prev());
        match version >= "0.4.0" {
            true => assert_eq!(check.expect_ok().stdout_text(), ""),
            false => drop(
                check
                    .expect_error(1)
                    .mentions("config version does not allow CHECK"),
            ),
        }
        if version == "1.1.0" {
            // The installed release does not support it.
            continue;
        }
        let (_host, container) = attached();
        let theirs = call(&Plugin::peer("sbr"), "ADD", &container, &config).expect_ok();
        if version == "1.0.0" {
            // Newer releases sort the members and omit empty ones.
            let mut theirs = theirs.json();
            theirs.as_object_mut().unwrap().remove("dns");
            assert_eq!(ours.json(), theirs);
        } else {
            assert_eq!(ours.stdout_text(), theirs.stdout_text(), "{version}");
        }
    }
    let _host = testkit::Host::new();
    let speaks = sbr().version().expect_ok().json();
    assert_eq!(
        speaks,
        json!({"cniVersion": "1.1.0", "supportedVersions": VERSIONS})
    );
}
