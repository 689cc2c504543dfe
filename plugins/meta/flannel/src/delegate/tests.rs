use super::*;
use cni_core::{Command, Version};
use proptest::prelude::*;
use serde_json::json;

fn call(conf: Value) -> Call {
    Call {
        command: Command::Add,
        container_id: "c1".into(),
        netns: "/run/netns/c1".into(),
        if_name: "eth0".into(),
        args: Default::default(),
        path: Default::default(),
        netns_override: false,
        stdin: Vec::new(),
        conf,
        name: "cni-flannel".into(),
        version: Version::CURRENT,
        bundle: Default::default(),
    }
}

fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

fn subnets() -> SubnetEnv {
    SubnetEnv {
        networks: vec![cidr("10.1.0.0/16")],
        subnet: Some(cidr("10.1.17.0/24")),
        mtu: 1472,
        ip_masq: true,
        ..SubnetEnv::default()
    }
}

fn dual_stack() -> SubnetEnv {
    SubnetEnv {
        ipv6_networks: vec![cidr("fc00::/48")],
        ipv6_subnet: Some(cidr("fc00:0:0:1::/64")),
        ..subnets()
    }
}

fn generate(conf: Value, subnets: &SubnetEnv) -> Result<String, String> {
    let call = call(conf);
    let config = Config::load(&call).map_err(|e| format!("{e:#}"))?;
    let delegate = Delegate::generate(&call, &config, Some(subnets));
    delegate.map(|d| d.text()).map_err(|e| format!("{e:#}"))
}

/// Byte for byte what upstream keeps for the same.
#[test]
fn the_text_of_upstream() {
    assert_eq!(
        generate(json!({}), &subnets()).unwrap(),
        r#"{"ipMasq":false,"ipam":{"ranges":[[{"subnet":"10.1.17.0/24"}]],"routes":[{"dst":"10.1.0.0/16"}],"type":"host-local"},"isGateway":true,"mtu":1472,"name":"cni-flannel","type":"bridge"}"#
    );
}

#[test]
fn both_families() {
    let conf = json!({"cniVersion": "1.0.0"});
    assert_eq!(
        generate(conf, &dual_stack()).unwrap(),
        r#"{"cniVersion":"1.0.0","ipMasq":false,"ipam":{"ranges":[[{"subnet":"10.1.17.0/24"}],[{"subnet":"fc00:0:0:1::/64"}]],"routes":[{"dst":"10.1.0.0/16"},{"dst":"fc00::/48"}],"type":"host-local"},"isGateway":true,"mtu":1472,"name":"cni-flannel","type":"bridge"}"#
    );
}

fn generated(conf: Value) -> Value {
    serde_json::from_str(&generate(conf, &subnets()).unwrap()).unwrap()
}

#[test]
fn configured_keys_win() {
    let conf = generated(json!({
        "cniVersion": "0.3.1",
        "delegate": {
            "type": "macvlan", "mtu": 1400, "ipMasq": null, "runtimeConfig": {"mac": "x"},
            "cniVersion": "0.1.0", "master": "ens1",
        },
        "ipam": {
            "type": "static", "ranges": [[{"subnet": "192.0.2.0/24"}]], "dataDir": "/x",
            "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.17.9"}],
        },
        "runtimeConfig": {"portMappings": []},
        "args": {"cni": {"ips": ["10.1.17.7"]}},
        "capabilities": {"portMappings": true}, "dns": {"domain": "x"}, "prevResult": {},
    }));
    assert_eq!(
        conf,
        json!({
            "cniVersion": "0.3.1", "name": "cni-flannel", "type": "macvlan", "mtu": 1400,
            "ipMasq": null, "runtimeConfig": {"portMappings": []}, "master": "ens1",
            "args": {"cni": {"ips": ["10.1.17.7"]}},
            "ipam": {
                "type": "static", "ranges": [[{"subnet": "10.1.17.0/24"}]], "dataDir": "/x",
                "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.17.9"}, {"dst": "10.1.0.0/16"}],
            },
        })
    );
    let bridge = generated(json!({"delegate": {"isGateway": false}, "args": null}));
    assert_eq!(bridge["isGateway"], false);
    assert!(bridge.get("args").is_none() && bridge.get("cniVersion").is_none());
    // The keys of these two are others', and match exactly.
    let loud = generated(json!({"DELEGATE": {"Type": "x"}, "Ipam": {"TYPE": "y"}}));
    assert_eq!(
        (&loud["type"], &loud["ipam"]["type"]),
        (&json!("bridge"), &json!("host-local"))
    );
}

#[test]
fn what_is_wrong() {
    for (conf, words) in [
        (
            json!({"delegate": {"type": 5}}),
            "'delegate' dictionary, if present, must have (string) 'type'",
        ),
        (
            json!({"delegate": {"type": null}}),
            "must have (string) 'type' field",
        ),
        (
            json!({"delegate": {"name": "x"}}),
            "must not have 'name' field, it'll be set by flannel",
        ),
        (
            json!({"delegate": {"ipam": null}}),
            "must not have 'ipam' field, it'll be set by flannel",
        ),
        (
            json!({"delegate": {"type": "flannel"}}),
            "delegate.type: flannel would call itself",
        ),
        (
            json!({"delegate": []}),
            "failed to load netconf: delegate: expected an object",
        ),
        (
            json!({"subnetFile": 5}),
            "failed to load netconf: subnetFile: expected a string",
        ),
        (
            json!({"ipam": {"routes": 5}}),
            "failed to assemble Delegate IPAM: failed to read IPAM routes: failed to parse ipam.routes: ",
        ),
        (
            json!({"ipam": {"routes": [{"dst": "x"}]}}),
            "invalid CIDR address: x: ipam.routes[0]",
        ),
    ] {
        let error = generate(conf.clone(), &subnets()).unwrap_err();
        assert!(error.contains(words), "{conf}: {error}");
    }
}

#[test]
fn records_can_be_decoded() {
    let text = generate(json!({"cniVersion": "1.0.0"}), &dual_stack()).unwrap();
    let delegate = Delegate::decode(text.as_bytes()).unwrap();
    assert_eq!(
        (delegate.kind.as_str(), delegate.network()),
        ("bridge", "cni-flannel")
    );
    assert_eq!(delegate.text(), text);
    let prev = json!({"cniVersion": "1.1.0", "prevResult": {"ips": []}, "other": 1});
    let checked: Value =
        serde_json::from_str(&delegate.with_prev_result(&call(prev)).text()).unwrap();
    assert_eq!(checked["cniVersion"], "1.1.0");
    assert_eq!(checked["prevResult"], json!({"ips": []}));
    assert!(checked.get("other").is_none());
    for broken in ["", "{", "null", "[]", "{}", r#"{"type": 5}"#] {
        assert_eq!(Delegate::decode(broken.as_bytes()), None, "{broken}");
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u32>().prop_map(Value::from),
        "[a-z/.0-9]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let key = prop_oneof![
            "[a-z]{0,3}",
            prop::sample::select(&["type", "name", "ipam", "routes", "dst", "mtu"][..])
                .prop_map(str::to_owned),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Whatever is taken is one object that can be read again.
    #[test]
    fn nothing_panics(delegate in value(), ipam in value(), runtime in value(), args in value()) {
        let conf = json!({"delegate": delegate, "ipam": ipam, "runtimeConfig": runtime, "args": args});
        let call = call(conf.clone());
        let lenient = Config::load_for_del(&call);
        let _ = Delegate::generate(&call, &lenient, None);
        if let Ok(text) = generate(conf, &subnets()) {
            let read = Delegate::decode(text.as_bytes()).unwrap();
            prop_assert_eq!(read.text(), text);
            prop_assert_eq!(read.network(), "cni-flannel");
        }
    }
}
