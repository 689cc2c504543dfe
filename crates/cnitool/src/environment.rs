//! Networks, directories of plugins and arguments from the environment, under upstream's names.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Result, anyhow};
use clap_complete::CompletionCandidate;
use cni_core::quote::quote;
use libcni::{NetworkList, PluginConf, conf_files};
use serde_json::{Map, Value};

/// Where runtimes have the configuration of networks.
const CONFIG_DIR: &str = "/etc/cni/net.d";

/// Returns the directory of network configurations: `NETCONFPATH`, or [`CONFIG_DIR`].
pub(crate) fn config_dir() -> PathBuf {
    variable("NETCONFPATH").map_or_else(|| CONFIG_DIR.into(), PathBuf::from)
}

/// Returns the directories of plugins: those of `CNI_PATH`.
pub(crate) fn plugin_dirs() -> Vec<PathBuf> {
    match variable("CNI_PATH") {
        Some(list) => env::split_paths(&list).collect(),
        None => Vec::new(),
    }
}

/// Returns the name of the interface in the container.
pub(crate) fn if_name(option: Option<String>) -> String {
    let name = option.filter(|name| !name.is_empty());
    name.or_else(|| Some(variable("CNI_IFNAME")?.to_string_lossy().into_owned()))
        .unwrap_or_else(|| "eth0".into())
}

/// Returns the pairs of `CNI_ARGS`, such as `K8S_POD_NAME=web;IP=10.1.0.9`.
///
/// # Errors
///
/// For a piece that is not a name and a value, neither of them empty.
pub(crate) fn cni_args() -> Result<Vec<(String, String)>> {
    let Some(text) = variable("CNI_ARGS") else {
        return Ok(Vec::new());
    };
    let text = text.to_string_lossy();
    let pair = |piece: &str| match piece.split('=').collect::<Vec<_>>()[..] {
        [key, value] if !key.is_empty() && !value.is_empty() => Ok((key.into(), value.into())),
        _ => Err(anyhow!("invalid CNI_ARGS pair {}", quote(piece))),
    };
    text.split(';').map(pair).collect()
}

/// Returns the capability arguments of `CAP_ARGS`, a JSON object such as `{"mac": "02:00:00:00:00:01"}`.
///
/// # Errors
///
/// For any other text.
pub(crate) fn capability_args() -> Result<Map<String, Value>> {
    let Some(text) = variable("CAP_ARGS") else {
        return Ok(Map::new());
    };
    match serde_json::from_str(&text.to_string_lossy()) {
        Ok(Value::Object(arguments)) => Ok(arguments),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) => Err(anyhow!(
            "CAP_ARGS: a JSON object is needed, such as {{\"portMappings\": [...]}}"
        )),
        Err(error) => Err(anyhow!("CAP_ARGS: {error}")),
    }
}

/// Returns the networks of the host for completions. Files that cannot be read are left out.
pub(crate) fn networks() -> Vec<CompletionCandidate> {
    let files = |extensions: &[&str]| conf_files(&config_dir(), extensions).unwrap_or_default();
    let lists = files(&[".conflist"]).into_iter().filter_map(|file| {
        let list = NetworkList::from_file(&file).ok()?;
        Some(list.name)
    });
    let single = files(&[".conf", ".json"]).into_iter().filter_map(|file| {
        let plugin = PluginConf::from_file(&file).ok()?;
        Some(plugin.conf.name)
    });
    lists.chain(single).map(CompletionCandidate::new).collect()
}

/// Returns an environment variable that is not empty.
fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}
