//! The configuration of the bandwidth plugin.

#[cfg(test)]
mod tests;

use crate::subnets::Subnets;
use crate::token_bucket::{Clock, passes_anything, token_bucket};
use anyhow::{Context, bail};
use cni_core::quote::quote;
use cni_core::{Call, Code, Error, json};
use plugin_kit::detailed;
use rtnl::{QdiscKind, Tbf};
use serde::Deserialize;

/// The configuration, validated.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// Shaping of packets to the container; `None` is unlimited.
    pub ingress: Option<Tbf>,
    /// Shaping of packets from the container; `None` is unlimited.
    pub egress: Option<Tbf>,
    /// Subnets to select packets by; `None` shapes all packets.
    pub subnets: Option<Subnets>,
    /// Queue below the shaper; `None` is the kernel's FIFO.
    pub queue: Option<QdiscKind>,
    /// Whether `latency` was given.
    pub has_latency: bool,
}

/// Smallest burst in bits that means "no burst configured": containerd sends this for a
/// pod that is annotated with a rate only, CRI-O eight times as much.
const PLACEHOLDER: u64 = 4_294_967_295;

/// With `burst` `"auto"` the bucket holds the bytes of this fraction of a second, at
/// least [`LEAST_AUTO`].
const AUTO_PART: u64 = 100;

/// The largest packet that the kernel passes to a link with segmentation offload. A
/// smaller bucket forces the kernel to segment it before the qdisc.
const LEAST_AUTO: u64 = 65_536;

/// The JSON keys.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Raw {
    latency: Option<String>,
    burst: Option<String>,
    queue: Option<String>,
    runtime_config: RuntimeConfig,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RuntimeConfig {
    bandwidth: Option<Entry>,
}

/// The keys that both the network and the runtime can set.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Entry {
    ingress_rate: u64,
    ingress_burst: u64,
    egress_rate: u64,
    egress_burst: u64,
    shaped_subnets: Vec<String>,
    unshaped_subnets: Vec<String>,
}

/// The keys that, if the network has any of them, disable all of the runtime's.
const RATES: [&str; 4] = ["ingressRate", "ingressBurst", "egressRate", "egressBurst"];

impl Config {
    /// Decodes and validates the configuration of `call`.
    ///
    /// # Errors
    /// When a value is malformed or out of range.
    pub fn load(call: &Call) -> anyhow::Result<Config> {
        let parse = "failed to parse network configuration";
        let raw: Raw = call.config().context(parse)?;
        let own: Entry = call.config().context(parse)?;
        let is_own = RATES.iter().any(|key| json::has_key(&call.conf, key));
        Config::new(raw, own, is_own)
    }

    fn new(raw: Raw, own: Entry, is_own: bool) -> anyhow::Result<Config> {
        let runtime = raw.runtime_config.bandwidth.unwrap_or_default();
        let subnets = match runtime.shaped_subnets.is_empty() && runtime.unshaped_subnets.is_empty()
        {
            false if !is_own => Subnets::new(&runtime.shaped_subnets, &runtime.unshaped_subnets),
            _ => Subnets::new(&own.shaped_subnets, &own.unshaped_subnets),
        }?;
        let entry = if is_own { own } else { runtime };
        let latency = raw.latency.as_deref().map(latency).transpose()?;
        let bucket = Bucket {
            auto: auto_burst(raw.burst.as_deref())?,
            latency,
        };
        Ok(Config {
            ingress: bucket.of("ingress", entry.ingress_rate, entry.ingress_burst)?,
            egress: bucket.of("egress", entry.egress_rate, entry.egress_burst)?,
            subnets,
            queue: queue(raw.queue.as_deref())?,
            has_latency: latency.is_some(),
        })
    }

    /// Whether neither direction is shaped.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.ingress.is_none() && self.egress.is_none()
    }
}

/// Converts a rate and a burst into a token bucket.
#[derive(Clone, Copy)]
struct Bucket {
    auto: bool,
    latency: Option<f64>,
}

impl Bucket {
    /// The bucket for `rate` and `burst` in bits; `None` if both are 0.
    fn of(self, way: &str, rate: u64, burst: u64) -> anyhow::Result<Option<Tbf>> {
        let (bytes, mut burst_bytes) = (rate / 8, burst / 8);
        if rate == 0 && burst == 0 {
            return Ok(None);
        }
        if rate == 0 {
            return Err(detailed(
                "if burst is set, rate must also be set",
                format!("{way}Burst is {burst}, {way}Rate is not set"),
            ));
        }
        if self.auto && (burst == 0 || burst >= PLACEHOLDER) {
            burst_bytes = (bytes / AUTO_PART).clamp(LEAST_AUTO, u64::from(u32::MAX) - 1);
        } else if burst == 0 {
            return Err(detailed(
                "if rate is set, burst must also be set",
                format!(
                    "{way}Rate is {rate}, {way}Burst is not set; set it, or set \"burst\" to \"auto\""
                ),
            ));
        }
        if burst_bytes >= u64::from(u32::MAX) {
            return Err(detailed(
                "burst cannot be more than 4GB",
                format!("{way}Burst is {burst} bit"),
            ));
        }
        if bytes == 0 {
            bail!("{way}Rate {rate} is out of range (8 bit/s or more)");
        }
        let burst_bytes = u32::try_from(burst_bytes)?;
        let bucket = token_bucket(bytes, burst_bytes, self.latency, Clock::of_kernel());
        if !passes_anything(&bucket) {
            bail!(
                "{way}Burst {burst} is too small for a rate of {rate} bit/s: no packet would pass; \
                 allow at least one packet of 12000 bit"
            );
        }
        Ok(Some(bucket))
    }
}

/// The error of a key that upstream does not have.
fn invalid(text: String) -> anyhow::Error {
    Error::new(Code::INVALID_NETWORK_CONFIG, text).into()
}

fn auto_burst(burst: Option<&str>) -> anyhow::Result<bool> {
    match burst {
        None => Ok(false),
        Some("auto") => Ok(true),
        Some(other) => Err(invalid(format!(
            "burst: {}: it must be \"auto\"; bursts in bits are ingressBurst and egressBurst",
            quote(other)
        ))),
    }
}

fn queue(queue: Option<&str>) -> anyhow::Result<Option<QdiscKind>> {
    Ok(match queue {
        None | Some("fifo") => None,
        Some("fq_codel") => Some(QdiscKind::FqCodel),
        Some("fq") => Some(QdiscKind::Fq),
        Some(other) => {
            return Err(invalid(format!(
                "queue: {}: it must be \"fifo\", \"fq_codel\" or \"fq\"",
                quote(other)
            )));
        }
    })
}

/// Parses a duration such as `25ms` into microseconds.
fn latency(text: &str) -> anyhow::Result<f64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "us" => Some(1),
        "ms" => Some(1_000),
        "s" => Some(1_000_000),
        _ => None,
    };
    // More than a minute is certainly a mistake.
    let microseconds = unit
        .zip(digits.parse::<u32>().ok())
        .map(|(unit, number)| u64::from(number) * unit)
        .filter(|microseconds| (1..=60_000_000).contains(microseconds));
    match microseconds {
        Some(microseconds) => Ok(microseconds as f64),
        None => Err(invalid(format!(
            "latency: {}: it must be a whole number with a unit, from \"1us\" to \"60s\", \
             for example \"25ms\"",
            quote(text)
        ))),
    }
}
