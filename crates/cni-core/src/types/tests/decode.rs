//! Tests of decoding documents of every version.

use serde_json::json;

use super::{full, parse};
use crate::types::{AddResult, Dns, Interface, IpConfig, Route};
use crate::{Version, json};

fn error(version: &str, text: &str) -> String {
    AddResult::decode(version, &parse(text))
        .expect_err(text)
        .to_string()
}

#[test]
fn the_newest_family_loses_nothing() {
    for version in [Version::V1_0_0, Version::V1_1_0] {
        let document = full().to_value(version).unwrap();
        assert_eq!(AddResult::decode(version.as_str(), &document), Ok(full()));
    }
}

#[test]
fn the_middle_family_has_fewer_interface_keys() {
    let mut expected = full();
    expected.interfaces[1] = Interface {
        mtu: 0,
        socket_path: String::new(),
        pci_id: String::new(),
        ..expected.interfaces[1].clone()
    };
    for version in [Version::V0_3_0, Version::V0_3_1, Version::V0_4_0] {
        let document = full().to_value(version).unwrap();
        assert_eq!(
            AddResult::decode(version.as_str(), &document).as_ref(),
            Ok(&expected)
        );
    }
    // Before 1.0.0 these keys are unknown, and their types do not matter.
    let document = json!({"cniVersion": "0.4.0", "interfaces": [{"name": "a", "mtu": "big"}]});
    let result = AddResult::decode("0.4.0", &document).unwrap();
    assert_eq!(result.interfaces[0].mtu, 0);
}

#[test]
fn the_oldest_family_becomes_lists() {
    let text = r#"{
        "cniVersion": "0.2.0",
        "ip6": {"ip": "2001:db8::5/64", "routes": [{"dst": "::/0", "gw": "2001:db8::1"}]},
        "ip4": {"ip": "10.1.0.5/16", "gateway": "10.1.0.1", "routes":
            [{"dst": "10.0.0.0/8", "mtu": 1400, "table": 0}]},
        "dns": {"search": ["a"]}
    }"#;
    let expected = AddResult {
        interfaces: vec![],
        ips: vec![
            IpConfig {
                gateway: Some("10.1.0.1".parse().unwrap()),
                ..IpConfig::new("10.1.0.5/16".parse().unwrap())
            },
            IpConfig::new("2001:db8::5/64".parse().unwrap()),
        ],
        routes: vec![
            Route {
                mtu: 1400,
                table: Some(0),
                ..Route::to("10.0.0.0/8".parse().unwrap())
            },
            Route {
                gw: Some("2001:db8::1".parse().unwrap()),
                ..Route::to("::/0".parse().unwrap())
            },
        ],
        dns: Dns {
            search: vec!["a".into()],
            ..Dns::default()
        },
    };
    for version in ["", "0.1.0", "0.2.0"] {
        assert_eq!(
            AddResult::decode(version, &parse(text)).as_ref(),
            Ok(&expected)
        );
    }
}

#[test]
fn a_document_may_be_of_any_version_of_its_family() {
    let families: [&[&str]; 3] = [
        &["", "0.1.0", "0.2.0"],
        &["0.3.0", "0.3.1", "0.4.0"],
        &["1.0.0", "1.1.0"],
    ];
    let supported = ["[ 0.1.0 0.2.0]", "[0.3.0 0.3.1 0.4.0]", "[1.0.0 1.1.0]"];
    let documents = families
        .iter()
        .flat_map(|f| f.iter().copied())
        .chain(["1.2.0", "1.1", "x\"y"]);
    for document in documents {
        for (family, supported) in families.iter().zip(supported) {
            for asked in *family {
                let got = AddResult::decode(asked, &json!({"cniVersion": document}));
                if family.contains(&document) {
                    assert_eq!(got, Ok(AddResult::default()), "{asked} {document}");
                } else {
                    let expected = format!(
                        "result type supports {supported} but unmarshalled CNIVersion is {}",
                        crate::quote::quote(document)
                    );
                    assert_eq!(got.map_err(|e| e.to_string()), Err(expected));
                }
            }
        }
    }
}

#[test]
fn only_the_oldest_family_may_lack_a_version() {
    assert_eq!(
        AddResult::decode("0.2.0", &json!({})),
        Ok(AddResult::default())
    );
    assert_eq!(
        AddResult::decode("", &json!(null)),
        Ok(AddResult::default())
    );
    assert_eq!(
        error("0.4.0", "{}"),
        r#"result type supports [0.3.0 0.3.1 0.4.0] but unmarshalled CNIVersion is """#
    );
    assert_eq!(
        error("1.1.0", r#"{"cniVersion": null}"#),
        r#"result type supports [1.0.0 1.1.0] but unmarshalled CNIVersion is """#
    );
}

#[test]
fn unknown_versions_are_refused() {
    assert_eq!(
        error("1.2.0", "{}"),
        r#"unsupported CNI result version "1.2.0""#
    );
    assert_eq!(
        error("1.1", r#"{"cniVersion":"1.1"}"#),
        r#"unsupported CNI result version "1.1""#
    );
    // The version is checked before the document.
    assert_eq!(error("x", "[]"), r#"unsupported CNI result version "x""#);
}

#[test]
fn keys_match_in_any_case_and_null_is_absent() {
    let text = r#"{"CNIVersion": "1.1.0", "IPs": [{"Address": "10.0.0.1/8", "GATEWAY": "",
        "interface": null}], "Routes": [{"DST": "10.0.0.0/8", "gw": null, "table": null,
        "mtu": null}], "interfaces": null, "dns": null, "other": [null]}"#;
    let expected = AddResult {
        ips: vec![IpConfig::new("10.0.0.1/8".parse().unwrap())],
        routes: vec![Route::to("10.0.0.0/8".parse().unwrap())],
        ..AddResult::default()
    };
    assert_eq!(AddResult::decode("1.1.0", &parse(text)), Ok(expected));
}

#[test]
fn errors_name_the_key() {
    let table = [
        ("1.1.0", r#"[]"#, "expected an object, got array"),
        (
            "1.1.0",
            r#"{"cniVersion": 1}"#,
            "cniVersion: expected a string, got number",
        ),
        (
            "1.1.0",
            r#"{"ips": {}}"#,
            "ips: expected an array, got object",
        ),
        (
            "1.1.0",
            r#"{"ips": [null]}"#,
            "ips[0]: expected an object, got null",
        ),
        (
            "0.4.0",
            r#"{"ips": [null]}"#,
            "ips[0]: expected an object, got null",
        ),
        (
            "1.1.0",
            r#"{"interfaces": [{}, null]}"#,
            "interfaces[1]: expected an object, got null",
        ),
        (
            "0.3.0",
            r#"{"interfaces": [null]}"#,
            "interfaces[0]: expected an object, got null",
        ),
        (
            "1.0.0",
            r#"{"routes": [null]}"#,
            "routes[0]: expected an object, got null",
        ),
        (
            "0.2.0",
            r#"{"ip4": {"ip": "1.1.1.1/8", "routes": [null]}}"#,
            "ip4.routes[0]: expected an object, got null",
        ),
        (
            "1.1.0",
            r#"{"ips": [{}]}"#,
            r#"ips[0]: missing key "address""#,
        ),
        (
            "0.4.0",
            r#"{"ips": [{"address": null}]}"#,
            r#"ips[0]: missing key "address""#,
        ),
        (
            "1.1.0",
            r#"{"routes": [{"gw": "1.1.1.1"}]}"#,
            r#"routes[0]: missing key "dst""#,
        ),
        ("0.1.0", r#"{"ip6": {}}"#, r#"ip6: missing key "ip""#),
        (
            "1.1.0",
            r#"{"ips": [{"address": ""}]}"#,
            "ips[0].address: invalid CIDR address: ",
        ),
        (
            "1.1.0",
            r#"{"ips": [{"address": "10.0.0.1"}]}"#,
            "ips[0].address: invalid CIDR address: 10.0.0.1",
        ),
        (
            "1.1.0",
            r#"{"ips": [{"address": "<nil>"}]}"#,
            "ips[0].address: invalid CIDR address: <nil>",
        ),
        (
            "1.1.0",
            r#"{"ips": [{"address": 5}]}"#,
            "ips[0].address: expected a string, got number",
        ),
        (
            "1.1.0",
            r#"{"ips": [{"address": "10.0.0.1/8", "gateway": "10.0.0.1/8"}]}"#,
            "ips[0].gateway: invalid IP address: 10.0.0.1/8",
        ),
        (
            "1.1.0",
            r#"{"routes": [{"dst": "10.0.0.0/8", "gw": 1}]}"#,
            "routes[0].gw: expected a string, got number",
        ),
        (
            "1.1.0",
            r#"{"ips": [{"address": "10.0.0.1/8", "interface": 0.0}]}"#,
            "ips[0].interface: expected an integer, got 0.0: write it without fraction or exponent",
        ),
        (
            "1.1.0",
            r#"{"interfaces": [{"mtu": 1500.0}]}"#,
            "interfaces[0].mtu: expected an integer, got 1500.0: \
             write it without fraction or exponent",
        ),
        (
            "1.1.0",
            r#"{"dns": {"search": "a"}}"#,
            "dns.search: expected an array, got string",
        ),
        (
            "0.2.0",
            r#"{"ip4": "1.1.1.1/8"}"#,
            "ip4: expected an object, got string",
        ),
    ];
    for (version, text, expected) in table {
        assert_eq!(error(version, text), expected, "{text}");
    }
}

#[test]
fn indices_and_numbers_keep_their_value() {
    let text = r#"{"cniVersion": "0.4.0",
        "ips": [{"version": "4", "interface": -1, "address": "10.0.0.1/8"},
                {"version": "odd", "interface": 0, "address": "::1/128"}],
        "routes": [{"dst": "1.2.3.4/8", "mtu": -5, "table": 0, "scope": 253}]}"#;
    let result = AddResult::decode("0.4.0", &parse(text)).unwrap();
    assert_eq!(result.ips[0].interface, Some(-1));
    assert_eq!(result.ips[1].interface, Some(0));
    assert_eq!(result.routes[0].dst.to_string(), "1.2.3.4/8");
    assert_eq!(result.routes[0].mtu, -5);
    assert_eq!(result.routes[0].table, Some(0));
    assert_eq!(result.routes[0].scope, Some(253));
}

#[test]
fn a_plugins_output_may_be_of_any_version() {
    let decode = |config: &str, text: &str| {
        AddResult::from_plugin_output(config, text.as_bytes())
            .map(|(_, result)| result.ips.len())
            .map_err(|e| e.to_string())
    };
    let new = r#"{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.1/8"}]}"#;
    assert_eq!(decode("0.2.0", new), Ok(1));
    assert_eq!(decode("unknown", new), Ok(1));
    let (version, _) = AddResult::from_plugin_output("0.2.0", new.as_bytes()).unwrap();
    assert_eq!(version, Version::V1_0_0);
    // Without a valid version of its own, that of the configuration applies.
    for version in [
        "",
        r#""cniVersion":"","#,
        r#""cniVersion":null,"#,
        r#""cniVersion":7,"#,
    ] {
        let text = format!(r#"{{{version}"ips":[{{"address":"10.0.0.1/8"}}]}}"#);
        assert_eq!(decode("0.4.0", &text), Ok(1), "{text}");
        assert_eq!(decode("0.2.0", &text), Ok(0), "{text}");
    }
    // A key in another case is ignored.
    assert_eq!(decode("0.4.0", r#"{"CNIVERSION":"1.0.0"}"#), Ok(0));
    assert_eq!(decode("0.4.0", "null"), Ok(0));
    assert_eq!(
        decode("x", "{}"),
        Err(r#"unsupported CNI result version "x""#.into())
    );
    let raw = |detail: &str| Err(format!("failed to unmarshal raw result: {detail}"));
    assert_eq!(decode("1.0.0", ""), raw("unexpected end of JSON input"));
    assert_eq!(
        decode("1.0.0", "x"),
        raw("invalid character 'x' looking for beginning of value")
    );
    assert_eq!(decode("1.0.0", "[]"), raw("expected an object, got array"));
    assert_eq!(
        decode("1.0.0", "{} {}"),
        raw("invalid character '{' after top-level value")
    );
}

#[test]
fn a_route_of_a_configuration() {
    let routes: Vec<Route> =
        json::decode(&json!([{"dst": "0.0.0.0/0"}, {"DST": "::/0", "gw": "fe80::1"}])).unwrap();
    assert!(routes.iter().all(|route| route.dst.is_default()));
    assert_eq!(routes[1].gw, Some("fe80::1".parse().unwrap()));
    let error = json::decode::<Route>(&json!({"dst": "default"})).unwrap_err();
    assert_eq!(error.to_string(), "dst: invalid CIDR address: default");
}
