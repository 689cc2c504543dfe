//! The keys that configurations of all plugins have in common.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::Dns;
use crate::json;

/// The `ipam` object of a configuration, as far as the plugin that delegates to the
/// IPAM plugin needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct IpamRef {
    /// `type`: the IPAM plugin's executable; empty means no IPAM.
    #[serde(rename = "type")]
    pub kind: String,
}

/// The configuration keys the specification defines for every plugin (section
/// "Plugin configuration objects").
///
/// To be decoded from the same document in addition to a plugin's own struct, see
/// [`json::decode`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NetConf {
    /// Version of the specification; empty means 0.1.0.
    #[serde(rename = "cniVersion")]
    pub cni_version: String,
    /// The network's name.
    pub name: String,
    /// `type`: the plugin's executable.
    #[serde(rename = "type")]
    pub kind: String,
    /// Capabilities that the runtime may pass in `runtimeConfig`; only `true` entries count.
    pub capabilities: BTreeMap<String, bool>,
    /// The IPAM plugin to delegate to.
    pub ipam: IpamRef,
    /// DNS configuration for the result.
    pub dns: Dns,
    /// The result of the previous plugin, not validated; see [`Call::prev_result`](crate::Call::prev_result).
    #[serde(rename = "prevResult")]
    pub prev_result: Option<serde_json::Map<String, Value>>,
}

/// One attachment of a network: a container and its interface.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
pub struct Attachment {
    /// `CNI_CONTAINERID` of its ADD.
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// `CNI_IFNAME` of its ADD.
    #[serde(rename = "ifname")]
    pub if_name: String,
}

/// Returns the attachments that are still valid, for GC.
///
/// `None` means that the key is missing: the valid attachments are unknown, and nothing may
/// be collected. `null` is an empty list, as encoded by a runtime written in Go. The key of
/// the first text of specification 1.1.0, `cni.dev/attachments`, is read if
/// `cni.dev/valid-attachments` is missing.
///
/// # Errors
/// When the value is not a list of `{"containerID": …, "ifname": …}`. An entry without
/// one of the two is refused, since it could stand for another attachment.
pub fn valid_attachments(conf: &Value) -> Result<Option<Vec<Attachment>>, json::Error> {
    for key in ["cni.dev/valid-attachments", "cni.dev/attachments"] {
        if let Some(list) = json::get(conf, key) {
            return json::decode(list).map(Some).map_err(|e| e.in_key(key));
        }
        if json::has_key(conf, key) {
            return Ok(Some(Vec::new()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn decodes_the_common_keys() {
        let conf = json!({
            "cniVersion": "1.0.0", "NAME": "net", "type": "ptp", "capabilities": {"mac": true},
            "ipam": {"type": "host-local", "ranges": []}, "dns": {"Search": ["a"], "domain": null},
            "other": 1,
        });
        let conf: NetConf = json::decode(&conf).unwrap();
        assert_eq!(conf.cni_version, "1.0.0");
        assert_eq!(conf.name, "net");
        assert_eq!(conf.kind, "ptp");
        assert_eq!(conf.capabilities.get("mac"), Some(&true));
        assert_eq!(conf.ipam.kind, "host-local");
        assert_eq!(conf.dns.search, ["a"]);
        let empty: NetConf = json::decode(&json!({"ipam": null, "dns": null})).unwrap();
        assert_eq!(empty, NetConf::default());
    }

    #[test]
    fn errors_name_the_key() {
        let error = |v| json::decode::<NetConf>(&v).unwrap_err().to_string();
        assert_eq!(
            error(json!({"IPAM": []})),
            "IPAM: expected an object, got array"
        );
        assert_eq!(
            error(json!({"ipam": {"type": 1}})),
            "ipam.type: expected a string, got number"
        );
        assert_eq!(
            error(json!({"dns": {"search": ["a", 1]}})),
            "dns.search[1]: expected a string, got number"
        );
    }

    #[test]
    fn a_missing_list_differs_from_an_empty_one() {
        assert_eq!(valid_attachments(&json!({})), Ok(None));
        for none in [
            json!({"cni.dev/valid-attachments": []}),
            json!({"cni.dev/valid-attachments": null}),
            json!({"cni.dev/attachments": null}),
        ] {
            assert_eq!(valid_attachments(&none), Ok(Some(vec![])), "{none}");
        }
        let list = json!([{"containerID": "a", "ifname": "eth0"}]);
        let expected = Ok(Some(vec![Attachment {
            container_id: "a".into(),
            if_name: "eth0".into(),
        }]));
        assert_eq!(
            valid_attachments(&json!({"cni.dev/valid-attachments": list})),
            expected
        );
        assert_eq!(
            valid_attachments(&json!({"cni.dev/attachments": list})),
            expected
        );
        assert_eq!(
            valid_attachments(&json!({
                "cni.dev/attachments": list, "cni.dev/valid-attachments": []
            })),
            Ok(Some(vec![]))
        );
    }

    #[test]
    fn incomplete_attachments_are_refused() {
        let error = |list: Value| {
            valid_attachments(&json!({"cni.dev/valid-attachments": list}))
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            error(json!([{"containerID": "a"}])),
            "cni.dev/valid-attachments[0]: missing key \"ifname\""
        );
        assert_eq!(
            error(json!({})),
            "cni.dev/valid-attachments: expected an array, got object"
        );
        assert_eq!(
            error(json!([null])),
            "cni.dev/valid-attachments[0]: expected an object, got null"
        );
    }
}
