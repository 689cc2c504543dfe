//! Property tests of a plugin's input: no configuration makes it panic.

use cni_core::Plugin;
use cni_core::skel::{self, Env};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestCaseResult, TestRunner};
use serde_json::Value;

use crate::Host;

const VERBS: [&str; 5] = ["ADD", "DEL", "CHECK", "GC", "STATUS"];

/// Calls every verb of `plugin` with arbitrary bytes, with arbitrary JSON, with `config` in which arbitrary values
/// replace one to three others, and with `config` cut off anywhere.
///
/// `config` is a valid configuration with every key that the plugin knows. The calls are made in a private host,
/// for an interface `if_name` of a container whose namespace does not exist, and find no other plugin, so that no
/// ADD can succeed. A verb must print nothing, or an error object with a message.
///
/// # Panics
///
/// When the plugin panics or prints anything else, with the smallest such input that was found.
#[track_caller]
pub fn survives_any_input(plugin: &dyn Plugin, if_name: &str, config: &Value) {
    let _host = Host::new();
    let call = |stdin: &[u8], args: &str| call_every_verb(plugin, if_name, args, stdin);
    let text = config.to_string();
    check(&(vec(any::<u8>(), 0..200), any_args()), |(stdin, args)| {
        call(&stdin, &args)
    });
    check(&(any_json(), any_args()), |(config, args)| {
        call(config.to_string().as_bytes(), &args)
    });
    check(&(corrupted(config), any_args()), |(config, args)| {
        call(config.to_string().as_bytes(), &args)
    });
    check(&(0..text.len()), |length| {
        call(&text.as_bytes()[..length], "")
    });
}

/// Runs `property` on many values of `strategy`.
#[track_caller]
fn check<S: Strategy>(strategy: &S, property: impl Fn(S::Value) -> TestCaseResult) {
    let config = Config {
        failure_persistence: None,
        ..Config::default()
    };
    if let Err(failure) = TestRunner::new(config).run(strategy, property) {
        panic!("{failure}");
    }
}

fn call_every_verb(plugin: &dyn Plugin, if_name: &str, args: &str, stdin: &[u8]) -> TestCaseResult {
    for verb in VERBS {
        let env = Env {
            command: verb.into(),
            container_id: "c1".into(),
            netns: "/nowhere/netns".into(),
            if_name: if_name.into(),
            args: args.into(),
            path: "/nowhere/plugins".into(),
            ..Env::default()
        };
        let outcome = skel::run(plugin, &env, stdin);
        if outcome.exit == 0 {
            prop_assert!(verb != "ADD", "ADD without a namespace succeeds");
            prop_assert_eq!(&outcome.stdout, "", "{} prints a result", verb);
            continue;
        }
        let error: Value = serde_json::from_str(&outcome.stdout)
            .map_err(|err| TestCaseError::fail(format!("{verb}: {err}: {}", outcome.stdout)))?;
        let has_message = error["msg"].as_str().is_some_and(|msg| !msg.is_empty());
        prop_assert!(has_message, "{}: {}", verb, error);
    }
    Ok(())
}

/// `CNI_ARGS`: any text, and pairs that plugins know.
fn any_args() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        any::<String>().prop_map(|text| text.replace('\0', "")),
        "(MAC=[0-9a-f:]{0,17})?(;?IgnoreUnknown=[a-z0-9]{1,5})?(;?IP=[0-9a-f.:/]{0,20})?",
    ]
}

/// Any JSON value.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[0-9a-f:.-]{0,20}(/[0-9]{1,3})?".prop_map(Value::from),
    ];
    let key = prop_oneof![
        "[a-zA-Z./]{0,12}",
        select(vec![
            "ips", "address", "gateway", "mac", "type", "id", "minID", "maxid"
        ])
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 32, 4, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((key.clone(), inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// `config` with arbitrary values at one to three places.
fn corrupted(config: &Value) -> impl Strategy<Value = Value> + use<> {
    let mut all = Vec::new();
    pointers(config, "", &mut all);
    let config = config.clone();
    vec((select(all), any_json()), 1..4).prop_map(move |changes| {
        let mut config = config.clone();
        for (pointer, value) in changes {
            // An earlier change may have replaced what contained it.
            if let Some(slot) = config.pointer_mut(&pointer) {
                *slot = value;
            }
        }
        config
    })
}

/// Appends the JSON pointers (RFC 6901) of `value`, which is at `at`, and of everything below it.
fn pointers(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let key = key.replace('~', "~0").replace('/', "~1");
                pointers(value, &format!("{at}/{key}"), all);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                pointers(value, &format!("{at}/{index}"), all);
            }
        }
        _ => {}
    }
}
