//! The keys that only this implementation knows: which addresses are taken, and when.

use std::time::Duration;

use anyhow::{Context as _, bail};
use cni_core::args::Args;

use super::Ipam;
use crate::index::hash;
use crate::range::{Exclusion, RangeSet};

/// Pairs of `CNI_ARGS` that make up the reservation key by default.
const KEY_NAMES: [&str; 2] = ["K8S_POD_NAMESPACE", "K8S_POD_NAME"];

/// Order in which the free addresses of a range set are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// From the address after the one reserved last.
    RoundRobin,
    /// From the first address.
    Sequential,
    /// From an address chosen at random.
    Random,
    /// The address that the reservation key had before; else as round robin, addresses of
    /// other keys last.
    Sticky,
}

/// The validated keys.
pub(super) struct Options {
    pub(super) exclude: Vec<Exclusion>,
    pub(super) strategy: Strategy,
    pub(super) cool_down: Option<Duration>,
    /// Names of `CNI_ARGS`; none unless the strategy is sticky.
    pub(super) key_names: Vec<String>,
}

impl Options {
    /// Validates the keys.
    ///
    /// # Errors
    /// When one is invalid.
    pub(super) fn new(ipam: &Ipam) -> anyhow::Result<Options> {
        let strategy = match ipam.strategy.as_str() {
            "" | "round-robin" => Strategy::RoundRobin,
            "sequential" => Strategy::Sequential,
            "random" => Strategy::Random,
            "sticky" => Strategy::Sticky,
            other => {
                bail!("ipam.strategy: {other:?} is none of round-robin, sequential, random, sticky")
            }
        };
        let seconds = ipam.cool_down.filter(|seconds| *seconds > 0);
        Ok(Options {
            exclude: exclusions(&ipam.exclude)?,
            strategy,
            cool_down: seconds.map(|seconds| Duration::from_secs(seconds.into())),
            key_names: key_names(&ipam.reservation_key, strategy)?,
        })
    }

    /// Returns the hash of the reservation key; `None` if the strategy is not sticky.
    ///
    /// # Errors
    /// When `CNI_ARGS` lacks a part of the key.
    pub(super) fn reservation_key(&self, args: &Args) -> Result<Option<u64>, String> {
        if self.strategy != Strategy::Sticky {
            return Ok(None);
        }
        let mut key = String::new();
        for name in &self.key_names {
            let value = args.get(name).filter(|value| !value.is_empty());
            let value = value.ok_or_else(|| {
                format!(
                    "ipam.strategy sticky: CNI_ARGS has no {name}, which is part of the reservation key; \
                     list names that the runtime sets in ipam.reservationKey, or use another strategy"
                )
            })?;
            // No value has a semicolon, which separates the pairs of CNI_ARGS.
            key.push_str(value);
            key.push(';');
        }
        Ok(Some(hash(&key)))
    }
}

fn exclusions(texts: &[Option<String>]) -> anyhow::Result<Vec<Exclusion>> {
    let mut all = Vec::with_capacity(texts.len());
    for (i, text) in texts.iter().enumerate() {
        let text = text.as_deref().unwrap_or_default();
        let exclusion = text.parse();
        all.push(exclusion.with_context(|| format!("ipam.exclude[{i}]"))?);
    }
    Ok(all)
}

fn key_names(names: &[Option<String>], strategy: Strategy) -> anyhow::Result<Vec<String>> {
    if strategy != Strategy::Sticky {
        if !names.is_empty() {
            bail!(
                "ipam.reservationKey: only the strategy sticky uses it; set ipam.strategy to sticky"
            );
        }
        return Ok(Vec::new());
    }
    if names.is_empty() {
        return Ok(KEY_NAMES.map(Into::into).into());
    }
    let mut all = Vec::with_capacity(names.len());
    for (i, name) in names.iter().enumerate() {
        match name.as_deref() {
            None | Some("") => {
                bail!("ipam.reservationKey[{i}]: empty, expected the name of a pair of CNI_ARGS")
            }
            Some(name) => all.push(name.to_owned()),
        }
    }
    Ok(all)
}

/// Returns the sets without the excluded addresses.
///
/// # Errors
/// When a set has no other addresses.
pub(super) fn without(sets: Vec<RangeSet>, exclude: &[Exclusion]) -> anyhow::Result<Vec<RangeSet>> {
    if exclude.is_empty() {
        return Ok(sets);
    }
    let mut all = Vec::with_capacity(sets.len());
    for (i, set) in sets.into_iter().enumerate() {
        let set = set.without(exclude);
        if set.capacity() == 0 {
            bail!("ipam.exclude leaves no address of range set {i}, {set}");
        }
        all.push(set);
    }
    Ok(all)
}
