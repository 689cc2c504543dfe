//! A rule for each mapping, in upstream's tables, chains and order: what one
//! implementation adds, the other finds.

use super::{Bases, FAMILIES, are, family, has_any, has_table, is_of};
use crate::attachment::{Attachment, note_of_network, socket};
use crate::config::{Config, Mapping};
use crate::record::Place;
use anyhow::{Context, bail};
use cni_core::Cidr;
use cni_core::quote::quote;
use netfilter::Error;
use netfilter::nft::{
    Batch, Chain, CtStatus, Family, NatFlags, Nft, Rule, RuleInfo, RuleView, Table,
};
use std::net::{IpAddr, Ipv4Addr};

/// The objects of one family.
struct Objects {
    table: Table<'static>,
    /// All mappings.
    hostports: Chain<'static>,
    /// Where upstream 1.6 to 1.8 put those with an address of the host.
    hostip_hostports: Chain<'static>,
    /// Leads to both.
    hostports_all: Chain<'static>,
    bases: Bases,
}

impl Objects {
    const fn of(family: Family) -> Objects {
        let table = Table::new(family, "cni_hostport").with_comment("CNI portmap plugin");
        Objects {
            table,
            hostports: table.chain("hostports"),
            hostip_hostports: table.chain("hostip_hostports"),
            hostports_all: table.chain("hostports_all"),
            bases: Bases::of(table),
        }
    }

    /// The chains that hold the rules of attachments.
    fn chains(&self) -> [Chain<'static>; 3] {
        [
            self.hostports,
            self.hostip_hostports,
            self.bases.masquerading,
        ]
    }

    /// What is behind the hooks: only what is sent to this host itself may be
    /// caught.
    fn entrances(&self) -> [Rule<'static>; 2] {
        let all = self.hostports_all.name;
        [self.bases.prerouting, self.bases.output]
            .map(|chain| chain.rule().daddr_is_local().jump(all))
    }

    fn dispatch(&self) -> [Rule<'static>; 2] {
        [self.hostip_hostports, self.hostports]
            .map(|chain| self.hostports_all.rule().jump(chain.name))
    }

    /// The table and everything in it that is nobody's in particular, but for what
    /// is there. Chains that are as they ought to be are not written anew: the kernel
    /// takes its time to free what was in them.
    fn write_base(&self, nft: &Nft, batch: &mut Batch, snat: bool) -> Result<(), Error> {
        batch.add_table(&self.table);
        batch.add_chain(&self.hostports);
        batch.add_chain(&self.hostip_hostports);
        let [prerouting, output] = self.entrances();
        let fixed: [(Chain<'_>, &[Rule<'_>]); 3] = [
            (self.hostports_all, &self.dispatch()),
            (self.bases.prerouting, &[prerouting]),
            (self.bases.output, &[output]),
        ];
        for (chain, rules) in fixed {
            let there = nft.rules(&chain)?;
            if !are(&there, rules) {
                batch.add_chain(&chain);
                if !there.is_empty() {
                    batch.flush_chain(&chain);
                }
                for rule in rules {
                    batch.add_rule(rule);
                }
            }
        }
        if snat {
            batch.add_chain(&self.bases.masquerading);
        }
        Ok(())
    }

    /// A rule for each mapping of the family, in their order.
    fn mappings<'c>(
        &self,
        config: &'c Config,
        target: Cidr,
    ) -> anyhow::Result<Vec<(&'c Mapping, Rule<'static>)>> {
        let ipv4 = target.is_ipv4();
        let conditions = config.nft_conditions(ipv4)?;
        let rules = config.mappings_for(ipv4).map(|mapping| {
            let mut rule = self.hostports.rule();
            for condition in &conditions {
                rule = condition.apply(rule);
            }
            if let Some(host) = mapping.destination() {
                rule = rule.daddr(host);
            }
            let rule = rule
                .dport(mapping.protocol.nft(), mapping.host_port)
                .dnat(socket(target, mapping));
            (mapping, rule)
        });
        Ok(rules.collect())
    }

    /// The rules that masquerade, each with what it is for.
    ///
    /// Where upstream compares the source with the container's own address, these
    /// do with its network: an answer to a neighbour would not pass this host, which
    /// has to undo the mapping. And they leave alone what was not mapped.
    fn masquerades(&self, config: &Config, target: Cidr) -> Vec<(&'static str, Rule<'static>)> {
        if !config.snat {
            return Vec::new();
        }
        let chain = self.bases.masquerading;
        let address = target.addr();
        let finish = |rule: Rule<'static>| rule.masquerade(NatFlags::NONE);
        if config.masq_all {
            let rule = chain.rule().daddr(address).ct_status(CtStatus::DNAT);
            return vec![("all clients", finish(rule))];
        }
        let network = (target.network(), target.prefix());
        let near = chain.rule().saddr(network).daddr(address);
        let mut rules = vec![(
            "clients of the container's network",
            finish(near.ct_status(CtStatus::DNAT)),
        )];
        if target.is_ipv4() {
            let local = chain.rule().saddr(IpAddr::V4(Ipv4Addr::LOCALHOST));
            rules.push(("clients on localhost", finish(local.daddr(address))));
        }
        rules
    }

    /// As upstream writes the first of them.
    fn foreign_masquerade(&self, config: &Config, target: Cidr) -> Rule<'static> {
        let address = target.addr();
        let source = match config.masq_all {
            true => (address, 0),
            false => (address, target_width(target)),
        };
        let rule = self.bases.masquerading.rule().saddr(source).daddr(address);
        rule.masquerade(NatFlags::NONE)
    }
}

fn target_width(target: Cidr) -> u8 {
    if target.is_ipv4() { 32 } else { 128 }
}

/// Adds the rules of an attachment, in one transaction for both families, and
/// removes those that it had. Returns where they are.
pub(crate) fn add(
    attachment: &Attachment<'_>,
    config: &Config,
    targets: &[Cidr],
    old: Option<&[Place]>,
) -> anyhow::Result<Vec<Place>> {
    let nft = Nft::open()?;
    let mut additions = Vec::new();
    let addresses: Vec<IpAddr> = targets.iter().map(Cidr::addr).collect();
    let note = attachment.note();
    let label = |rule: Rule<'static>| rule.comment(attachment.container_id).note(note.as_bytes());
    for target in targets {
        let objects = Objects::of(family(target.is_ipv4()));
        let mappings = objects.mappings(config, *target)?;
        additions.extend(mappings.into_iter().map(|(_, rule)| label(rule)));
        let masquerades = objects.masquerades(config, *target);
        additions.extend(masquerades.into_iter().map(|(_, rule)| label(rule)));
    }
    let added = nft.transaction(|nft| {
        let mut batch = Batch::new();
        for target in targets {
            let objects = Objects::of(family(target.is_ipv4()));
            objects.write_base(nft, &mut batch, config.snat)?;
        }
        if let Some(old) = old {
            delete_found(&mut batch, &find(nft, attachment, &addresses, old)?);
        }
        batch.echo();
        for rule in &additions {
            batch.add_rule(rule);
        }
        Ok(batch)
    });
    let added = added.context("unable to set up nftables rules for port mappings")?;
    let places = added.into_iter().zip(&additions);
    Ok(places
        .map(|(added, rule)| Place {
            family: rule.chain().table.family,
            chain: added.chain,
            handle: added.handle,
        })
        .collect())
}

/// Removes the rules of an attachment, of both families, wherever they are, and
/// mends what old versions have left behind the hooks. `places` is where they were.
pub(crate) fn delete(
    attachment: &Attachment<'_>,
    addresses: &[IpAddr],
    places: &[Place],
) -> anyhow::Result<()> {
    let nft = Nft::open()?;
    nft.transaction(|nft| {
        let mut batch = Batch::new();
        mend(nft, &mut batch)?;
        delete_found(&mut batch, &find(nft, attachment, addresses, places)?);
        Ok(batch)
    })
    .context("error deleting nftables rules")?;
    Ok(())
}

/// Removes the rules of a network's attachments that `is_stale` names by container
/// ID and interface.
pub(crate) fn collect(network: &str, is_stale: &dyn Fn(&str, &str) -> bool) -> anyhow::Result<()> {
    let nft = Nft::open()?;
    let prefix = note_of_network(network);
    let stale = |rule: &RuleView<'_>| {
        let note = rule.note.and_then(|note| std::str::from_utf8(note).ok());
        let if_name = note.and_then(|note| note.strip_prefix(&prefix));
        matches!((rule.comment, if_name), (Some(id), Some(name)) if is_stale(id, name))
    };
    nft.transaction(|nft| {
        let mut batch = Batch::new();
        mend(nft, &mut batch)?;
        delete_found(&mut batch, &scan(nft, &stale)?);
        Ok(batch)
    })
    .context("error deleting nftables rules")?;
    Ok(())
}

type Found = Vec<(Chain<'static>, u64)>;

fn delete_found(batch: &mut Batch, found: &Found) {
    for (chain, handle) in found {
        batch.delete_rule(chain, *handle);
    }
}

/// The rules of an attachment: those remembered, if all of them are still there and
/// the attachment's, else whatever is found among all.
fn find(
    nft: &Nft,
    attachment: &Attachment<'_>,
    addresses: &[IpAddr],
    places: &[Place],
) -> Result<Found, Error> {
    if !places.is_empty()
        && let Some(found) = verify(nft, attachment, places)?
    {
        return Ok(found);
    }
    scan(nft, &|rule| is_of(rule, attachment, addresses))
}

fn verify(
    nft: &Nft,
    attachment: &Attachment<'_>,
    places: &[Place],
) -> Result<Option<Found>, Error> {
    let note = attachment.note();
    let mut found = Vec::new();
    for place in places {
        let chains = Objects::of(place.family).chains();
        let Some(chain) = chains.into_iter().find(|chain| chain.name == place.chain) else {
            return Ok(None);
        };
        match nft.rule(&chain, place.handle)? {
            Some(rule)
                if rule.comment.as_deref() == Some(attachment.container_id)
                    && rule.note.as_deref() == Some(note.as_bytes()) =>
            {
                found.push((chain, place.handle));
            }
            _ => return Ok(None),
        }
    }
    Ok(Some(found))
}

/// All rules of attachments for which `wanted` says yes.
fn scan(nft: &Nft, wanted: &dyn Fn(&RuleView<'_>) -> bool) -> Result<Found, Error> {
    let mut found = Vec::new();
    for family in FAMILIES {
        let objects = Objects::of(family);
        if !has_table(nft, &objects.table)? {
            continue;
        }
        for chain in objects.chains() {
            let rules = nft.find_rules(&chain, wanted)?;
            found.extend(rules.iter().map(|rule| (chain, rule.handle)));
        }
    }
    Ok(found)
}

/// Rules behind the hooks that lead to the mappings whatever the destination is
/// (CVE-2025-67499) are replaced at the first opportunity.
fn mend(nft: &Nft, batch: &mut Batch) -> Result<(), Error> {
    for family in FAMILIES {
        let objects = Objects::of(family);
        if !has_table(nft, &objects.table)? {
            continue;
        }
        for chain in [&objects.bases.prerouting, &objects.bases.output] {
            if nft.rules(chain)?.iter().any(catches_foreign) {
                objects.write_base(nft, batch, false)?;
                break;
            }
        }
    }
    Ok(())
}

/// Whether a rule does not look at the type of the destination at all.
fn catches_foreign(rule: &RuleInfo) -> bool {
    const FIB: &[u8] = b"fib\0";
    !rule
        .expressions()
        .windows(FIB.len())
        .any(|part| part == FIB)
}

/// Whether the table of either family exists.
pub(crate) fn in_use(nft: &Nft) -> Result<bool, Error> {
    has_any(nft, FAMILIES.map(|family| Objects::of(family).table))
}

/// Compares the rules of an attachment, and those that all share, with what they
/// ought to be.
pub(crate) fn check(
    attachment: &Attachment<'_>,
    config: &Config,
    targets: &[Cidr],
) -> anyhow::Result<()> {
    let nft = Nft::open()?;
    for target in targets {
        check_target(&nft, attachment, config, *target)?;
    }
    Ok(())
}

fn check_target(
    nft: &Nft,
    attachment: &Attachment<'_>,
    config: &Config,
    target: Cidr,
) -> anyhow::Result<()> {
    let objects = Objects::of(family(target.is_ipv4()));
    let place = format!(
        "table {} {}",
        objects.table.family.as_str(),
        objects.table.name
    );
    let own = |chain: &Chain<'_>| {
        nft.find_rules(chain, |rule| is_of(rule, attachment, &[]))
            .map_err(anyhow::Error::from)
    };
    let there = own(&objects.hostports)?;
    // Those of upstream have the conditions behind the hooks.
    let foreign = there.iter().all(|rule| rule.note.is_none());
    let plain = without_conditions(config);
    for (mapping, rule) in objects.mappings(config, target)? {
        let found = there.iter().any(|found| found.same_as(&rule))
            || foreign && is_among(&there, mapping, &objects.mappings(&plain, target)?);
        if !found {
            bail!(
                "missing hostport rules in \"hostports\" chain of {place}: \
                 no rule for {} port {} that leads to {}",
                mapping.protocol.as_str(),
                mapping.host_port,
                socket(target, mapping)
            );
        }
    }
    let there = own(&objects.bases.masquerading)?;
    let upstream = objects.foreign_masquerade(config, target);
    for (what, rule) in objects.masquerades(config, target) {
        let found = there
            .iter()
            .any(|found| found.same_as(&rule) || found.note.is_none() && found.same_as(&upstream));
        if !found {
            bail!(
                "missing hostport rules in \"masquerading\" chain of {place}: \
                 no rule that masquerades {what}"
            );
        }
    }
    for rule in objects.entrances() {
        let chain = rule.chain();
        let there = nft.rules(&chain)?;
        if there.iter().any(catches_foreign) {
            bail!(
                "a rule in {} chain of {place} catches what is not sent to this host",
                quote(chain.name)
            );
        }
        let is_base = nft.chain(&chain)?.is_some_and(|info| {
            matches!((info.base, chain.base), (Some(found), Some(wanted))
                if (found.kind, found.hook) == (wanted.kind, wanted.hook))
        });
        // Upstream's may have conditions in front.
        let leads = there.iter().any(|found| found.same_as(&rule)) || foreign && !there.is_empty();
        if !is_base || !leads {
            bail!(
                "{} chain of {place} does not lead to the mappings",
                quote(chain.name)
            );
        }
    }
    let there = nft.rules(&objects.hostports_all)?;
    for rule in objects.dispatch() {
        if !there.iter().any(|found| found.same_as(&rule)) {
            bail!("\"hostports_all\" chain of {place} does not lead to the mappings");
        }
    }
    Ok(())
}

fn is_among(there: &[RuleInfo], mapping: &Mapping, rules: &[(&Mapping, Rule<'static>)]) -> bool {
    rules
        .iter()
        .any(|(of, rule)| *of == mapping && there.iter().any(|found| found.same_as(rule)))
}

fn without_conditions(config: &Config) -> Config {
    Config {
        conditions_v4: Vec::new(),
        conditions_v6: Vec::new(),
        ..config.clone()
    }
}
