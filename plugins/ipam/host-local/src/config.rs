//! Configuration of the plugin.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use cni_core::cidr::deserialize_optional_ip;
use cni_core::confine::{Capability, Needs};
use cni_core::{Call, Cidr, Command, Route, Version, json};
use serde::de::{Deserialize, Deserializer, Error as _};

use crate::index::{BOOT_ID, hash};
use crate::origin::MACHINE_ID;
use crate::range::{RangeSet, RangeSpec, SubnetText};

mod options;
mod requested;

pub(crate) use options::Strategy;
use options::{Options, without};
use requested::RequestedIp;

/// Default of `dataDir`, which holds the networks' directories.
const DEFAULT_DATA_DIR: &str = "/var/lib/cni/networks";

/// A validated configuration.
#[derive(Debug)]
pub(crate) struct Config {
    /// Range sets, from each of which one address is allocated. Never empty, except for
    /// STATUS.
    pub(crate) sets: Vec<RangeSet>,
    /// The requested addresses, each once, in the order of the request.
    pub(crate) requested: Vec<IpAddr>,
    /// Routes, which are copied to the result.
    pub(crate) routes: Vec<Route>,
    /// File with the `dns` of the result, in the format of resolv.conf(5).
    pub(crate) resolv_conf: Option<PathBuf>,
    /// The network's directory.
    pub(crate) directory: PathBuf,
    /// Order in which free addresses are tried.
    pub(crate) strategy: Strategy,
    /// Hash of the attachment's reservation key, for [`Strategy::Sticky`], or the error of
    /// ADD if `CNI_ARGS` lacks it.
    pub(crate) reservation_key: Result<Option<u64>, String>,
    /// How long an address that was freed is not used again.
    pub(crate) cool_down: Option<Duration>,
    /// Whether addresses of containers that are certainly gone are reclaimed.
    pub(crate) reclaim: bool,
}

impl Config {
    /// Reads and validates what ADD and CHECK need.
    ///
    /// # Errors
    /// When a key is missing or invalid, in upstream's words.
    pub(crate) fn read(call: &Call) -> anyhow::Result<Config> {
        let args = call.args.to_string_lossy();
        let mut config = Config::new(&call.conf, &call.name, call.version, &args)?;
        if config.sets.is_empty() {
            bail!("no IP ranges specified");
        }
        // Interfaces of one container have addresses of their own.
        config.reservation_key = config
            .reservation_key
            .map(|key| key.map(|key| hash(&format!("{key:x}/{}", call.if_name))));
        Ok(config)
    }

    /// Reads what STATUS needs. It is called without `runtimeConfig`, so a configuration
    /// whose ranges all come from the runtime has none.
    ///
    /// # Errors
    /// As for [`Config::read`].
    pub(crate) fn read_for_status(call: &Call) -> anyhow::Result<Config> {
        Config::new(&call.conf, &call.name, call.version, "")
    }

    fn new(
        conf: &serde_json::Value,
        name: &str,
        version: Version,
        args: &str,
    ) -> anyhow::Result<Config> {
        let conf: Document = json::decode(conf)?;
        let ipam = conf.ipam.context("IPAM config missing 'ipam' key")?;
        let options = Options::new(&ipam)?;
        let known: Vec<&str> = options.key_names.iter().map(String::as_str).collect();
        let args = cni_core::args::Args::parse(args, &[&["IP"], &known[..]].concat())?;
        let from_args = args.get_with("IP", RequestedIp::parse)?;
        let from_args = from_args.filter(|ip| ip.0.is_some());
        let requested = requested::merge([
            ("CNI_ARGS IP", from_args.map(Some).into_iter().collect()),
            ("args.cni.ips", conf.args.cni.ips),
            ("runtimeConfig.ips", conf.runtime_config.ips),
        ])?;
        let legacy = ipam.legacy_range().map(|range| Some(vec![Some(range)]));
        let sets = conf
            .runtime_config
            .ip_ranges
            .into_iter()
            .chain(legacy)
            .chain(ipam.ranges);
        Ok(Config {
            sets: without(range_sets(sets, version)?, &options.exclude)?,
            requested,
            routes: ipam.routes,
            resolv_conf: (!ipam.resolv_conf.is_empty()).then(|| ipam.resolv_conf.into()),
            directory: directory(&ipam.data_dir, name),
            strategy: options.strategy,
            reservation_key: options.reservation_key(&args),
            cool_down: options.cool_down,
            reclaim: ipam.reclaim.unwrap_or(true),
        })
    }
}

/// Returns the network's directory, and whether there is a cool-down. DEL and GC read no
/// other keys, so that they free addresses even if the configuration has become invalid.
///
/// # Errors
/// When there is no `ipam` or its `dataDir` is not a string.
pub(crate) fn of_release(call: &Call) -> anyhow::Result<(PathBuf, bool)> {
    #[derive(serde::Deserialize)]
    struct Document {
        ipam: Option<Ipam>,
    }
    #[derive(serde::Deserialize)]
    struct Ipam {
        #[serde(rename = "dataDir", default)]
        data_dir: String,
        #[serde(rename = "coolDown", default)]
        cool_down: serde_json::Value,
    }
    let conf: Document = call.config()?;
    let ipam = conf.ipam.context("IPAM config missing 'ipam' key")?;
    let cools_down = ipam.cool_down.as_u64().is_some_and(|seconds| seconds > 0);
    Ok((directory(&ipam.data_dir, &call.name), cools_down))
}

/// Returns what a call needs: the network's directory, which may belong to another user,
/// what ADD reads, and the right to ask which namespaces exist.
pub(crate) fn needs(call: &Call) -> Needs {
    let needs = Needs::none()
        .capability(Capability::DacOverride)
        .capability(Capability::SysAdmin)
        .read(BOOT_ID)
        .read(MACHINE_ID);
    // An invalid configuration needs nothing else.
    let needs = match of_release(call) {
        Ok((directory, _)) => needs.write(directory),
        Err(_) => needs,
    };
    let needs = match call.command {
        Command::Gc => needs.write("/run/cni"),
        _ => needs,
    };
    let ipam = json::get(&call.conf, "ipam");
    match ipam.and_then(|ipam| json::get(ipam, "resolvConf")?.as_str()) {
        Some(path) => needs.read(path),
        None => needs,
    }
}

fn directory(data_dir: &str, name: &str) -> PathBuf {
    let parent = if data_dir.is_empty() {
        DEFAULT_DATA_DIR
    } else {
        data_dir
    };
    PathBuf::from(parent).join(name)
}

/// Validates each set, and that sets do not overlap.
fn range_sets(
    configured: impl Iterator<Item = ConfiguredSet>,
    version: Version,
) -> anyhow::Result<Vec<RangeSet>> {
    let mut sets: Vec<RangeSet> = Vec::new();
    for (i, set) in configured.enumerate() {
        let specs: Vec<RangeSpec> = set
            .unwrap_or_default()
            .into_iter()
            .map(|range| range.map(RangeSpec::from).unwrap_or_default())
            .collect();
        let set = RangeSet::new(&specs).with_context(|| format!("invalid range set {i}"))?;
        sets.push(set);
    }
    let ipv4 = sets.iter().filter(|set| set.is_ipv4()).count();
    if version < Version::V0_3_0 && (ipv4 > 1 || sets.len() - ipv4 > 1) {
        bail!("CNI version {version} does not support more than 1 address per family");
    }
    for (i, a) in sets.iter().enumerate() {
        if let Some(j) = sets.iter().skip(i + 1).position(|b| a.overlaps(b)) {
            bail!("range set {i} overlaps with {}", i + 1 + j);
        }
    }
    Ok(sets)
}

/// A range set as configured. `null` stands for an empty set, a `null` element for a
/// range without keys.
type ConfiguredSet = Option<Vec<Option<ConfiguredRange>>>;

#[derive(serde::Deserialize)]
struct Document {
    ipam: Option<Ipam>,
    #[serde(rename = "runtimeConfig", default)]
    runtime_config: RuntimeConfig,
    #[serde(default)]
    args: DocumentArgs,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct RuntimeConfig {
    ips: Vec<Option<RequestedIp>>,
    #[serde(rename = "ipRanges")]
    ip_ranges: Vec<ConfiguredSet>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct DocumentArgs {
    cni: CniArgs,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct CniArgs {
    ips: Vec<Option<RequestedIp>>,
}

#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Ipam {
    ranges: Vec<ConfiguredSet>,
    subnet: Option<Subnet>,
    #[serde(deserialize_with = "deserialize_optional_ip")]
    range_start: Option<IpAddr>,
    #[serde(deserialize_with = "deserialize_optional_ip")]
    range_end: Option<IpAddr>,
    #[serde(deserialize_with = "deserialize_optional_ip")]
    gateway: Option<IpAddr>,
    routes: Vec<Route>,
    data_dir: String,
    resolv_conf: String,
    exclude: Vec<Option<String>>,
    strategy: String,
    reservation_key: Vec<Option<String>>,
    cool_down: Option<u32>,
    reclaim: Option<bool>,
}

impl Ipam {
    /// Returns the range given by the keys of `ipam` itself, which are older than
    /// `ranges`. Without `subnet` the other three are ignored.
    fn legacy_range(&self) -> Option<ConfiguredRange> {
        self.subnet.map(|subnet| ConfiguredRange {
            subnet: Some(subnet),
            range_start: self.range_start,
            range_end: self.range_end,
            gateway: self.gateway,
        })
    }
}

#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ConfiguredRange {
    subnet: Option<Subnet>,
    #[serde(deserialize_with = "deserialize_optional_ip")]
    range_start: Option<IpAddr>,
    #[serde(deserialize_with = "deserialize_optional_ip")]
    range_end: Option<IpAddr>,
    #[serde(deserialize_with = "deserialize_optional_ip")]
    gateway: Option<IpAddr>,
}

impl From<ConfiguredRange> for RangeSpec {
    fn from(range: ConfiguredRange) -> RangeSpec {
        RangeSpec {
            subnet: range.subnet.map(|subnet| subnet.0),
            start: range.range_start,
            end: range.range_end,
            gateway: range.gateway,
        }
    }
}

#[derive(Clone, Copy)]
struct Subnet(SubnetText);

impl<'de> Deserialize<'de> for Subnet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let cidr: Cidr = text.parse().map_err(D::Error::custom)?;
        Ok(Subnet(SubnetText {
            cidr,
            mapped: cidr.is_ipv4() && text.contains(':'),
        }))
    }
}

#[cfg(test)]
mod tests;
