//! Parsing of the configuration, with arbitrary input too.

use crate::common::merge;
use cni_bridge::{Bridge, Config};
use cni_core::{Call, Command, Version};
use plugin_kit::link_options::Mtu;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use testkit::parsing::survives_any_input;

/// Every key of the configuration, with a valid value.
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
        bundle: Default::default(),
    })
}

proptest! {
    /// Numbers near the limits, in every place that takes a VLAN.
    #[test]
    fn vlans(vlan in near_a_limit(), trunk in vec(trunk_element(), 0..5), preserve in any::<bool>()) {
        let mut config = complete();
        config["vlan"] = vlan.into();
        config["vlanTrunk"] = trunk.clone().into();
        config["preserveDefaultVlan"] = preserve.into();
        let in_range = |id: &Value| id.as_i64().is_none_or(|id| (1..=4094).contains(&id));
        let is_valid = |element: &Value| {
            let (min, max) = (&element["minID"], &element["maxID"]);
            let ordered = min.as_i64().is_none_or(|min| max.as_i64().is_some_and(|max| min <= max));
            let all = [min, max, &element["id"]];
            all.iter().all(|id| in_range(id)) && ordered && min.is_null() == max.is_null()
        };
        let valid = (0..=4094).contains(&vlan) && trunk.iter().all(is_valid);
        let result = load(config, "");
        prop_assert_eq!(result.is_ok(), valid, "{:?}", result);
    }
}

#[test]
fn no_input_makes_it_panic() {
    survives_any_input(&Bridge, "eth0", &complete());
}

#[test]
fn every_key_is_read() {
    let config = load(complete(), "MAC=02:00:00:00:00:03").unwrap();
    assert_eq!(config.bridge, "cni0");
    assert!(config.is_gateway && config.is_default_gateway && config.promisc_mode);
    assert_eq!(config.mtu, Mtu::Bytes(1500));
    assert_eq!(config.link_options.gro_max_size, 40000);
    assert!(config.vlans.is_some() && config.port_isolation);
    assert!(config.masquerade.is_some() && config.mac_spoof_check);
    assert!(config.guards.ra && config.guards.dhcp);
    assert_eq!(config.mac.unwrap().to_string(), "02:00:00:00:00:01");
}
