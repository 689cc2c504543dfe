//! The configuration of the tuning plugin.

use crate::duplicates;
use crate::link::Attributes;
use crate::sysctl::{IFNAME, Sysctl};
use anyhow::{Context, anyhow, bail};
use cni_core::Call;
use cni_core::quote::quote;
use plugin_kit::{MacAddress, detailed};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::path::PathBuf;

/// Default of `dataDir`, the directory of the backups.
const DATA_DIR: &str = "/run/cni/tuning";

/// The configuration, validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The sysctls to set, in the order of the configuration.
    pub sysctls: Vec<Sysctl>,
    /// The attributes to set on the interface.
    pub link: Attributes,
    /// The directory of the backups.
    pub data_dir: PathBuf,
}

/// The JSON keys.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Raw {
    sysctl: Pairs,
    mac: String,
    mtu: i64,
    promisc: bool,
    allmulti: Option<bool>,
    #[serde(rename = "txQLen")]
    tx_q_len: Option<i64>,
    runtime_config: RuntimeConfig,
    args: Args,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RuntimeConfig {
    mac: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Args {
    cni: CniArgs,
}

/// The settings of one container, which override all others.
#[derive(Default, Deserialize)]
#[serde(default)]
struct CniArgs {
    sysctl: Pairs,
    mac: Option<String>,
    mtu: Option<i64>,
    promisc: Option<bool>,
    allmulti: Option<bool>,
    #[serde(rename = "txQLen")]
    tx_q_len: Option<i64>,
}

/// The only key that DEL and GC need.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DataDir {
    data_dir: String,
}

/// A JSON object of strings in document order.
#[derive(Default)]
struct Pairs(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

impl Config {
    /// Decodes and validates the configuration of `call`, `CNI_ARGS` included.
    ///
    /// # Errors
    /// When a value is malformed or out of range, or a sysctl is given twice.
    pub fn load(call: &Call) -> anyhow::Result<Config> {
        duplicates::refuse(&call.stdin)?;
        let raw: Raw = call.config().context("failed to load netconf")?;
        let args = match call.args.is_empty() {
            true => None,
            false => Some(call.parse_args(&["MAC"])?),
        };
        let by_args = args.as_ref().and_then(|args| args.get("MAC"));
        let cni = raw.args.cni;
        // The last one wins. An empty one counts only in `args.cni`.
        let said = [by_args.unwrap_or(""), &raw.runtime_config.mac];
        let said = said.into_iter().rfind(|mac| !mac.is_empty());
        let mac = cni.mac.as_deref().or(said).unwrap_or(&raw.mac);
        let mtu = cni.mtu.unwrap_or(raw.mtu);
        // STATUS has no interface.
        let if_name = match call.if_name.as_str() {
            "" => IFNAME,
            name => name,
        };
        Ok(Config {
            sysctls: sysctls(raw.sysctl, cni.sysctl, if_name)?,
            link: Attributes {
                mac: hardware_address(mac)?,
                // As with upstream, `false` means unchanged.
                promisc: cni.promisc.unwrap_or(raw.promisc).then_some(true),
                mtu: number("mtu", mtu)?.filter(|mtu| *mtu != 0),
                allmulti: cni.allmulti.or(raw.allmulti),
                txqlen: match cni.tx_q_len.or(raw.tx_q_len) {
                    Some(len) => number("txQLen", len)?,
                    None => None,
                },
            },
            data_dir: data_dir(call)?,
        })
    }
}

/// The directory of the backups. DEL and GC read only this key, so that no other can make
/// them fail.
///
/// # Errors
/// When `dataDir` is not a string.
pub(crate) fn data_dir(call: &Call) -> anyhow::Result<PathBuf> {
    let config: DataDir = call.config().context("failed to load netconf")?;
    Ok(match config.data_dir.as_str() {
        "" => DATA_DIR.into(),
        given => given.into(),
    })
}

fn hardware_address(text: &str) -> anyhow::Result<Option<MacAddress>> {
    if text.is_empty() {
        return Ok(None);
    }
    let mac = text.parse();
    mac.map(Some)
        .map_err(|e: cni_core::Error| anyhow!("invalid args {text} for MAC addr: {e}"))
}

fn number(key: &str, value: i64) -> anyhow::Result<Option<u32>> {
    // The kernel's numbers are signed.
    match u32::try_from(value) {
        Ok(number) if number <= i32::MAX as u32 => Ok(Some(number)),
        _ => bail!("invalid {key} {value}, must be [0, {}]", i32::MAX),
    }
}

/// The sysctls of the network, overridden and extended by those of the container.
fn sysctls(network: Pairs, container: Pairs, if_name: &str) -> anyhow::Result<Vec<Sysctl>> {
    let mut all = distinct(network, if_name)?;
    for own in distinct(container, if_name)? {
        match all.iter_mut().find(|sysctl| sysctl.is_same(&own)) {
            Some(sysctl) => *sysctl = own,
            None => all.push(own),
        }
    }
    Ok(all)
}

/// Refuses two spellings of one sysctl with different values in one object.
fn distinct(pairs: Pairs, if_name: &str) -> anyhow::Result<Vec<Sysctl>> {
    let mut all: Vec<Sysctl> = Vec::with_capacity(pairs.0.len());
    for (key, value) in pairs.0 {
        let sysctl = Sysctl::new(key, value, if_name)?;
        match all.iter().find(|other| other.is_same(&sysctl)) {
            None => all.push(sysctl),
            Some(other) if other.value == sysctl.value => {}
            Some(other) => {
                let (one, another) = (quote(&other.key), quote(&sysctl.key));
                return Err(detailed(
                    duplicates::DUPLICATED,
                    format!("{one} and {another} are the same sysctl"),
                ));
            }
        }
    }
    Ok(all)
}
