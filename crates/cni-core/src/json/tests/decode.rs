//! Tests of the decoding rules.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::json::decode;
use serde::de::DeserializeOwned;

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Conf {
    name: String,
    is_gateway: bool,
    mtu: Option<u32>,
    vlan: u16,
    offset: i64,
    rate: f64,
    ipam: Ipam,
    mode: Mode,
    labels: HashMap<String, String>,
    raw: Value,
    link: Link,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Ipam {
    #[serde(rename = "type")]
    kind: String,
    ranges: Vec<Vec<Range>>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Range {
    subnet: crate::Cidr,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    L2,
    L3,
}

/// A type with a conversion of its own, as in many plugins.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(try_from = "String")]
struct Link(String);

impl TryFrom<String> for Link {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "down" {
            Err("link is down".into())
        } else {
            Ok(Link(text))
        }
    }
}

fn conf(text: &str) -> Conf {
    decode(&crate::json::parse(text.as_bytes()).unwrap()).unwrap_or_else(|e| panic!("{e}"))
}

fn error<T: DeserializeOwned>(value: Value) -> String {
    decode::<T>(&value)
        .err()
        .map(|e| e.to_string())
        .unwrap_or_default()
}

#[test]
fn keys_match_in_any_case_and_the_last_wins() {
    assert_eq!(conf(r#"{"NAME": "a", "isgateway": true}"#).name, "a");
    assert!(conf(r#"{"ISGATEWAY": true}"#).is_gateway);
    assert_eq!(conf(r#"{"name": "a", "Name": "b"}"#).name, "b");
    assert_eq!(conf(r#"{"Name": "b", "name": "a"}"#).name, "a");
    assert_eq!(conf(r#"{"name": "a", "NAME": "b", "name": "c"}"#).name, "c");
    assert_eq!(conf(r#"{"name": "a", "NAME": null}"#).name, "a");
    // The value of an overridden key is not decoded.
    assert_eq!(conf(r#"{"name": 1, "NAME": "b"}"#).name, "b");
    assert_eq!(conf(r#"{"Ipam": {"TYPE": "x"}}"#).ipam.kind, "x");
    assert_eq!(
        conf(r#"{"na\u017fe": 1, "unknown": [{}]}"#),
        Conf::default()
    );
}

#[test]
fn null_is_absent() {
    let nulls = r#"{"name":null,"isGateway":null,"mtu":null,"vlan":null,"ipam":null,"raw":null,
        "mode":null,"labels":null,"rate":null,"offset":null,"link":null}"#;
    assert_eq!(conf(nulls), Conf::default());
    assert_eq!(
        conf(r#"{"ipam": {"type": null, "ranges": null}}"#).ipam,
        Ipam::default()
    );
    assert_eq!(
        error::<Vec<String>>(json!([null])),
        "[0]: expected a string, got null"
    );
    assert_eq!(
        decode::<Vec<Option<u8>>>(&json!([null, 1])).unwrap(),
        [None, Some(1)]
    );
    assert_eq!(error::<Conf>(json!(null)), "expected an object, got null");
}

#[test]
fn maps_and_values_are_untouched() {
    let conf = conf(r#"{"labels": {"A": "1", "a": "2"}, "raw": {"X": null, "x": [null, 1.5]}}"#);
    assert_eq!(conf.labels.len(), 2);
    assert_eq!(conf.raw, json!({"X": null, "x": [null, 1.5]}));
    let map: BTreeMap<String, Option<u8>> = decode(&json!({"a": null, "b": 2})).unwrap();
    assert_eq!(
        map,
        BTreeMap::from([("a".into(), None), ("b".into(), Some(2))])
    );
    let keys: HashMap<Mode2, u8> = decode(&json!({"fast": 1})).unwrap();
    assert_eq!(keys.get(&Mode2::Fast), Some(&1));
}

#[derive(Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode2 {
    Fast,
}

#[test]
fn fields_that_differ_in_case_take_their_own_keys() {
    #[derive(Deserialize)]
    #[serde(default)]
    #[derive(Default)]
    struct Two {
        address: String,
        #[serde(rename = "Address")]
        parsed: Value,
    }
    for document in [
        json!({"address": "a", "Address": {}}),
        json!({"Address": {}, "address": "a"}),
        json!({"ADDRESS": "a", "Address": {}}),
        json!({"address": "b", "Address": {}, "ADDRESS": "a"}),
    ] {
        let two: Two = decode(&document).unwrap();
        assert_eq!(
            (two.address.as_str(), two.parsed),
            ("a", json!({})),
            "{document}"
        );
    }
}

#[test]
fn integers_are_integers() {
    assert_eq!(conf(r#"{"offset": -5, "mtu": 4294967295}"#).offset, -5);
    assert_eq!(decode::<u64>(&json!(u64::MAX)).unwrap(), u64::MAX);
    let hint = "write it without fraction or exponent";
    let parsed = |text: &str| crate::json::parse(text.as_bytes()).unwrap();
    for text in ["1500.0", "1e3", "1.5"] {
        let got = error::<Conf>(json!({"mtu": parsed(text)}));
        assert!(got.starts_with("mtu: expected an integer, got 1"), "{got}");
        assert!(got.ends_with(hint), "{got}");
    }
    assert_eq!(
        error::<Conf>(json!({"vlan": 70000})),
        "vlan: 70000 is out of range, expected 0 to 65535"
    );
    assert_eq!(
        error::<Conf>(json!({"mtu": -1})),
        "mtu: -1 is out of range, expected 0 to 4294967295"
    );
    assert_eq!(
        error::<Conf>(json!({"offset": u64::MAX})),
        "offset: 18446744073709551615 is out of range, expected \
         -9223372036854775808 to 9223372036854775807"
    );
    assert!(error::<Conf>(json!({"offset": parsed("99999999999999999999")})).ends_with(hint));
    assert_eq!(conf(r#"{"rate": 2}"#).rate, 2.0);
}

#[test]
fn errors_name_the_key() {
    let table = [
        (json!([]), "expected an object, got array"),
        (json!({"name": 1}), "name: expected a string, got number"),
        (json!({"Name": {}}), "Name: expected a string, got object"),
        (
            json!({"isGateway": "true"}),
            "isGateway: expected true or false, got string",
        ),
        (json!({"mtu": "1"}), "mtu: expected an integer, got string"),
        (json!({"rate": true}), "rate: expected a number, got bool"),
        (json!({"ipam": "x"}), "ipam: expected an object, got string"),
        (
            json!({"ipam": {"ranges": {}}}),
            "ipam.ranges: expected an array, got object",
        ),
        (
            json!({"ipam": {"ranges": [[{"subnet": "10.0.0.0/8"}, {"subnet": 1}]]}}),
            "ipam.ranges[0][1].subnet: expected a string, got number",
        ),
        (
            json!({"ipam": {"ranges": [[], [{"subnet": "x"}]]}}),
            "ipam.ranges[1][0].subnet: invalid CIDR address: x",
        ),
        (
            json!({"ipam": {"ranges": [[{}]]}}),
            "ipam.ranges[0][0]: missing key \"subnet\"",
        ),
        (
            json!({"ipam": {"ranges": [[{"subnet": null}]]}}),
            "ipam.ranges[0][0]: missing key \"subnet\"",
        ),
        (
            json!({"labels": {"a": 1}}),
            "labels.a: expected a string, got number",
        ),
        (
            json!({"mode": "l4"}),
            "mode: \"l4\" is none of [\"l2\" \"l3\"]",
        ),
        (json!({"mode": 1}), "mode: expected a string, got number"),
        (
            json!({"mode": {"l3": "x"}}),
            "mode: expected a string, got object",
        ),
        (json!({"link": "down"}), "link: link is down"),
    ];
    for (value, expected) in table {
        assert_eq!(error::<Conf>(value.clone()), expected, "{value}");
    }
}

#[test]
fn enums_are_strings() {
    assert_eq!(decode::<Mode>(&json!("l3")).unwrap(), Mode::L3);
    assert_eq!(error::<Mode>(json!(["l3"])), "expected a string, got array");
}

#[test]
fn untagged_enums_are_decoded() {
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    assert_eq!(
        decode::<OneOrMany>(&json!("a")).unwrap(),
        OneOrMany::One("a".into())
    );
    assert_eq!(
        decode::<OneOrMany>(&json!(["a"])).unwrap(),
        OneOrMany::Many(vec!["a".into()])
    );
    assert!(error::<OneOrMany>(json!(1)).contains("did not match any variant"));
}

#[test]
fn tuples_and_newtypes_are_decoded() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Id(u32);
    assert_eq!(decode::<Vec<Id>>(&json!([1])).unwrap(), [Id(1)]);
    assert_eq!(
        decode::<(u8, String)>(&json!([1, "a"])).unwrap(),
        (1, "a".into())
    );
    assert_eq!(
        error::<(u8, u8)>(json!([1, "a"])),
        "[1]: expected an integer, got string"
    );
    decode::<()>(&json!(null)).unwrap();
    assert!(!error::<()>(json!(1)).is_empty());
}

#[test]
fn the_deepest_document_decodes() {
    #[derive(Deserialize)]
    struct Nested {
        inner: Option<Box<Nested>>,
    }
    let text = format!("{}{{}}{}", "{\"INNER\":".repeat(126), "}".repeat(126));
    let mut nested: Nested = decode(&crate::json::parse(text.as_bytes()).unwrap()).unwrap();
    let mut depth = 0;
    while let Some(inner) = nested.inner {
        nested = *inner;
        depth += 1;
    }
    assert_eq!(depth, 126);
}

#[test]
fn flattened_structs_match_keys_exactly() {
    #[derive(Default, PartialEq, Debug, Deserialize)]
    #[serde(default)]
    struct Outer {
        #[serde(flatten)]
        inner: Inner,
    }
    #[derive(Default, PartialEq, Debug, Deserialize)]
    #[serde(default)]
    struct Inner {
        name: String,
    }
    // Documented in `decode`. If a release of serde changes this, change the documentation.
    assert_eq!(
        decode::<Outer>(&json!({"NAME": "a"})).unwrap(),
        Outer::default()
    );
    assert!(decode::<Outer>(&json!({"name": null})).is_err());
    assert_eq!(decode::<Inner>(&json!({"NAME": "a"})).unwrap().name, "a");
}
