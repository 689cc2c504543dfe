//! Masquerade rules of nftables: one table for all networks, and a rule for each address.

use super::{Identity, Masquerade};
use anyhow::{Context, bail};
use cni_core::IpConfig;
use netfilter::nft::{
    Batch, Chain, ChainType, Family, Hook, NatFlags, Nft, Prefix, Rule, RuleInfo, Table,
};
use std::net::{Ipv4Addr, Ipv6Addr};

const TABLE: Table<'_> = Table::new(Family::Inet, "cni_plugins_masquerade")
    .with_comment("Masquerading for plugins from github.com/containernetworking/plugins");
const CHECKS: Chain<'_> = TABLE.chain("masq_checks").with_comment(
    "Masquerade traffic from certain IPs to any (non-multicast) IP outside their subnet",
);
/// `NF_IP_PRI_NAT_SRC`.
const POSTROUTING: Chain<'_> =
    TABLE.base_chain("postrouting", ChainType::Nat, Hook::Postrouting, 100);

/// Returns the rules that all addresses share.
fn shared_rules() -> [Rule<'static>; 3] {
    let v4 = Prefix::new(Ipv4Addr::new(224, 0, 0, 0).into(), 4);
    let v6 = Prefix::new(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0).into(), 8);
    [
        POSTROUTING.rule().daddr(v4).return_(),
        POSTROUTING.rule().daddr(v6).return_(),
        POSTROUTING.rule().goto(CHECKS.name),
    ]
}

impl Masquerade {
    /// Returns the rules of one address, in order.
    fn rules(&self, ip: &IpConfig, comment: &str) -> Vec<Rule<'static>> {
        let address = ip.address.addr();
        let from = || CHECKS.rule().saddr(address);
        let mut rules: Vec<Rule<'_>> = self
            .excluded(address)
            .map(|network| {
                let network = (network.addr(), network.prefix());
                from().daddr(network).return_()
            })
            .collect();
        let beyond = from().not_daddr((address, ip.address.prefix()));
        let flags = match self.options.fully_random {
            true => NatFlags::FULLY_RANDOM,
            false => NatFlags::NONE,
        };
        rules.push(match self.snat_ip(address) {
            Some(source) => beyond.snat(source, flags),
            None => beyond.masquerade(flags),
        });
        rules
            .into_iter()
            .map(|rule| rule.comment(comment))
            .collect()
    }
}

/// A netlink socket, and the state of the shared rules.
#[derive(Debug)]
pub(super) struct Client {
    nft: Nft,
    /// Whether the shared rules exist.
    is_complete: bool,
}

impl Client {
    /// Opens a socket and checks that the shared rules exist or could be added.
    pub(super) fn open() -> anyhow::Result<Client> {
        let open = || {
            let nft = Nft::open()?;
            let is_complete = nft
                .rules(&POSTROUTING)
                .is_ok_and(|there| is_complete(&there));
            if !is_complete {
                let mut batch = Batch::new();
                batch.add_table(&TABLE);
                nft.check(&batch)?;
            }
            Ok(Client { nft, is_complete })
        };
        let opened: Result<Client, netfilter::Error> = open();
        opened.context("ipMasq needs nftables in the kernel")
    }

    /// Adds the rules of all addresses in one transaction, with the shared rules if
    /// necessary, and returns their handles.
    pub(super) fn create(
        &self,
        masquerade: &Masquerade,
        identity: &Identity<'_>,
        ips: &[&IpConfig],
    ) -> Result<Vec<u64>, netfilter::Error> {
        let comment = identity.nft_comment();
        let add = |is_complete: bool| {
            let mut batch = Batch::new();
            if !is_complete {
                add_shared(&mut batch);
            }
            batch.echo();
            for ip in ips {
                for rule in masquerade.rules(ip, &comment) {
                    batch.add_rule(&rule);
                }
            }
            self.nft.commit(&batch)
        };
        // Unlike upstream, do not rewrite the shared rules each time: after deleting rules,
        // closing the socket waits for an RCU grace period.
        let added = match add(self.is_complete) {
            // Another process has deleted the table meanwhile.
            Err(e) if self.is_complete && e.is_not_found() => add(false)?,
            added => added?,
        };
        Ok(added.iter().map(|rule| rule.handle).collect())
    }
}

fn add_shared(batch: &mut Batch) {
    batch.add_table(&TABLE).add_chain(&CHECKS);
    batch.add_chain(&POSTROUTING).flush_chain(&POSTROUTING);
    for rule in shared_rules() {
        batch.add_rule(&rule);
    }
}

/// Returns whether these are the shared rules.
fn is_complete(present: &[RuleInfo]) -> bool {
    let wanted = shared_rules();
    present.len() == wanted.len()
        && present
            .iter()
            .zip(&wanted)
            .all(|(rule, wanted)| rule.same_as(wanted))
}

/// Returns the rules whose comment begins with `hash`, by their recorded handles, or if
/// those are stale, by listing the chain.
fn find(nft: &Nft, hash: &str, handles: &[u64]) -> Result<Vec<RuleInfo>, netfilter::Error> {
    let is_ours = |comment: Option<&str>| comment.is_some_and(|text| text.starts_with(hash));
    let mut rules = Vec::new();
    for handle in handles {
        rules.extend(
            nft.rule(&CHECKS, *handle)?
                .filter(|r| is_ours(r.comment.as_deref())),
        );
    }
    if !rules.is_empty() && rules.len() == handles.len() {
        return Ok(rules);
    }
    nft.find_rules(&CHECKS, |rule| is_ours(rule.comment))
}

/// Returns whether an attachment has rules.
pub(super) fn is_there(identity: &Identity<'_>) -> bool {
    let found = Nft::open().and_then(|nft| find(&nft, &identity.hash, &[]));
    found.is_ok_and(|rules| !rules.is_empty())
}

/// Deletes the rules of an attachment.
pub(super) fn delete(nft: &Nft, hash: &str, handles: &[u64]) -> Result<(), netfilter::Error> {
    delete_found(nft, |nft| find(nft, hash, handles))
}

/// Deletes the rules of all attachments of a network except those with the hashes `valid`.
pub(super) fn collect(nft: &Nft, network: &str, valid: &[String]) -> Result<(), netfilter::Error> {
    let is_stale = |comment: &str| {
        comment.starts_with(network) && !valid.iter().any(|hash| comment.starts_with(hash))
    };
    delete_found(nft, |nft| {
        nft.find_rules(&CHECKS, |rule| rule.comment.is_some_and(is_stale))
    })
}

fn delete_found(
    nft: &Nft,
    find: impl Fn(&Nft) -> Result<Vec<RuleInfo>, netfilter::Error>,
) -> Result<(), netfilter::Error> {
    nft.transaction(|nft| {
        let mut batch = Batch::new();
        for rule in find(nft)? {
            batch.delete_rule(&CHECKS, rule.handle);
        }
        Ok(batch)
    })?;
    Ok(())
}

/// Compares the rules with those that [`Client::create`] adds.
pub(super) fn check(
    masquerade: &Masquerade,
    identity: &Identity<'_>,
    handles: &[u64],
    ips: &[&IpConfig],
) -> anyhow::Result<()> {
    let nft = Nft::open()?;
    if !is_complete(&nft.rules(&POSTROUTING)?) {
        bail!(
            "chain {} of nftables table {} does not lead to {}",
            POSTROUTING.name,
            TABLE.name,
            CHECKS.name
        );
    }
    let present = find(&nft, &identity.hash, handles)?;
    let comment = identity.nft_comment();
    for ip in ips {
        for wanted in masquerade.rules(ip, &comment) {
            if !present.iter().any(|rule| rule.same_as(&wanted)) {
                bail!(
                    "masquerade of {} not found in chain {} of nftables table {}",
                    ip.address,
                    CHECKS.name,
                    TABLE.name
                );
            }
        }
    }
    Ok(())
}
