//! Results of the plugins before a chained one, in each version's form.

use serde_json::{Value, json};

use crate::version::ordinal;

/// A result of version 1.0.0 in the form of `version`.
pub(crate) fn in_version(result: &Value, version: &str) -> Value {
    let mut result = result.clone();
    if ordinal(version) >= [1, 0, 0] {
        result["cniVersion"] = json!(version);
        return result;
    }
    let is_v6 = |ip: &Value| {
        ip["address"]
            .as_str()
            .is_some_and(|text| text.contains(':'))
    };
    let ips = result["ips"].as_array_mut();
    let ips: Vec<&mut Value> = ips.into_iter().flatten().collect();
    if ordinal(version) >= [0, 3, 0] {
        for ip in ips {
            ip["version"] = json!(if is_v6(ip) { "6" } else { "4" });
        }
        result["cniVersion"] = json!(version);
        result["dns"] = json!({});
        return result;
    }
    let mut old = json!({"cniVersion": version, "dns": {}});
    for ip in ips {
        let key = if is_v6(ip) { "ip6" } else { "ip4" };
        old[key] = json!({"ip": ip["address"], "gateway": ip["gateway"]});
    }
    old
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_has_its_own_form() {
        let result = json!({
            "interfaces": [{"name": "eth0"}],
            "ips": [{"address": "10.8.0.2/24", "gateway": "10.8.0.1", "interface": 0},
                    {"address": "fd00:8::2/64", "gateway": "fd00:8::1", "interface": 0}]
        });
        let new = in_version(&result, "1.1.0");
        assert_eq!(new["cniVersion"], "1.1.0");
        assert_eq!(new["ips"], result["ips"]);
        let middle = in_version(&result, "0.4.0");
        assert_eq!(middle["ips"][0]["version"], "4");
        assert_eq!(middle["ips"][1]["version"], "6");
        let old = in_version(&result, "0.2.0");
        assert_eq!(
            old,
            json!({
                "cniVersion": "0.2.0", "dns": {},
                "ip4": {"ip": "10.8.0.2/24", "gateway": "10.8.0.1"},
                "ip6": {"ip": "fd00:8::2/64", "gateway": "fd00:8::1"}
            })
        );
    }
}
