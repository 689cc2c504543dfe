//! No input makes the plugin panic.

use crate::common::merge;
use cni_bridge::{Bridge, Config};
use cni_core::skel::{self, Env, Outcome};
use cni_core::{Call, Command, Version};
use plugin_kit::link_options::Mtu;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use testkit::Host;

/// Every key of the configuration, with a value that is fine.
fn complete() -> Value {
    let keys = json!({
        "cniVersion": "1.1.0", "name": "net", "type": "bridge", "bridge": "cni0",
        "isGateway": true, "isDefaultGateway": true, "forceAddress": true, "mtu": 1500,
        "hairpinMode": false, "promiscMode": true, "enabledad": true,
        "vlan": 100,
        "vlanTrunk": [{"minID": 200, "maxID": 300}, {"id": 7}, {"minID": 5, "maxID": 5, "id": 6}],
        "preserveDefaultVlan": true, "portIsolation": true, "disableContainerInterface": false,
        "txQueueLen": 500, "numQueues": 2, "gsoMaxSize": 30000, "groMaxSize": 40000,
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
    });
    merge(keys, filters())
}

fn filters() -> Value {
    let masquerade = json!({
        "ipv4": true, "ipv6": false, "exclude": ["10.0.0.0/8"],
        "snatIP": ["192.0.2.1", "fd00::1"], "fullyRandom": true,
    });
    json!({
        "ipMasq": masquerade, "ipMasqBackend": "nftables", "macspoofchk": true,
        "raGuard": true, "dhcpGuard": true,
    })
}

thread_local! {
    /// DEL and GC look for packet filters: in a host of the test's own.
    static HOST: Host = Host::new();
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
            Just("minID".to_owned()),
            Just("maxid".to_owned()),
            Just("id".to_owned()),
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

fn near_a_limit() -> impl Strategy<Value = i64> {
    prop_oneof![-2i64..5, 4090i64..4098, 65534i64..65540, any::<i64>()]
}

fn trunk_element() -> impl Strategy<Value = Value> {
    let id = || {
        prop_oneof![
            Just(None),
            near_a_limit().prop_map(Some),
            (1i64..4095).prop_map(Some)
        ]
    };
    (id(), id(), id()).prop_map(|(min, max, id)| json!({"minID": min, "maxID": max, "id": id}))
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
    HOST.with(|_| skel::run(&Bridge, &env, stdin))
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

    /// Numbers near the limits, in every place that takes a VLAN.
    #[test]
    fn vlans(vlan in near_a_limit(), trunk in vec(trunk_element(), 0..5), preserve in any::<bool>()) {
        let mut config = complete();
        config["vlan"] = vlan.into();
        config["vlanTrunk"] = trunk.clone().into();
        config["preserveDefaultVlan"] = preserve.into();
        let in_range = |id: &Value| id.as_i64().is_none_or(|id| (1..=4094).contains(&id));
        let is_fine = |element: &Value| {
            let (min, max) = (&element["minID"], &element["maxID"]);
            let ordered = min.as_i64().is_none_or(|min| max.as_i64().is_some_and(|max| min <= max));
            let all = [min, max, &element["id"]];
            all.iter().all(|id| in_range(id)) && ordered && min.is_null() == max.is_null()
        };
        let fine = (0..=4094).contains(&vlan) && trunk.iter().all(is_fine);
        let result = load(config, "");
        prop_assert_eq!(result.is_ok(), fine, "{:?}", result);
    }

    #[test]
    fn truncated(length in 0usize..1600) {
        let text = complete().to_string();
        all_verbs(&text.as_bytes()[..length.min(text.len())], "")?;
    }
}

#[test]
fn the_complete_configuration_is_understood() {
    let config = load(complete(), "MAC=02:00:00:00:00:03").unwrap();
    assert_eq!(config.bridge, "cni0");
    assert!(config.is_gateway && config.is_default_gateway && config.promisc_mode);
    assert_eq!(config.mtu, Mtu::Bytes(1500));
    assert_eq!(config.link_keys.gro_max_size, 40000);
    assert!(config.vlans.is_some() && config.port_isolation);
    assert!(config.masquerade.is_some() && config.mac_spoof_check);
    assert!(config.guard.ra && config.guard.dhcp);
    assert_eq!(config.mac.unwrap().to_string(), "02:00:00:00:00:01");
}
