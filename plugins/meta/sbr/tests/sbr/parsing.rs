//! No input makes the plugin panic.

use cni_core::skel::{self, Env};
use cni_sbr::Sbr;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Every verb, for a container whose namespace does not exist, ends with one document
/// or none.
fn all_verbs(stdin: &[u8]) -> Result<(), TestCaseError> {
    for verb in ["ADD", "DEL", "CHECK", "GC", "STATUS"] {
        let env = Env {
            command: verb.into(),
            container_id: "c1".into(),
            netns: "/nowhere/netns".into(),
            if_name: "net1".into(),
            path: "/nowhere/plugins".into(),
            ..Env::default()
        };
        let outcome = skel::run(&Sbr, &env, stdin);
        if outcome.exit == 0 {
            prop_assert!(verb != "ADD" && outcome.stdout.is_empty(), "{}", verb);
        } else {
            let error: Value = serde_json::from_str(&outcome.stdout).unwrap();
            prop_assert!(
                error["msg"].as_str().is_some_and(|msg| !msg.is_empty()),
                "{}",
                error
            );
        }
    }
    Ok(())
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(json!("10.0.0.5/24")),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let key = prop_oneof![
            "[a-z]{0,8}",
            "ips|interfaces|address|gateway",
            proptest::sample::select(KEYS).prop_map(str::to_owned)
        ];
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((key, inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

const KEYS: &[&str] = &[
    "cniVersion",
    "name",
    "type",
    "table",
    "gateways",
    "addSourceHints",
    "prevResult",
    "cni.dev/valid-attachments",
];

proptest! {
    #[test]
    fn arbitrary_bytes(stdin in vec(any::<u8>(), 0..200)) {
        all_verbs(&stdin)?;
    }

    #[test]
    fn confused_types(key in proptest::sample::select(KEYS), value in any_value()) {
        let mut config = json!({
            "cniVersion": "1.1.0", "name": "net", "type": "sbr", "table": 100, "gateways": ["10.0.0.1"], "prevResult": {"cniVersion": "1.1.0", "ips": [{"address": "10.0.0.5/24"}]},
        });
        config[key] = value;
        all_verbs(config.to_string().as_bytes())?;
    }
}
