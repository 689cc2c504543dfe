//! Bare nftables transactions that add rules to the tables of the plugins.
//!
//! The kernel validates the whole table when a NAT rule is added, so that the time grows with the number of rules,
//! whichever program adds it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use netfilter::nft::{
    Batch, Chain, ChainType, CtStatus, Family, Hook, NatFlags, Nft, Protocol, Rule, Table,
};

use super::{Outcome, Waits};

const MASQUERADE: Table<'_> = Table::new(Family::Inet, "cni_plugins_masquerade")
    .with_comment("Masquerading for plugins from github.com/containernetworking/plugins");
const CHECKS: Chain<'_> = MASQUERADE.chain("masq_checks").with_comment(
    "Masquerade traffic from certain IPs to any (non-multicast) IP outside their subnet",
);
const HOSTPORT: Table<'_> =
    Table::new(Family::Ip, "cni_hostport").with_comment("CNI portmap plugin");
const HOSTPORTS: Chain<'_> = HOSTPORT.chain("hostports");
const MASQUERADING: Chain<'_> =
    HOSTPORT.base_chain("masquerading", ChainType::Nat, Hook::Postrouting, 100);

/// The comment of the floor's rules, which has the length of a container ID.
const COMMENT: &str = "floorfloorfloorfloorfloorfloorfloorfloorfloorfloorfloorfloorfloo";

/// Adds `rules` and writes their handles to the file `note`.
fn add(batch: &mut Batch, rules: &[Rule<'_>], note: &str, waits: &mut Waits) -> Outcome {
    batch.echo();
    for rule in rules {
        batch.add_rule(&rule.clone().comment(COMMENT));
    }
    let nft = Nft::open()?;
    let added = nft.commit(batch)?;
    waits.during(|| drop(nft));
    let places: Vec<String> = added
        .iter()
        .map(|rule| format!("{} {}", rule.chain, rule.handle))
        .collect();
    Ok(fs::write(note, places.join("\n"))?)
}

/// Deletes the rules whose handles [`add`] wrote.
///
/// Closing the socket waits until the kernel has freed the rules, after RCU grace periods.
fn delete(chains: &[Chain<'_>], note: &str, waits: &mut Waits) -> Outcome {
    let mut batch = Batch::new();
    for place in fs::read_to_string(note)?.lines() {
        let (name, handle) = place.split_once(' ').ok_or("no handle")?;
        let chain = chains.iter().find(|chain| chain.name == name);
        batch.delete_rule(chain.ok_or("no such chain")?, handle.parse()?);
    }
    let nft = Nft::open()?;
    nft.commit(&batch)?;
    waits.during(|| drop(nft));
    Ok(fs::remove_file(note)?)
}

/// Adds the rule of `ipMasq` for one address.
pub(super) fn masquerade_add(note: &str, address: &str, waits: &mut Waits) -> Outcome {
    let (address, network) = network(address)?;
    let mut batch = Batch::new();
    batch.add_table(&MASQUERADE).add_chain(&CHECKS);
    let rule = CHECKS.rule().saddr(address).not_daddr(network);
    add(&mut batch, &[rule.masquerade(NatFlags::NONE)], note, waits)
}

pub(super) fn masquerade_del(note: &str, waits: &mut Waits) -> Outcome {
    delete(&[CHECKS], note, waits)
}

/// Adds the rules of portmap for one TCP port.
pub(super) fn portmap_add(note: &str, address: &str, port: &str, waits: &mut Waits) -> Outcome {
    let (address, network) = network(address)?;
    let mut batch = Batch::new();
    batch
        .add_table(&HOSTPORT)
        .add_chain(&HOSTPORTS)
        .add_chain(&MASQUERADING);
    let mapping = HOSTPORTS.rule().dport(Protocol::Tcp, port.parse()?);
    let near = MASQUERADING.rule().saddr(network).daddr(address);
    let local = MASQUERADING.rule().saddr(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let rules = [
        mapping.dnat(SocketAddr::new(address, 80)),
        near.ct_status(CtStatus::DNAT).masquerade(NatFlags::NONE),
        local.daddr(address).masquerade(NatFlags::NONE),
    ];
    add(&mut batch, &rules, note, waits)
}

pub(super) fn portmap_del(note: &str, waits: &mut Waits) -> Outcome {
    delete(&[HOSTPORTS, MASQUERADING], note, waits)
}

/// Parses an address and its network.
fn network(address: &str) -> Outcome<(IpAddr, (IpAddr, u8))> {
    let (address, prefix) = address.split_once('/').ok_or("no prefix")?;
    let (address, prefix): (Ipv4Addr, u8) = (address.parse()?, prefix.parse()?);
    let mask = u32::MAX
        .checked_shl(32 - u32::from(prefix))
        .unwrap_or_default();
    let network = Ipv4Addr::from(u32::from(address) & mask);
    Ok((address.into(), (network.into(), prefix)))
}
