//! The result in every version of the specification, byte for byte as upstream's.

use crate::common::{attached, config, prev, vrf};
use serde_json::json;
use testkit::{Node, Plugin, VERSIONS};

#[test]
fn the_result_is_passed_on() {
    for version in &VERSIONS[3..] {
        let mut config = config(json!({}));
        config["cniVersion"] = (*version).into();
        config["prevResult"] = prev(version);
        if *version < "1.0.0" {
            for (number, family) in ["4", "6"].iter().enumerate() {
                config["prevResult"]["ips"][number]["version"] = (*family).into();
            }
        }
        let (_host, container) = attached();
        let ours = vrf().add(&container, &config).expect_ok();
        let check = vrf().check(&container, &ours.with_prev());
        match *version >= "0.4.0" {
            true => assert_eq!(check.expect_ok().stdout_text(), ""),
            false => drop(
                check
                    .expect_error(1)
                    .mentions("config version does not allow CHECK"),
            ),
        }
        if *version == "1.1.0" {
            // The peer, an older release, does not support it.
            continue;
        }
        let (_host, container) = attached();
        let theirs = Plugin::peer("vrf").add(&container, &config).expect_ok();
        if *version == "1.0.0" {
            // The newest release sorts the members, and has no empty ones.
            let mut theirs = theirs.json();
            theirs.as_object_mut().unwrap().remove("dns");
            assert_eq!(ours.json(), theirs);
        } else {
            assert_eq!(ours.stdout_text(), theirs.stdout_text(), "{version}");
        }
        container.ip("link del blue");
    }
}

#[test]
fn supported_versions() {
    let _host = testkit::Host::new();
    let speaks = vrf().version().expect_ok().json();
    assert_eq!(
        speaks,
        json!({"cniVersion": "1.1.0", "supportedVersions": VERSIONS[3..]})
    );
}
