//! Property tests of parser, encoder and decoder.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::json::{decode, get, parse, to_string, to_string_pretty};

/// Returns any JSON value, with keys that a decoder may know.
pub(crate) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        // Few digits: without the feature `float_roundtrip`, which no configuration needs,
        // the parser may be wrong in the last bit.
        (any::<i16>(), -8..30i32).prop_map(|(m, e)| Value::from(f64::from(m) * 2f64.powi(e))),
        any::<String>().prop_map(Value::from),
        "[0-9a-f:.]{0,12}(/[0-9]{1,3})?".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            vec((any_key(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Returns a key of the types below or of results, in any case, or another key.
fn any_key() -> impl Strategy<Value = String> {
    const KNOWN: &[&str] = &[
        "cniVersion",
        "CNIVERSION",
        "interfaces",
        "ips",
        "IPs",
        "routes",
        "dns",
        "ip4",
        "ip6",
        "ip",
        "address",
        "gateway",
        "interface",
        "dst",
        "gw",
        "mtu",
        "table",
        "name",
        "Name",
        "text",
        "number",
        "list",
        "LIST",
        "option",
        "map",
        "choice",
        "prevResult",
        "nameservers",
        "domain",
    ];
    prop_oneof![3 => prop::sample::select(KNOWN).prop_map(str::to_owned), 1 => any::<String>()]
}

#[derive(Debug, Deserialize)]
#[serde(default)]
#[derive(Default)]
#[allow(dead_code, reason = "decoded only to see that nothing panics")]
struct Everything {
    name: Option<String>,
    text: String,
    number: i32,
    list: Vec<Everything>,
    option: Option<Box<Everything>>,
    map: BTreeMap<String, u8>,
    address: Option<crate::Cidr>,
    choice: Option<Choice>,
    routes: Vec<crate::Route>,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "decoded only to see that nothing panics")]
enum Choice {
    #[serde(rename = "text")]
    Text,
    #[serde(rename = "name")]
    Name,
}

proptest! {
    #[test]
    fn parsing_bytes_never_panics(bytes in vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn parsing_almost_json_never_panics(text in r#"[ \n{}\[\]",:a1.e+\\u0\-nultrfs\x01é]{0,40}"#) {
        if let Err(error) = parse(text.as_bytes()) {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn parses_what_it_prints(value in any_json()) {
        // Go writes a float without a fraction like an integer, so the first round trip may
        // change the type of a number.
        let compact = to_string(&value);
        let read = parse(compact.as_bytes()).expect("own output is JSON");
        prop_assert_eq!(to_string(&read), compact);
        let pretty = to_string_pretty(&value);
        prop_assert_eq!(parse(pretty.as_bytes()).expect("own output is JSON"), read);
    }

    #[test]
    fn agrees_with_the_plain_parser(value in any_json()) {
        let text = value.to_string();
        prop_assert_eq!(parse(text.as_bytes()).expect("JSON"), value);
    }

    #[test]
    fn decoding_never_panics(value in any_json()) {
        let _ = decode::<Everything>(&value);
        let _ = decode::<Choice>(&value);
        let _ = decode::<(u8, String)>(&value);
        let _ = get(&value, "name");
    }

    #[test]
    fn a_value_decodes_to_itself(value in any_json()) {
        prop_assert_eq!(decode::<Value>(&value).expect("a value takes everything"), value);
    }

    #[test]
    fn case_of_keys_is_ignored(text in any::<String>(), number: i32, upper: bool) {
        let key = |key: &str| if upper { key.to_uppercase() } else { key.to_owned() };
        let mut object = Map::new();
        object.insert(key("text"), text.as_str().into());
        object.insert(key("number"), number.into());
        let got: Everything = decode(&object.into()).expect("both are of the right type");
        prop_assert_eq!((got.text, got.number), (text, number));
    }

    #[test]
    fn get_ignores_the_case_of_any_key(members in btree_map(any_key(), 0..9i32, 0..9), key in any_key()) {
        let object = Value::Object(members.into_iter().map(|(k, v)| (k, v.into())).collect());
        prop_assert_eq!(get(&object, &key), get(&object, &key.to_ascii_uppercase()));
    }
}
