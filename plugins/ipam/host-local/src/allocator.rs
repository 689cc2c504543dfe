//! Allocation of addresses from range sets.

use std::net::IpAddr;

use anyhow::{Context as _, anyhow, bail};
use cni_core::{Code, Error, IpConfig};

use crate::config::Config;
use crate::range::RangeSet;
use crate::store::{Holding, Owner, Store};

/// How many candidates are tried against the directory before everything that is
/// taken is listed. In round robin the first one is free unless the pool is
/// crowded, and listing costs as much as some dozens of tries.
const BLIND_TRIES: usize = 8;

/// How many holders the error of an exhausted range names.
const HOLDERS_NAMED: usize = 3;

/// Reserves one address of every range set for `owner`, the requested ones where they
/// belong.
///
/// # Errors
/// As for [`allocate`], and when a requested address belongs to no set.
/// If an earlier set had succeeded, all addresses of the owner are freed, as upstream
/// does; else those it held before stay.
pub(crate) fn allocate_all(
    store: &mut Store,
    owner: &Owner,
    config: &Config,
) -> anyhow::Result<Vec<IpConfig>> {
    let mut requested = config.requested.clone();
    let mut ips = Vec::with_capacity(config.sets.len());
    for (index, set) in config.sets.iter().enumerate() {
        let fitting = requested.iter().position(|ip| set.contains(*ip));
        let fitting = fitting.map(|at| requested.remove(at));
        match allocate(store, owner, index, set, fitting) {
            Ok(ip) => ips.push(ip),
            Err(error) => {
                let error = in_range(index, error);
                return Err(if ips.is_empty() {
                    error
                } else {
                    undo(store, owner, error)
                });
            }
        }
    }
    if !requested.is_empty() {
        let left: String = requested.iter().map(|ip| format!(" {ip}")).collect();
        let error = anyhow!("failed to allocate all requested IPs:{left}");
        return Err(undo(store, owner, error));
    }
    Ok(ips)
}

/// Names the range set in the message of an error, whose details stay.
fn in_range(index: usize, error: anyhow::Error) -> anyhow::Error {
    let context = format!("failed to allocate for range {index}");
    match error.downcast::<Error>() {
        Ok(error) => Error {
            msg: format!("{context}: {}", error.msg),
            ..error
        }
        .into(),
        Err(error) => error.context(context),
    }
}

/// Frees everything of the owner after `error`.
fn undo(store: &mut Store, owner: &Owner, error: anyhow::Error) -> anyhow::Error {
    match store.release_all(owner) {
        Ok(()) => error,
        Err(undo) => {
            let Error { code, msg, details } = Error::from_chain(&error);
            let text = format!("not all was undone: {undo:#}");
            let parts = [details, text];
            let parts = parts
                .iter()
                .map(String::as_str)
                .filter(|part| !part.is_empty());
            let details: Vec<&str> = parts.collect();
            Error::new(code, msg)
                .with_details(details.join("; "))
                .into()
        }
    }
}

/// The error of ADD for the first set that has no free address; `None` when every set
/// has one.
///
/// # Errors
/// When the directory cannot be read.
pub(crate) fn first_exhausted(
    store: &mut Store,
    sets: &[RangeSet],
) -> anyhow::Result<Option<String>> {
    // Counting names is enough unless a set may be full; only then files are read.
    let names = store.names()?;
    let crowded = |set: &&RangeSet| {
        let count = names.iter().filter(|ip| set.contains(**ip)).count();
        count as u128 >= set.capacity()
    };
    for set in sets.iter().filter(crowded) {
        let taken = store.holdings()?;
        if set.walk(None).all(|(ip, _)| is_taken(&taken, ip)) {
            return Ok(Some(exhausted(store, set, &taken).to_string()));
        }
    }
    Ok(None)
}

/// Reserves one address of `set` for `owner`: the requested one if there is one,
/// else the next free after the last reserved.
///
/// `index` is the position of the set in the configuration; it names the file that
/// remembers the last reserved address.
///
/// # Errors
/// When the requested address is a gateway or taken, when the owner holds an address
/// of this set already, when nothing is free, and when the state cannot be written.
/// Nothing stays reserved after an error.
pub(crate) fn allocate(
    store: &mut Store,
    owner: &Owner,
    index: usize,
    set: &RangeSet,
    requested: Option<IpAddr>,
) -> anyhow::Result<IpConfig> {
    let ip = match requested {
        Some(ip) => reserve_requested(store, owner, set, ip)?,
        None => reserve_next(store, owner, index, set)?,
    };
    if let Err(error) = store.set_last_reserved(index, ip) {
        return Err(match store.release(ip, owner.id()) {
            Ok(()) => error,
            Err(undo) => error.context(format!("{undo:#}, so {ip} stays reserved")),
        });
    }
    let range = set
        .range_of(ip)
        .with_context(|| format!("{ip} not in range set {set}"))?;
    Ok(IpConfig {
        interface: None,
        address: range.with_prefix(ip),
        gateway: Some(range.gateway()),
    })
}

fn reserve_requested(
    store: &mut Store,
    owner: &Owner,
    set: &RangeSet,
    ip: IpAddr,
) -> anyhow::Result<IpAddr> {
    let Some(range) = set.range_of(ip) else {
        bail!("{ip} not in range set {set}");
    };
    if range.gateway() == ip {
        bail!("requested ip {ip} is subnet's gateway");
    }
    if !store.reserve(ip, owner)? {
        bail!("requested IP address {ip} is not available in range set {set}");
    }
    Ok(ip)
}

fn reserve_next(
    store: &mut Store,
    owner: &Owner,
    index: usize,
    set: &RangeSet,
) -> anyhow::Result<IpAddr> {
    let held = store.held_by(owner)?;
    if let Some(ip) = held.all().find(|ip| set.contains(*ip)) {
        bail!(
            "{ip} has been allocated to {}, duplicate allocation is not allowed",
            owner.id()
        );
    }
    let last = store.last_reserved(index);
    for (ip, _) in set.walk(last).take(BLIND_TRIES) {
        if store.reserve(ip, owner)? {
            return Ok(ip);
        }
    }
    let mut taken = store.holdings()?;
    loop {
        for (ip, _) in set.walk(last) {
            if !is_taken(&taken, ip) && store.reserve(ip, owner)? {
                return Ok(ip);
            }
        }
        // An index may list files that were removed without taking the lock; before the
        // range is called exhausted, the directory itself is read.
        if !store.drop_vanished()? {
            break;
        }
        taken = store.holdings()?;
    }
    Err(exhausted(store, set, &taken).into())
}

/// Whether an address is among `taken`, which is sorted by address.
fn is_taken(taken: &[Holding], ip: IpAddr) -> bool {
    taken
        .binary_search_by_key(&ip, |holding| holding.ip)
        .is_ok()
}

/// The error of a set without a free address. The details name the containers that hold
/// the most: `253 of 253 addresses are held by 250 containers, e.g. x (3), y (1), z (1)`.
fn exhausted(store: &Store, set: &RangeSet, taken: &[Holding]) -> Error {
    let mut inside: Vec<&Holding> = taken.iter().filter(|one| set.contains(one.ip)).collect();
    inside.sort_by_key(|one| (one.id_hash, one.ip));
    let mut containers: Vec<&[&Holding]> = inside.chunk_by(|a, b| a.id_hash == b.id_hash).collect();
    containers.sort_by_key(|held| {
        (
            std::cmp::Reverse(held.len()),
            held.first().map(|one| one.ip),
        )
    });
    let mut text = format!(
        "{} of {} addresses are held by {} container{}",
        inside.len(),
        set.capacity(),
        containers.len(),
        if containers.len() == 1 { "" } else { "s" }
    );
    let mut separator = ", e.g. ";
    for held in containers.iter().take(HOLDERS_NAMED) {
        if let Some(id) = held.first().and_then(|one| store.holder_of(one.ip)) {
            text.push_str(&format!("{separator}{id} ({})", held.len()));
            separator = ", ";
        }
    }
    let msg = format!("no IP addresses available in range set: {set}");
    Error::new(Code::INTERNAL, msg).with_details(text)
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
