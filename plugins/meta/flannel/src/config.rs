//! Configuration of the plugin.

use anyhow::{Context, bail};
use cni_core::{Call, json};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::PathBuf;

/// Default of `subnetFile`, which the daemon writes.
const SUBNET_FILE: &str = "/run/flannel/subnet.env";
/// Default of `dataDir`, in which ADD records the configuration of the delegate.
const DATA_DIR: &str = "/var/lib/cni/flannel";

/// The configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The daemon's file.
    pub subnet_file: PathBuf,
    /// The directory of the state.
    pub data_dir: PathBuf,
    /// Base of the delegate's configuration.
    pub delegate: Map<String, Value>,
    /// Base of its `ipam`.
    pub ipam: Map<String, Value>,
    /// Copied to the delegate's configuration.
    pub runtime_config: Option<Map<String, Value>>,
    /// Copied to the delegate's configuration unless it has its own.
    pub args: Option<Value>,
}

/// The keys as written.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Raw {
    subnet_file: String,
    data_dir: String,
    delegate: Map<String, Value>,
    ipam: Map<String, Value>,
    runtime_config: Option<Map<String, Value>>,
    args: Option<Value>,
}

impl Config {
    /// Decodes and validates the configuration of `call`.
    ///
    /// # Errors
    /// When a value has the wrong type, or `delegate` has a key that flannel sets.
    pub fn load(call: &Call) -> anyhow::Result<Config> {
        let raw: Raw = call.config().context("failed to load netconf")?;
        let config = Config::new(raw);
        // Keys in there are the delegate's and match exactly, as upstream has it.
        if config
            .delegate
            .get("type")
            .is_some_and(|kind| !kind.is_string())
        {
            bail!("'delegate' dictionary, if present, must have (string) 'type' field");
        }
        for key in ["name", "ipam"] {
            if config.delegate.contains_key(key) {
                bail!("'delegate' dictionary must not have '{key}' field, it'll be set by flannel");
            }
        }
        if config.delegate.get("type").and_then(Value::as_str) == Some("flannel") {
            bail!(
                "delegate.type: flannel would call itself for ever; name the plugin that makes the interface"
            );
        }
        Ok(config)
    }

    /// The same for DEL, which must not fail: values of the wrong type are ignored.
    pub fn load_for_del(call: &Call) -> Config {
        let text = |key| {
            let value = json::get(&call.conf, key).and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        let object = |key| {
            json::get(&call.conf, key)
                .and_then(Value::as_object)
                .cloned()
        };
        let mut delegate = object("delegate").unwrap_or_default();
        for key in ["name", "ipam"] {
            delegate.shift_remove(key);
        }
        if delegate
            .get("type")
            .is_none_or(|kind| !kind.is_string() || kind == "flannel")
        {
            delegate.shift_remove("type");
        }
        Config::new(Raw {
            subnet_file: text("subnetFile"),
            data_dir: text("dataDir"),
            delegate,
            ipam: object("ipam").unwrap_or_default(),
            runtime_config: object("runtimeConfig"),
            args: None,
        })
    }

    fn new(raw: Raw) -> Config {
        let path = |text: String, default: &str| match text.is_empty() {
            true => PathBuf::from(default),
            false => PathBuf::from(text),
        };
        Config {
            subnet_file: path(raw.subnet_file, SUBNET_FILE),
            data_dir: path(raw.data_dir, DATA_DIR),
            delegate: raw.delegate,
            ipam: raw.ipam,
            runtime_config: raw.runtime_config,
            args: raw.args,
        }
    }
}
