//! Records of calls.

use std::path::PathBuf;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cni_core::Call;
use cni_core::skel::Env;
use serde::{Deserialize, Serialize};

/// The arguments of a call, with the keys of upstream's `CmdArgs`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Arguments {
    #[serde(rename = "ContainerID")]
    container_id: String,
    netns: String,
    if_name: String,
    args: String,
    path: String,
    netns_override: String,
    /// In base64.
    stdin_data: String,
}

/// An entry of the log.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    command: String,
    cmd_args: Arguments,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Config {
    command_log: PathBuf,
}

impl Arguments {
    pub(crate) fn of(env: &Env, call: &Call) -> Arguments {
        let text = |value: &std::ffi::OsString| value.to_string_lossy().into_owned();
        Arguments {
            container_id: text(&env.container_id),
            netns: text(&env.netns),
            if_name: text(&env.if_name),
            args: text(&env.args),
            path: text(&env.path),
            netns_override: text(&env.netns_override),
            stdin_data: STANDARD.encode(&call.stdin),
        }
    }
}

/// Appends the call to the JSON array in the file that `commandLog` names, which must exist and may be empty.
pub(crate) fn append_to_log(env: &Env, call: &Call) -> anyhow::Result<()> {
    let Config { command_log: path } = call.config()?;
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    let context = || format!("commandLog {}", path.display());
    let bytes = std::fs::read(&path).with_context(context)?;
    let mut entries: Vec<Entry> = match bytes.is_empty() {
        true => Vec::new(),
        false => serde_json::from_slice(&bytes).with_context(context)?,
    };
    entries.push(Entry {
        command: call.command.name().to_owned(),
        cmd_args: Arguments::of(env, call),
    });
    std::fs::write(&path, serde_json::to_vec(&entries)?).with_context(context)
}
