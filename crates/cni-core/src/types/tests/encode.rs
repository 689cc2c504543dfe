//! Tests of encoded documents, byte for byte.

use super::full;
use crate::types::{AddResult, Interface, IpConfig, Route};
use crate::{Code, Version};

const FULL_110: &str = r#"{
    "cniVersion": "1.1.0",
    "dns": {
        "domain": "example.org",
        "nameservers": [
            "10.1.0.1"
        ],
        "options": [
            "ndots:5"
        ],
        "search": [
            "a",
            "b"
        ]
    },
    "interfaces": [
        {
            "mac": "02:00:00:00:00:01",
            "name": "br0"
        },
        {
            "mac": "02:00:00:00:00:02",
            "mtu": 1500,
            "name": "eth0",
            "pciID": "0000:00:1f.6",
            "sandbox": "/run/netns/a",
            "socketPath": "/run/vhost"
        }
    ],
    "ips": [
        {
            "address": "10.1.0.5/16",
            "gateway": "10.1.0.1",
            "interface": 1
        },
        {
            "address": "10.2.0.5/16",
            "interface": 0
        },
        {
            "address": "2001:db8::5/64",
            "gateway": "2001:db8::1",
            "interface": -1
        }
    ],
    "routes": [
        {
            "advmss": 1360,
            "dst": "10.9.8.7/8",
            "gw": "10.1.0.1",
            "mtu": 1400,
            "priority": 100,
            "scope": 0,
            "table": 0
        },
        {
            "dst": "::/0"
        }
    ]
}"#;

const FULL_040: &str = r#"{
    "cniVersion": "0.4.0",
    "interfaces": [
        {
            "name": "br0",
            "mac": "02:00:00:00:00:01"
        },
        {
            "name": "eth0",
            "mac": "02:00:00:00:00:02",
            "sandbox": "/run/netns/a"
        }
    ],
    "ips": [
        {
            "version": "4",
            "interface": 1,
            "address": "10.1.0.5/16",
            "gateway": "10.1.0.1"
        },
        {
            "version": "4",
            "interface": 0,
            "address": "10.2.0.5/16"
        },
        {
            "version": "6",
            "interface": -1,
            "address": "2001:db8::5/64",
            "gateway": "2001:db8::1"
        }
    ],
    "routes": [
        {
            "dst": "10.9.8.7/8",
            "gw": "10.1.0.1",
            "mtu": 1400,
            "advmss": 1360,
            "priority": 100,
            "table": 0,
            "scope": 0
        },
        {
            "dst": "::/0"
        }
    ],
    "dns": {
        "nameservers": [
            "10.1.0.1"
        ],
        "domain": "example.org",
        "search": [
            "a",
            "b"
        ],
        "options": [
            "ndots:5"
        ]
    }
}"#;

const FULL_020: &str = r#"{
    "cniVersion": "0.2.0",
    "ip4": {
        "ip": "10.1.0.5/16",
        "gateway": "10.1.0.1",
        "routes": [
            {
                "dst": "10.9.8.7/8",
                "gw": "10.1.0.1"
            }
        ]
    },
    "ip6": {
        "ip": "2001:db8::5/64",
        "gateway": "2001:db8::1",
        "routes": [
            {
                "dst": "::/0"
            }
        ]
    },
    "dns": {
        "nameservers": [
            "10.1.0.1"
        ],
        "domain": "example.org",
        "search": [
            "a",
            "b"
        ],
        "options": [
            "ndots:5"
        ]
    }
}"#;

#[test]
fn a_full_result_in_every_version() {
    for (version, family, own) in [
        (Version::V0_1_0, FULL_020, "0.2.0"),
        (Version::V0_2_0, FULL_020, "0.2.0"),
        (Version::V0_3_0, FULL_040, "0.4.0"),
        (Version::V0_3_1, FULL_040, "0.4.0"),
        (Version::V0_4_0, FULL_040, "0.4.0"),
        (Version::V1_0_0, FULL_110, "1.1.0"),
        (Version::V1_1_0, FULL_110, "1.1.0"),
    ] {
        let expected = family.replacen(own, version.as_str(), 1);
        assert_eq!(full().to_json(version).unwrap(), expected, "{version}");
    }
}

fn compact(result: &AddResult, version: Version) -> String {
    crate::json::to_string(&result.to_value(version).unwrap())
}

#[test]
fn an_empty_result() {
    let empty = AddResult::default();
    assert_eq!(
        compact(&empty, Version::V1_1_0),
        r#"{"cniVersion":"1.1.0"}"#
    );
    assert_eq!(
        compact(&empty, Version::V1_0_0),
        r#"{"cniVersion":"1.0.0"}"#
    );
    assert_eq!(
        compact(&empty, Version::V0_3_1),
        r#"{"cniVersion":"0.3.1","dns":{}}"#
    );
    assert_eq!(
        empty.to_json(Version::V0_4_0).unwrap(),
        "{\n    \"cniVersion\": \"0.4.0\",\n    \"dns\": {}\n}"
    );
}

#[test]
fn the_oldest_versions_need_an_address() {
    let result = AddResult {
        interfaces: vec![Interface::default()],
        routes: vec![Route::to("10.0.0.0/8".parse().unwrap())],
        ..AddResult::default()
    };
    for version in [Version::V0_1_0, Version::V0_2_0] {
        let error = result.to_json(version).unwrap_err();
        assert_eq!(error.code, Code::INTERNAL);
        assert_eq!(error.to_string(), "cannot convert: no valid IP addresses");
    }
}

#[test]
fn the_oldest_versions_drop_routes_of_a_family_without_address() {
    let result = AddResult {
        ips: vec![IpConfig::new("2001:db8::5/64".parse().unwrap())],
        routes: vec![
            Route::to("10.0.0.0/8".parse().unwrap()),
            Route::to("2001:db8:1::/48".parse().unwrap()),
        ],
        ..AddResult::default()
    };
    assert_eq!(
        compact(&result, Version::V0_1_0),
        r#"{"cniVersion":"0.1.0","ip6":{"ip":"2001:db8::5/64","routes":[{"dst":"2001:db8:1::/48"}]},"dns":{}}"#
    );
}

#[test]
fn an_interface_always_has_a_name() {
    let result = AddResult {
        interfaces: vec![Interface::default()],
        ..AddResult::default()
    };
    assert_eq!(
        compact(&result, Version::V1_1_0),
        r#"{"cniVersion":"1.1.0","interfaces":[{"name":""}]}"#
    );
    assert_eq!(
        compact(&result, Version::V0_4_0),
        r#"{"cniVersion":"0.4.0","interfaces":[{"name":""}],"dns":{}}"#
    );
}

#[test]
fn negative_numbers_are_numbers() {
    let route = Route {
        mtu: -1,
        priority: -2,
        ..Route::to("0.0.0.0/0".parse().unwrap())
    };
    let result = AddResult {
        routes: vec![route],
        ..AddResult::default()
    };
    assert_eq!(
        compact(&result, Version::V1_1_0),
        r#"{"cniVersion":"1.1.0","routes":[{"dst":"0.0.0.0/0","mtu":-1,"priority":-2}]}"#
    );
}

#[test]
fn mapped_addresses_are_ipv4() {
    let ip = IpConfig {
        gateway: Some("::ffff:1.2.3.1".parse().unwrap()),
        ..IpConfig::new("::ffff:1.2.3.4/120".parse().unwrap())
    };
    let result = AddResult {
        ips: vec![ip],
        ..AddResult::default()
    };
    assert_eq!(
        compact(&result, Version::V0_4_0),
        r#"{"cniVersion":"0.4.0","ips":[{"version":"4","address":"1.2.3.4/24","gateway":"1.2.3.1"}],"dns":{}}"#
    );
}
