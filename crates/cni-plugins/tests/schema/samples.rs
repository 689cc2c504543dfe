//! Values for the properties of schemas.

use serde_json::{Value, json};

use super::with;

/// Adds what a plugin needs in every valid configuration.
pub(super) fn complete(name: &str, mut config: Value) -> Value {
    let more = match name {
        "host-local" => json!({"ipam": {"type": name, "subnet": "10.1.0.0/24"}}),
        "static" => json!({"ipam": {"type": name, "addresses": [{"address": "10.1.0.5/24"}]}}),
        "dhcp" => json!({"ipam": {"type": name, "daemonSocketPath": "/nowhere/dhcp.sock"}}),
        "host-device" => json!({"device": "nowhere0"}),
        "vlan" => json!({"master": "nowhere0"}),
        "macvlan" | "ipvlan" => json!({"master": "nowhere0"}),
        "vrf" => json!({"vrfname": "blue"}),
        _ => json!({}),
    };
    for (key, value) in more.as_object().expect("an object") {
        config[key] = value.clone();
    }
    config
}

/// Keys that others than the plugin read, or nobody.
pub(super) fn is_ignored(path: &str) -> bool {
    ["/type", "/ipam/type", "/ipam/addresses/0/version"].contains(&path)
}

/// A configuration to which the property at `path` can be added.
pub(super) fn base(config: Value, name: &str, path: &str) -> Value {
    let mut config = config;
    let mut set = |at: &str, value: Value| config = with(&config, at, value);
    match (name, path) {
        ("bandwidth", "/ingressRate") => set("/ingressBurst", json!(80_000)),
        ("bandwidth", "/ingressBurst") => set("/ingressRate", json!(80_000)),
        ("bandwidth", "/egressRate") => set("/egressBurst", json!(80_000)),
        ("bandwidth", "/egressBurst") => set("/egressRate", json!(80_000)),
        ("bridge", "/vlanTrunk/0/minID") => set("/vlanTrunk", json!([{"maxID": 4094}])),
        ("bridge", "/vlanTrunk/0/maxID") => set("/vlanTrunk", json!([{"minID": 1}])),
        ("dhcp", "/ipam/ipv4") => set("/ipam/ipv6", json!(true)),
        (_, "/ipMasqBackend") => set("/ipMasq", json!(true)),
        ("host-local", _) if path.starts_with("/ipam/ranges") => {
            set("/ipam", json!({"type": name}));
        }
        _ => {}
    }
    // Required keys of the object that the property is in.
    let (object, key) = path.rsplit_once('/').unwrap_or_default();
    if object.ends_with("/routes/0") {
        set(object, json!({"dst": "10.2.0.0/16"}));
    } else if object.ends_with("/ranges/0/0") || object.ends_with("/ipRanges/0/0") {
        set(object, json!({"subnet": "10.1.0.0/24"}));
        if object.starts_with("/runtimeConfig") {
            set("/ipam", json!({"type": name}));
        }
    } else if object.ends_with("/portMappings/0") && key != "protocol" {
        set(
            object,
            json!({"hostPort": 80, "containerPort": 80, "protocol": "tcp"}),
        );
    }
    config
}

/// Valid and invalid values of a property with these schemas.
pub(super) fn values(_name: &str, _path: &str, schemas: &[&Value]) -> (Vec<Value>, Vec<Value>) {
    let (mut valid, mut invalid) = (Vec::new(), Vec::new());
    let types: Vec<&str> = schemas
        .iter()
        .filter_map(|schema| schema.get("type").and_then(Value::as_str))
        .collect();
    for schema in schemas {
        from_schema(schema, &mut valid, &mut invalid);
    }
    for (kind, value) in [
        ("boolean", json!(true)),
        ("integer", json!(7)),
        ("string", json!("x")),
        ("array", json!([])),
        ("object", json!({})),
    ] {
        let constant = schemas.iter().any(|schema| schema.get("const").is_some());
        if !(types.is_empty() || types.contains(&kind) || constant && kind == "string") {
            invalid.push(value);
        }
    }
    (valid, invalid)
}

fn from_schema(schema: &Value, valid: &mut Vec<Value>, invalid: &mut Vec<Value>) {
    if let Some(list) = schema.get("enum").and_then(Value::as_array) {
        valid.extend(list.iter().cloned());
        invalid.push(json!("no-such-value"));
    }
    if let Some(value) = schema.get("const") {
        valid.push(value.clone());
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("boolean") => valid.push(json!(false)),
        Some("integer") => {
            let limit = |key: &str| schema.get(key).and_then(Value::as_i64);
            if let Some(min) = limit("minimum") {
                valid.push(min.into());
                invalid.push((min - 1).into());
            }
            if let Some(max) = limit("maximum") {
                valid.push(max.into());
                invalid.push((max + 1).into());
            }
            invalid.push(json!(1.5));
        }
        Some("string") => match schema.get("format").and_then(Value::as_str) {
            Some("ip") => {
                valid.push(json!("10.1.0.9"));
                invalid.push(json!("10.1.0.256"));
            }
            Some("cidr") => {
                valid.push(json!("10.1.0.0/24"));
                invalid.push(json!("10.1.0.0"));
            }
            Some("mac") => {
                valid.push(json!("02:00:00:00:00:01"));
                invalid.push(json!("02:00:00:00:00"));
            }
            _ => {}
        },
        _ => {}
    }
}
