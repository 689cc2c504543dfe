//! Removes the rules of attachments from either backend: the configured one may not be
//! the one that ADD used.

use crate::config::{self, Config};
use crate::iptables;
use crate::mapping::Mapping;
use crate::nftables::{map, rules};
use crate::record::{Recorded, RuleLocation, STORE, record_of};
use cni_core::types::Attachment as ValidAttachment;
use cni_core::{Call, Cidr};
use cni_state::Owner;
use netfilter::iptables::Family;
use netfilter::nft::Nft;
use plugin_kit::failures::Failures;
use plugin_kit::{released, state};
use std::net::IpAddr;

/// What is known of the attachment whose rules are removed.
pub(crate) struct Teardown<'a> {
    pub(crate) owner: &'a Owner,
    pub(crate) mappings: &'a [Mapping],
    /// The container's addresses, as far as they are known.
    pub(crate) targets: &'a [Cidr],
    /// `conditionsV4` and `conditionsV6`.
    pub(crate) conditions: [Vec<String>; 2],
}

impl<'a> Teardown<'a> {
    /// Returns the teardown of an attachment whose configuration is known.
    pub(crate) fn of(owner: &'a Owner, config: &'a Config, targets: &'a [Cidr]) -> Teardown<'a> {
        Teardown {
            owner,
            mappings: &config.mappings,
            targets,
            conditions: [config.conditions_v4.clone(), config.conditions_v6.clone()],
        }
    }

    /// Removes the rules from where they are recorded to be, or else from everywhere.
    pub(crate) fn run(&self, location: &RuleLocation) -> anyhow::Result<()> {
        match location {
            RuleLocation::Rules(handles) => rules::delete(self.owner, &self.addresses(), handles),
            RuleLocation::Map => map::delete(self.owner, self.mappings, self.targets),
            RuleLocation::Iptables { ipv4, ipv6 } => {
                let mut failures = Failures::default();
                for (is_used, family) in [(*ipv4, Family::V4), (*ipv6, Family::V6)] {
                    if is_used {
                        failures.add(self.delete_from_iptables(family));
                    }
                }
                failures.result()
            }
            RuleLocation::Unknown => self.delete_everywhere(),
        }
    }

    fn addresses(&self) -> Vec<IpAddr> {
        self.targets.iter().map(Cidr::addr).collect()
    }

    fn delete_from_iptables(&self, family: Family) -> anyhow::Result<()> {
        let [v4, v6] = &self.conditions;
        let words = match family {
            Family::V4 => v4,
            Family::V6 => v6,
        };
        let is_shared = record_of(self.owner).has_sibling();
        let shared_by = is_shared.then_some(self.targets);
        iptables::delete(self.owner, self.mappings, words, family, shared_by)
    }

    fn delete_everywhere(&self) -> anyhow::Result<()> {
        let mut failures = Failures::default();
        let (has_rules, has_map) = failures.add(tables_in_use()).unwrap_or_default();
        if has_rules {
            failures.add(rules::delete(self.owner, &self.addresses(), &[]));
        }
        if has_map {
            failures.add(map::delete(self.owner, &[], &[]));
        }
        for family in iptables::FAMILIES {
            failures.add(self.delete_from_iptables(family));
        }
        failures.result()
    }
}

/// Returns whether the tables of rules and of maps exist, in either family.
fn tables_in_use() -> anyhow::Result<(bool, bool)> {
    let nft = match Nft::open() {
        Err(error) if error.is_unsupported() => return Ok((false, false)),
        nft => nft?,
    };
    Ok((rules::in_use(&nft)?, map::in_use(&nft)?))
}

/// GC: removes everything of a network's attachments that are not among the valid ones.
pub(crate) fn collect(call: &Call, valid: &[ValidAttachment]) -> anyhow::Result<()> {
    let network = &call.name;
    let valid = state::owners(network, valid);
    let mut failures = Failures::default();
    let (has_rules, has_map) = failures.add(tables_in_use()).unwrap_or_default();
    if has_rules {
        let recorded = recorded_in_rules(network, &valid);
        failures.add(rules::collect(network, &valid, &recorded));
    }
    if has_map {
        failures.add(map::collect(network, &valid));
    }
    failures.add(iptables::collect(network, &valid));
    failures.add(released::del_each(call, delete_all));
    failures.result()?;
    Ok(STORE.collect(network, &valid)?)
}

/// Removes the rules of an attachment of which only the names are known.
fn delete_all(call: &Call) -> anyhow::Result<()> {
    let teardown = Teardown {
        owner: &state::owner(call),
        mappings: &[],
        targets: &[],
        conditions: config::conditions_to_delete(&call.conf),
    };
    teardown.run(&RuleLocation::Unknown)
}

/// Returns the attachments that are not valid whose rules may be in the tables of rules.
fn recorded_in_rules(network: &str, valid: &[Owner]) -> Vec<(Owner, Recorded)> {
    let may_have_rules = |recorded: &Recorded| {
        matches!(
            recorded.location,
            RuleLocation::Rules(_) | RuleLocation::Unknown
        )
    };
    let read = |owner: Owner| {
        let recorded = record_of(&owner).read::<Recorded>()?;
        may_have_rules(&recorded).then_some((owner, recorded))
    };
    let owners = STORE.owners(network).into_iter();
    owners
        .filter(|owner| !valid.contains(owner))
        .filter_map(read)
        .collect()
}
