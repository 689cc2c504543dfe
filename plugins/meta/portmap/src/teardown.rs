//! Removing the rules of an attachment, wherever they are: the backend may have been
//! another one when they were made.

use crate::attachment::Attachment;
use crate::config::{Config, Mapping};
use crate::iptables;
use crate::nftables::{map, rules};
use crate::record::{self, Place, Record, Whereabouts};
use anyhow::anyhow;
use cni_core::Cidr;
use cni_core::types::Attachment as ValidAttachment;
use netfilter::iptables::Family;
use netfilter::nft::Nft;
use std::net::IpAddr;

/// What is known of the attachment whose rules are to go.
pub(crate) struct Removal<'a> {
    pub(crate) attachment: Attachment<'a>,
    pub(crate) mappings: &'a [Mapping],
    /// The container's addresses, if known.
    pub(crate) targets: &'a [Cidr],
    /// `conditionsV4` and `conditionsV6`.
    pub(crate) conditions: [Vec<String>; 2],
    /// Whether rules of iptables are out of the question if iptables is.
    pub(crate) is_iptables_optional: bool,
}

impl<'a> Removal<'a> {
    /// With everything known.
    pub(crate) fn of(
        attachment: &Attachment<'a>,
        config: &'a Config,
        targets: &'a [Cidr],
    ) -> Removal<'a> {
        Removal {
            attachment: *attachment,
            mappings: &config.mappings,
            targets,
            conditions: [config.conditions_v4.clone(), config.conditions_v6.clone()],
            is_iptables_optional: false,
        }
    }

    /// Removes the rules: from where they are remembered to be, else from everywhere.
    pub(crate) fn run(&self, remembered: Option<Whereabouts>) -> anyhow::Result<()> {
        match remembered {
            Some(Whereabouts::Rules(places)) => {
                rules::delete(&self.attachment, &self.addresses(), &places)
            }
            Some(Whereabouts::Map) => map::delete(&self.attachment, self.mappings, self.targets),
            Some(Whereabouts::Iptables { ipv4, ipv6 }) => {
                let families = [(ipv4, Family::V4), (ipv6, Family::V6)];
                let steps = families
                    .into_iter()
                    .filter_map(|(has, family)| has.then_some(family));
                all(steps.map(|family| self.leave_iptables(family)))
            }
            Some(Whereabouts::Unknown) | None => self.leave_everything(),
        }
    }

    fn addresses(&self) -> Vec<IpAddr> {
        self.targets.iter().map(Cidr::addr).collect()
    }

    fn leave_iptables(&self, family: Family) -> anyhow::Result<()> {
        let [v4, v6] = &self.conditions;
        let words = match family {
            Family::V4 => v4,
            Family::V6 => v6,
        };
        let shared = Record::of(&self.attachment).has_sibling();
        let shared_by = shared.then_some(self.targets);
        iptables::delete(&self.attachment, self.mappings, words, family, shared_by)
    }

    /// Each is tried whatever becomes of the others.
    fn leave_everything(&self) -> anyhow::Result<()> {
        let (rules_there, map_there) = tables_there()?;
        let from_rules = match rules_there {
            true => rules::delete(&self.attachment, &self.addresses(), &[]),
            false => Ok(()),
        };
        let from_map = match map_there {
            true => map::delete(&self.attachment, &[], &[]),
            false => Ok(()),
        };
        let mut steps = vec![from_rules, from_map];
        for family in iptables::FAMILIES {
            let step = self.leave_iptables(family);
            steps.push(match step {
                Err(error) if self.is_iptables_optional && is_missing_command(&error) => Ok(()),
                step => step,
            });
        }
        all(steps)
    }
}

fn is_missing_command(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<netfilter::Error>();
    error.is_some_and(netfilter::Error::is_missing_command)
}

/// Whether the tables of rules and of maps exist, of either family.
fn tables_there() -> anyhow::Result<(bool, bool)> {
    let nft = match Nft::open() {
        Err(error) if error.is_unsupported() => return Ok((false, false)),
        nft => nft?,
    };
    Ok((rules::in_use(&nft)?, map::in_use(&nft)?))
}

/// All steps; the first error, with those after it.
fn all(steps: impl IntoIterator<Item = anyhow::Result<()>>) -> anyhow::Result<()> {
    let errors = steps.into_iter().filter_map(Result::err);
    match errors.reduce(|first, next| anyhow!("{first:#}; {next:#}")) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Removes everything of a network's attachments that are not among the valid ones.
pub(crate) fn collect(network: &str, valid: &[ValidAttachment]) -> anyhow::Result<()> {
    let is_stale = |id: &str, if_name: &str| {
        !valid
            .iter()
            .any(|valid| valid.container_id == id && valid.if_name == if_name)
    };
    let remembered = record::remembered(network);
    let stale: Vec<Attachment<'_>> = remembered
        .iter()
        .filter(|(id, if_name)| is_stale(id, if_name))
        .map(|(container_id, if_name)| Attachment {
            network,
            container_id,
            if_name,
        })
        .collect();
    let (rules_there, map_there) = tables_there()?;
    let from_rules = match rules_there {
        true => rules::collect(network, &is_stale, &recorded_rules(&stale)),
        false => Ok(()),
    };
    let from_map = match map_there {
        true => map::collect(network, &is_stale),
        false => Ok(()),
    };
    all([from_rules, from_map, iptables::collect(network, valid)])?;
    for attachment in &stale {
        Record::of(attachment).remove();
    }
    Ok(())
}

/// Returns the attachments whose records name rules of nftables, with these.
fn recorded_rules<'a>(attachments: &[Attachment<'a>]) -> Vec<(Attachment<'a>, Vec<Place>)> {
    let read = |attachment: &Attachment<'a>| match Record::of(attachment).read()? {
        Whereabouts::Rules(places) => Some((*attachment, places)),
        _ => None,
    };
    attachments.iter().filter_map(read).collect()
}
