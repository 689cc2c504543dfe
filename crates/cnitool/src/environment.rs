//! Networks, directories of plugins and arguments from the environment, under upstream's names.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

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
    let lists = lists(&config_dir()).unwrap_or_default();
    let names = lists
        .into_iter()
        .filter_map(|(_, list)| Some(list.ok()?.name));
    names.map(CompletionCandidate::new).collect()
}

/// Returns the lists of a directory, and the single plugins as lists, in the order in which runtimes look for a network.
///
/// # Errors
///
/// When the directory cannot be read.
pub(crate) fn lists(dir: &Path) -> Result<Vec<(PathBuf, Result<NetworkList, libcni::Error>)>> {
    let single = |file: &Path| NetworkList::from_plugin(&PluginConf::from_file(file)?);
    let mut lists = Vec::new();
    for file in conf_files(dir, &[".conflist"])? {
        lists.push((file.clone(), NetworkList::from_file(&file)));
    }
    for file in conf_files(dir, &[".conf", ".json"])? {
        lists.push((file.clone(), single(&file)));
    }
    Ok(lists)
}

/// Returns an environment variable that is not empty.
fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}
