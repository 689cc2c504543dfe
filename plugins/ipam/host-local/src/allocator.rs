//! Allocation of addresses from range sets.

use std::net::IpAddr;

use anyhow::{Context as _, bail};
use cni_core::{Code, Error, IpConfig};

use crate::choice::Choice;
use crate::config::Config;
use crate::range::RangeSet;
use crate::store::{Owner, Reservation, Store};

/// Candidates that are tried one by one before all reservations are listed. In round
/// robin the first candidate is free unless the pool is nearly full, and listing takes as
/// long as some dozens of tries.
const TRIES_BEFORE_LISTING: usize = 8;

/// Number of containers that the error of an exhausted range names.
const HOLDERS_NAMED: usize = 3;

/// Reserves one address of every range set for `owner`: a requested one if the set
/// contains it, else the next free one.
///
/// # Errors
/// As for [`allocate`], and when a requested address belongs to no set.
/// If an earlier set had succeeded, all addresses of the owner are freed, as upstream
/// does; otherwise the addresses it held before stay reserved.
pub(crate) fn allocate_all(
    store: &mut Store,
    owner: &Owner,
    config: &Config,
) -> anyhow::Result<Vec<IpConfig>> {
    let mut choice = Choice::for_add(store, config)?;
    let mut requested = config.requested.clone();
    let mut ips = Vec::with_capacity(config.sets.len());
    for (index, set) in config.sets.iter().enumerate() {
        let matching = requested.iter().position(|ip| set.contains(*ip));
        let matching = matching.map(|at| requested.remove(at));
        match allocate(store, owner, &mut choice, index, set, matching) {
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
        let error = Error::new(
            Code::INTERNAL,
            format!("failed to allocate all requested IPs:{left}"),
        );
        let sets: Vec<String> = config.sets.iter().map(ToString::to_string).collect();
        // Some runtimes give the address of one network to all networks of a container.
        let details = format!(
            "each range set provides one address; the range sets are {}",
            sets.join(" and ")
        );
        return Err(undo(store, owner, error.with_details(details).into()));
    }
    Ok(ips)
}

/// Adds the number of the range set to the message of an error and keeps its details.
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

/// Frees all addresses of the owner after `error`, and returns it.
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

/// Returns the error of ADD for the first set without a free address; `None` if every
/// set has one.
///
/// # Errors
/// When the directory cannot be read.
pub(crate) fn first_exhausted(
    store: &mut Store,
    config: &Config,
) -> anyhow::Result<Option<String>> {
    let choice = Choice::for_status(store, config)?;
    // Counting file names suffices unless a set may be full; only then are files read.
    let names = store.names()?;
    let may_be_full = |set: &&RangeSet| {
        let taken = names.iter().filter(|ip| set.offers(**ip)).count();
        (taken + choice.cooling_in(set).count()) as u128 >= set.capacity()
    };
    for set in config.sets.iter().filter(may_be_full) {
        let taken = store.reservations()?;
        let is_free = |ip| match is_taken(&taken, ip) {
            true => store.is_reclaimable(ip, config.cool_down.is_some()),
            false => !choice.is_cooling(ip),
        };
        if !set.walk(None).any(is_free) {
            return Ok(Some(exhausted(store, set, &taken, &choice).to_string()));
        }
    }
    Ok(None)
}

/// Reserves one address of `set` for `owner`: the requested one if given, else the next
/// free one after the last reserved.
///
/// `index` is the position of the set in the configuration, which is part of the name of
/// the file that records the last reserved address.
///
/// # Errors
/// When the requested address is a gateway or taken, when the owner already holds an
/// address of this set, when no address is free, or when the state cannot be written.
/// Nothing stays reserved after an error.
pub(crate) fn allocate(
    store: &mut Store,
    owner: &Owner,
    choice: &mut Choice,
    index: usize,
    set: &RangeSet,
    requested: Option<IpAddr>,
) -> anyhow::Result<IpConfig> {
    let ip = match requested {
        Some(ip) => reserve_requested(store, owner, set, ip)?,
        None => reserve_next(store, owner, choice, index, set)?,
    };
    let recorded = store.set_last_reserved(index, ip);
    if let Err(error) = recorded.and_then(|()| choice.keep(ip, set)) {
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
    if set.excludes(ip) {
        bail!("requested ip {ip} is excluded by ipam.exclude");
    }
    // A container that is certainly gone does not hold it.
    if !store.reserve(ip, owner)? && (store.reclaim(&[ip]) == 0 || !store.reserve(ip, owner)?) {
        bail!("requested IP address {ip} is not available in range set {set}");
    }
    Ok(ip)
}

fn reserve_next(
    store: &mut Store,
    owner: &Owner,
    choice: &mut Choice,
    index: usize,
    set: &RangeSet,
) -> anyhow::Result<IpAddr> {
    refuse_second(store, owner, set)?;
    if let Some(ip) = choice.kept(set)
        && store.reserve(ip, owner)?
    {
        return Ok(ip);
    }
    let start = choice.start(set, store.last_reserved(index));
    let first = set.walk(start).filter(|ip| !choice.is_withheld(*ip));
    for ip in first.take(TRIES_BEFORE_LISTING) {
        if store.reserve(ip, owner)? {
            return Ok(ip);
        }
    }
    let mut taken = store.reservations()?;
    loop {
        for ip in set.walk(start) {
            if !choice.is_withheld(ip) && !is_taken(&taken, ip) && store.reserve(ip, owner)? {
                return Ok(ip);
            }
        }
        // An index may list files that were removed without taking the lock, so the
        // directory itself is read before the range is reported as exhausted.
        if !store.drop_vanished()? {
            let inside = taken.iter().map(|one| one.ip);
            let inside: Vec<IpAddr> = inside.filter(|ip| set.offers(*ip)).collect();
            if store.reclaim(&inside) == 0 {
                break;
            }
            choice.refresh(store)?;
        }
        taken = store.reservations()?;
    }
    for ip in choice.last_resort(set) {
        if store.reserve(ip, owner)? {
            return Ok(ip);
        }
    }
    Err(exhausted(store, set, &taken, choice).into())
}

/// Refuses a second address of a set. One that the owner held in a namespace that is gone
/// is freed instead: the runtime lost the DEL and uses the same ID again.
fn refuse_second(store: &mut Store, owner: &Owner, set: &RangeSet) -> anyhow::Result<()> {
    let held = store.held_by(owner)?;
    let held: Vec<IpAddr> = held.all().filter(|ip| set.contains(*ip)).collect();
    if let Some(ip) = held.iter().find(|ip| !store.is_reclaimable(**ip, false)) {
        bail!(
            "{ip} has been allocated to {}, duplicate allocation is not allowed",
            owner.id()
        );
    }
    store.reclaim(&held);
    Ok(())
}

/// Returns whether an address is among `taken`, which is sorted by address.
fn is_taken(taken: &[Reservation], ip: IpAddr) -> bool {
    taken
        .binary_search_by_key(&ip, |reservation| reservation.ip)
        .is_ok()
}

/// Returns the error of a set without a free address. The details name the containers
/// that hold the most addresses: `253 of 253 addresses are held by 250 containers, e.g.
/// x (3), y (1), z (1)`, and how many addresses cool down.
fn exhausted(store: &Store, set: &RangeSet, taken: &[Reservation], choice: &Choice) -> Error {
    let mut text = holders(store, set, taken);
    let cooling = choice.cooling_in(set);
    let cooling = cooling.filter(|(ip, _)| !is_taken(taken, *ip));
    let cooling: Vec<_> = cooling.map(|(_, left)| left).collect();
    if let Some(first) = cooling.iter().min() {
        text.push_str(&format!(
            "; {} cool down, the first one for {} s more",
            cooling.len(),
            first.as_secs() + 1
        ));
    }
    let msg = format!("no IP addresses available in range set: {set}");
    Error::new(Code::INTERNAL, msg).with_details(text)
}

fn holders(store: &Store, set: &RangeSet, taken: &[Reservation]) -> String {
    let mut inside: Vec<&Reservation> = taken.iter().filter(|one| set.offers(one.ip)).collect();
    inside.sort_by_key(|one| (one.id_hash, one.ip));
    let mut containers: Vec<&[&Reservation]> =
        inside.chunk_by(|a, b| a.id_hash == b.id_hash).collect();
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
    text
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
