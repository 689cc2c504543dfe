//! Configurations as plugins receive them (specification, section "Deriving request
//! configuration from plugin configuration").

use crate::{Attachment, Error, NetworkList, PluginConf, PluginResult};
use cni_core::types;
use serde_json::{Map, Value, json};

/// Returns the configuration for GC and STATUS, or the beginning of that of an attachment.
fn keys(list: &NetworkList) -> Vec<(&'static str, Value)> {
    vec![
        ("name", list.name.as_str().into()),
        ("cniVersion", list.cni_version.as_str().into()),
    ]
}

/// Returns the configuration for STATUS.
pub(crate) fn of_network(list: &NetworkList, plugin: &PluginConf) -> Vec<u8> {
    plugin.with(keys(list))
}

/// Returns the configuration for GC. Without `valid`, the plugin is not told which
/// attachments are valid.
pub(crate) fn of_gc(
    list: &NetworkList,
    plugin: &PluginConf,
    valid: Option<&[types::Attachment]>,
) -> Vec<u8> {
    let mut keys = keys(list);
    if let Some(valid) = valid {
        let entry = |one: &types::Attachment| json!({"containerID": one.container_id, "ifname": one.if_name});
        let list: Value = valid.iter().map(entry).collect();
        keys.push(("cni.dev/valid-attachments", list.clone()));
        // The key of the first text of the specification's version.
        keys.push(("cni.dev/attachments", list));
    }
    plugin.with(keys)
}

/// Returns the configuration for ADD, CHECK and DEL: with the result of the previous plugin
/// and the values of the capabilities that the plugin declares.
///
/// # Errors
/// When the result cannot be written in its version.
pub(crate) fn of_attachment(
    list: &NetworkList,
    plugin: &PluginConf,
    attachment: &Attachment,
    prev_result: Option<&PluginResult>,
) -> Result<Vec<u8>, Error> {
    let mut keys = keys(list);
    if let Some(result) = prev_result {
        keys.push(("prevResult", result.to_value()?));
    }
    let mut runtime_config: Map<String, Value> = attachment
        .capability_args
        .iter()
        .filter(|(name, _)| plugin.has_capability(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    // Otherwise one that the file has stays.
    if !runtime_config.is_empty() {
        // The order inside of a value is the caller's.
        runtime_config.sort_keys();
        keys.push(("runtimeConfig", runtime_config.into()));
    }
    Ok(plugin.with(keys))
}
