//! No input makes the plugin panic.

use cni_bridge::{Bridge, Config};
use cni_core::skel::{self, Env, Outcome};
use cni_core::{Call, Command, Version};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Every key of the configuration, with a value that is fine.
fn complete() -> Value {
    json!({
        "cniVersion": "1.1.0", "name": "net", "type": "bridge", "bridge": "cni0",
        "isGateway": true, "isDefaultGateway": true, "forceAddress": true, "mtu": 1500,
        "hairpinMode": false, "promiscMode": true, "enabledad": true, "ipMasq": false,
        "macspoofchk": false, "vlan": 0, "vlanTrunk": null, "preserveDefaultVlan": false,
        "portIsolation": false, "disableContainerInterface": false,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}]]},
        "dns": {"nameservers": ["10.1.0.1"], "domain": "a", "search": ["b"], "options": ["c"]},
        "capabilities": {"mac": true, "ips": true},
        "runtimeConfig": {"mac": "02:00:00:00:00:01", "ips": ["10.1.0.2"]},
        "args": {"cni": {"mac": "02:00:00:00:00:02"}},
        "cni.dev/valid-attachments": [{"containerID": "c", "ifname": "eth0"}],
        "prevResult": {
            "cniVersion": "1.1.0",
            "interfaces": [{"name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": "/nowhere"}],
            "ips": [{"address": "10.1.0.2/24", "gateway": "10.1.0.1", "interface": 0}],
            "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.0.1", "mtu": 1, "table": 5}],
            "dns": {},
        },
    })
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[0-9a-f:.-]{0,20}(/[0-9]{1,3})?".prop_map(Value::from),
    ];
    let key = || {
        prop_oneof![
            "[a-zA-Z.]{0,12}",
            Just("mac".to_owned()),
            Just("type".to_owned())
        ]
    };
    leaf.prop_recursive(4, 32, 4, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((key(), inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// The places of a document, as JSON pointers.
fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            places(value, &format!("{at}/{}", key.replace('/', "~1")), all);
        }),
        Value::Array(items) => items.iter().enumerate().for_each(|(number, value)| {
            places(value, &format!("{at}/{number}"), all);
        }),
        _ => {}
    }
}

/// The complete configuration with something else in some of its places.
fn confused() -> impl Strategy<Value = Value> {
    let mut all = Vec::new();
    places(&complete(), "", &mut all);
    let change = (proptest::sample::select(all), any_value());
    vec(change, 1..4).prop_map(|changes| {
        let mut config = complete();
        for (place, value) in changes {
            if let Some(slot) = config.pointer_mut(&place) {
                *slot = value;
            }
        }
        config
    })
}

/// Runs a verb for a container whose namespace does not exist and with no plugin to
/// delegate to, so that nothing can come of it.
fn run(verb: &str, stdin: &[u8], args: &str) -> Outcome {
    let env = Env {
        command: verb.into(),
        container_id: "c1".into(),
        netns: "/nowhere/netns".into(),
        if_name: "eth0".into(),
        args: args.into(),
        path: "/nowhere/plugins".into(),
        ..Env::default()
    };
    skel::run(&Bridge, &env, stdin)
}

/// Every verb ends with one document or none.
fn all_verbs(stdin: &[u8], args: &str) -> Result<(), TestCaseError> {
    for verb in ["ADD", "DEL", "CHECK", "GC", "STATUS"] {
        let outcome = run(verb, stdin, args);
        if outcome.exit == 0 {
            prop_assert_eq!(&outcome.stdout, "", "{} of nothing has a result", verb);
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

fn load(conf: Value, args: &str) -> anyhow::Result<Config> {
    Config::load(&Call {
        command: Command::Add,
        container_id: "c1".into(),
        netns: "/nowhere/netns".into(),
        if_name: "eth0".into(),
        args: args.into(),
        path: "/nowhere/plugins".into(),
        netns_override: false,
        stdin: Vec::new(),
        conf,
        name: "net".into(),
        version: Version::CURRENT,
    })
}

proptest! {
    #[test]
    fn arbitrary_bytes(stdin in vec(any::<u8>(), 0..200), args in any::<String>()) {
        all_verbs(&stdin, &args.replace('\0', ""))?;
    }

    #[test]
    fn arbitrary_json(config in any_value(), args in "[A-Za-z=;:0-9]{0,30}") {
        all_verbs(config.to_string().as_bytes(), &args)?;
        let _ = load(config, &args);
    }

    #[test]
    fn confused_types(config in confused(), args in "(MAC=[0-9a-f:]{0,17})?(;?IgnoreUnknown=[a-z0-9]{1,5})?") {
        all_verbs(config.to_string().as_bytes(), &args)?;
        let _ = load(config, &args);
    }

    #[test]
    fn truncated(length in 0usize..1200) {
        let text = complete().to_string();
        all_verbs(&text.as_bytes()[..length.min(text.len())], "")?;
    }
}

#[test]
fn the_complete_configuration_is_understood() {
    let config = load(complete(), "MAC=02:00:00:00:00:03").unwrap();
    assert_eq!(config.bridge, "cni0");
    assert!(config.is_gateway && config.is_default_gateway && config.promisc_mode);
    assert_eq!(config.mtu, Some(1500));
    assert_eq!(config.mac.unwrap().to_string(), "02:00:00:00:00:01");
}
