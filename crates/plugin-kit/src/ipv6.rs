//! Detection of IPv6 addresses in a configuration.

use cni_core::json;
use serde_json::Value;

/// Keys of a configuration with addresses of containers.
const ADDRESS_KEYS: [&str; 3] = ["ipam", "runtimeConfig", "prevResult"];

/// Returns whether a configuration has an IPv6 address or network in `ipam`,
/// `runtimeConfig` or `prevResult`.
#[must_use]
pub fn is_configured(conf: &Value) -> bool {
    ADDRESS_KEYS
        .iter()
        .filter_map(|key| json::get(conf, key))
        .any(has_ipv6)
}

fn has_ipv6(value: &Value) -> bool {
    match value {
        Value::String(text) => {
            let address = text.split('/').next().unwrap_or_default();
            address.parse::<std::net::Ipv6Addr>().is_ok()
        }
        Value::Array(list) => list.iter().any(has_ipv6),
        Value::Object(map) => map.values().any(has_ipv6),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_addresses_of_containers_count() {
        for (conf, expected) in [
            (
                json!({"ipam": {"ranges": [[{"subnet": "fd00::/64"}]]}}),
                true,
            ),
            (
                json!({"IPAM": {"addresses": [{"address": "fd00::2/64"}]}}),
                true,
            ),
            (
                json!({"runtimeConfig": {"ips": ["10.0.0.2/24", "fd00::2/64"]}}),
                true,
            ),
            (json!({"ipam": {"subnet": "10.0.0.0/24"}}), false),
            (
                json!({"runtimeConfig": {"mac": "02:00:00:00:00:01"}}),
                false,
            ),
            (json!({"dns": {"nameservers": ["fd00::1"]}}), false),
            (json!({}), false),
        ] {
            assert_eq!(is_configured(&conf), expected, "{conf}");
        }
    }
}
