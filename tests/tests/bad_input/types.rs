//! Values of the wrong type, for which the message names the key, and values that make no sense.

use serde_json::{Value, json};

use super::{Stage, network};
use blackbox::{answer, networks};

/// Returns `config` with `value` at a path of keys.
fn at(mut config: Value, path: &str, value: &Value) -> Value {
    let mut place = &mut config;
    for key in path.split('.') {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[key];
    }
    *place = value.clone();
    config
}

/// Values of other types than the key has.
fn wrong(kind: &str) -> Vec<Value> {
    match kind {
        "bool" => vec![json!("true"), json!(1), json!([]), json!({})],
        "bool or object" => vec![json!("true"), json!(1), json!([]), json!({"ipv4": 1})],
        "integer" => vec![json!("7"), json!(true), json!(1.5), json!([]), json!({})],
        "string" => vec![json!(7), json!(true), json!([]), json!({})],
        "strings" => vec![json!("x"), json!(7), json!({}), json!([7]), json!([["x"]])],
        "list" => vec![json!("x"), json!(7), json!({})],
        "object" => vec![json!("x"), json!(7), json!([]), json!(true)],
        other => panic!("unknown type {other}"),
    }
}

#[track_caller]
fn each_key(plugin: &str, config: &Value, keys: &[(&str, &str)]) {
    let stage = Stage::new();
    let before = stage.host.snapshot();
    let mut accepted = Vec::new();
    for (path, kind) in keys {
        for value in wrong(kind) {
            let wrong = at(config.clone(), path, &value);
            let key = path.rsplit('.').next().unwrap_or(path);
            let run = stage.call(plugin, "ADD", &wrong).run();
            if run.is_ok() {
                accepted.push(format!("{path}={value}"));
                answer::silent(stage.call(plugin, "DEL", config).run());
            } else {
                answer::refusal(run, 999).mentions(key);
            }
        }
        if accepted.is_empty() {
            before.assert_same(&stage.host.snapshot());
        }
    }
    assert!(accepted.is_empty(), "accepted: {}", accepted.join(" "));
}

/// Keys that every plugin has.
const COMMON: &[(&str, &str)] = &[
    ("type", "string"),
    ("capabilities", "object"),
    ("ipam", "object"),
    ("ipam.type", "string"),
    ("dns", "object"),
    ("dns.nameservers", "strings"),
    ("dns.domain", "string"),
    ("dns.search", "strings"),
    ("dns.options", "strings"),
    ("prevResult", "object"),
];

#[test]
fn common_keys_of_bridge() {
    each_key("bridge", &network(json!({})), COMMON);
}

#[test]
fn common_keys_of_loopback() {
    each_key("loopback", &networks::loopback("1.1.0"), COMMON);
}

#[test]
fn keys_of_bridge() {
    let keys = [
        ("bridge", "string"),
        ("isGateway", "bool"),
        ("isDefaultGateway", "bool"),
        ("forceAddress", "bool"),
        ("ipMasq", "bool or object"),
        ("ipMasqBackend", "string"),
        ("mtu", "integer"),
        ("hairpinMode", "bool"),
        ("promiscMode", "bool"),
        ("vlan", "integer"),
        ("vlanTrunk", "list"),
        ("preserveDefaultVlan", "bool"),
        ("macspoofchk", "bool"),
        ("raGuard", "bool"),
        ("dhcpGuard", "bool"),
        ("enabledad", "bool"),
        ("disableContainerInterface", "bool"),
        ("portIsolation", "bool"),
        ("args", "object"),
        ("args.cni", "object"),
        ("args.cni.mac", "string"),
        ("runtimeConfig", "object"),
        ("runtimeConfig.mac", "string"),
    ];
    each_key("bridge", &network(json!({})), &keys);
}

/// Through the bridge plugin, which must leave nothing when its IPAM plugin refuses the configuration.
#[test]
fn keys_of_host_local() {
    let keys = [
        ("ipam.ranges", "list"),
        ("ipam.subnet", "string"),
        ("ipam.rangeStart", "string"),
        ("ipam.rangeEnd", "string"),
        ("ipam.gateway", "string"),
        ("ipam.routes", "list"),
        ("ipam.dataDir", "string"),
        ("ipam.resolvConf", "string"),
        ("args.cni.ips", "strings"),
        ("runtimeConfig.ips", "strings"),
        ("runtimeConfig.ipRanges", "list"),
    ];
    each_key("bridge", &network(json!({})), &keys);
}

/// Keys one level further down.
#[test]
fn members_of_ranges_and_routes() {
    let stage = Stage::new();
    let before = stage.host.snapshot();
    let refused = |plugin: &str, config: &Value, key: &str| {
        answer::refusal(stage.call(plugin, "ADD", config).run(), 999).mentions(key);
    };
    for kind in ["subnet", "rangeStart", "rangeEnd", "gateway"] {
        for value in wrong("string") {
            let mut range = json!({"subnet": "10.23.0.0/16"});
            range[kind] = value;
            for place in ["ipam.ranges", "runtimeConfig.ipRanges"] {
                let config = at(network(json!({})), place, &json!([[range]]));
                refused("host-local", &config, kind);
            }
        }
    }
    for ranges in [json!([7]), json!([["x"]]), json!([{}]), json!([[[]]])] {
        let config = at(network(json!({})), "ipam.ranges", &ranges);
        refused("host-local", &config, "ranges");
    }
    for (key, kind) in [
        ("dst", "string"),
        ("gw", "string"),
        ("mtu", "integer"),
        ("advmss", "integer"),
        ("priority", "integer"),
        ("table", "integer"),
        ("scope", "integer"),
    ] {
        for value in wrong(kind) {
            let mut route = json!({"dst": "192.0.2.0/24"});
            route[key] = value;
            let config = at(network(json!({})), "ipam.routes", &json!([route]));
            refused("bridge", &config, key);
        }
    }
    before.assert_same(&stage.host.snapshot());
}

/// Values of the right type that make no sense.
#[test]
fn values_that_make_no_sense() {
    let stage = Stage::new();
    for (plugin, change, code, parts) in [
        ("bridge", json!({"bridge": ""}), 7, &["bridge"][..]),
        ("bridge", json!({"bridge": "a/b"}), 7, &["a/b"]),
        ("bridge", json!({"bridge": ".."}), 7, &[".."]),
        (
            "bridge",
            json!({"bridge": "sixteen-letters-"}),
            7,
            &["sixteen-letters-"],
        ),
        (
            "bridge",
            json!({"mtu": 99_999_999_999_u64}),
            7,
            &["mtu", "99999999999"],
        ),
        ("bridge", json!({"mtu": 70_000}), 7, &[]),
        ("bridge", json!({"mtu": 20}), 7, &["68 to 65535"]),
        (
            "bridge",
            json!({"args": {"cni": {"mac": "zz"}}}),
            999,
            &["zz: invalid MAC address"],
        ),
        (
            "bridge",
            json!({"runtimeConfig": {"mac": "02:00:00:00:00"}}),
            999,
            &["02:00:00:00:00"],
        ),
        // A multicast address is not valid for an interface.
        (
            "bridge",
            json!({"runtimeConfig": {"mac": "01:00:5e:00:00:01"}}),
            999,
            &[],
        ),
        (
            "bridge",
            json!({"hairpinMode": true, "promiscMode": true}),
            999,
            &["cannot set hairpin mode and promiscuous mode at the same time"],
        ),
        (
            "bridge",
            json!({"disableContainerInterface": true}),
            999,
            &["cannot use IPAM when DisableContainerInterface flag is set"],
        ),
        (
            "host-local",
            json!({"ipam": {"resolvConf": "/nowhere"}}),
            999,
            &["open /nowhere: no such file or directory"],
        ),
        (
            "host-local",
            json!({"ipam": {"resolvConf": "/"}}),
            999,
            &["/", "is a directory"],
        ),
        (
            "host-local",
            json!({"ipam": {"routes": [{"dst": "10.0.0.0"}]}}),
            999,
            &["invalid CIDR address: 10.0.0.0"],
        ),
        (
            "host-local",
            json!({"ipam": {"routes": [{"dst": "10.0.0.0/33"}]}}),
            999,
            &["invalid CIDR address: 10.0.0.0/33"],
        ),
        (
            "host-local",
            json!({"ipam": {"routes": [{"gw": "10.0.0.1"}]}}),
            999,
            &["dst"],
        ),
        (
            "host-local",
            json!({"ipam": {"routes": [{"dst": "::/0", "gw": "x"}]}}),
            999,
            &["invalid IP address: x"],
        ),
    ] {
        stage.add_refused(plugin, &network(change), code, parts);
    }
}

/// A `prevResult` that is not a valid result.
#[test]
fn invalid_previous_results() {
    let stage = Stage::new();
    let bad = [
        (json!({"cniVersion": "9.9.9"}), "9.9.9"),
        (json!({"cniVersion": "0.3.1"}), "0.3.1"),
        (
            json!({"ips": [{"address": "10.0.0.1"}]}),
            "invalid CIDR address: 10.0.0.1",
        ),
        (json!({"ips": [null]}), "ips"),
        (json!({"ips": {}}), "ips"),
        (json!({"interfaces": [7]}), "interfaces"),
        (json!({"routes": [{"dst": "x"}]}), "invalid CIDR address: x"),
    ];
    for (prev, part) in bad {
        let mut config = networks::loopback("1.1.0");
        config["prevResult"] = prev.clone();
        stage.add_refused("loopback", &config, 999, &["prevResult", part]);
        let config = network(json!({}));
        let added = answer::result(&stage.call("bridge", "ADD", &config).run());
        assert_eq!(added["cniVersion"], "1.1.0");
        let config = at(config, "prevResult", &prev);
        stage.refused(
            stage.call("bridge", "CHECK", &config),
            999,
            &["prevResult", part],
        );
        answer::silent(stage.call("bridge", "DEL", &config).run());
    }
    let call = stage.call("bridge", "CHECK", &network(json!({})));
    answer::failure(call.run());
}
