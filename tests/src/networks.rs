//! Network configurations.

use serde_json::{Value, json};

/// Every version of the specification, oldest first.
pub const VERSIONS: [&str; 7] = [
    "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0",
];

/// A version in a form that can be compared.
///
/// # Panics
///
/// When `version` does not consist of three numbers.
pub fn ordinal(version: &str) -> [u32; 3] {
    let numbers: Vec<u32> = version
        .split('.')
        .map(|part| part.parse().unwrap())
        .collect();
    numbers.try_into().unwrap()
}

/// The example network of upstream's README, without `ipMasq`, which has its own tests.
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

/// A network whose containers get an address of each of `subnets` and have the bridge as default gateway.
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

/// Returns `config` with `change` merged into it, recursively; `null` removes a member.
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
