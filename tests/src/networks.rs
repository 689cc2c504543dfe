//! The configurations the tests use.

use serde_json::{Value, json};

/// Every version of the specification, oldest first.
pub const VERSIONS: [&str; 7] = [
    "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0",
];

/// A version in a form that compares.
///
/// # Panics
///
/// When `version` is not three numbers.
pub fn ordinal(version: &str) -> [u32; 3] {
    let numbers: Vec<u32> = version
        .split('.')
        .map(|part| part.parse().unwrap())
        .collect();
    numbers.try_into().unwrap()
}

/// The network that the README of the plugins has shown from the beginning, without `ipMasq`, which has tests of its own.
pub fn readme(version: &str) -> Value {
    json!({
        "cniVersion": version,
        "name": "mynet",
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": true,
        "ipam": {
            "type": "host-local",
            "subnet": "10.22.0.0/16",
            "routes": [{"dst": "0.0.0.0/0"}]
        }
    })
}

/// A network with both address families and default routes through the bridge.
pub fn dual_stack(version: &str) -> Value {
    bridged(version, &["10.23.0.0/16", "fd00:23::/64"])
}

/// A network whose containers get an address of each of `subnets`, the bridge being their default gateway.
pub fn bridged(version: &str, subnets: &[&str]) -> Value {
    let ranges: Vec<Value> = subnets
        .iter()
        .map(|subnet| json!([{"subnet": subnet}]))
        .collect();
    json!({
        "cniVersion": version,
        "name": "net",
        "type": "bridge",
        "bridge": "cni0",
        "isDefaultGateway": true,
        "ipam": {"type": "host-local", "ranges": ranges}
    })
}

/// A configuration of `loopback`.
pub fn loopback(version: &str) -> Value {
    json!({"cniVersion": version, "name": "lo", "type": "loopback"})
}

/// `config` with the members of `change` put over it, objects merged; `null` removes a member.
#[must_use]
pub fn with(mut config: Value, change: &Value) -> Value {
    merge(&mut config, change);
    config
}

fn merge(into: &mut Value, change: &Value) {
    let (Value::Object(members), Value::Object(changes)) = (&mut *into, change) else {
        *into = change.clone();
        return;
    };
    for (key, value) in changes {
        if value.is_null() {
            members.remove(key);
        } else {
            merge(members.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}
