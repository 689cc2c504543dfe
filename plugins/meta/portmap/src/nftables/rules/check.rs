//! CHECK of the rules of one attachment and of those that all attachments share.

use super::super::{family, is_of};
use super::catches_foreign;
use super::objects::Objects;
use crate::attachment::socket;
use crate::conditions::{Comparison, Conditions};
use crate::config::Config;
use crate::mapping::Mapping;
use anyhow::{anyhow, bail};
use cni_core::Cidr;
use cni_core::quote::quote;
use cni_state::Owner;
use netfilter::nft::{Chain, Nft, Rule, RuleInfo, RuleView};
use plugin_kit::detailed;

/// Compares the rules of an attachment, and those that all share, with what ADD makes.
///
/// # Errors
/// At the first difference, with upstream's message where it has one.
pub(crate) fn check(owner: &Owner, config: &Config, targets: &[Cidr]) -> anyhow::Result<()> {
    let nft = Nft::open()?;
    for target in targets {
        let objects = Objects::of(family(target.is_ipv4()));
        let check = Check {
            nft: &nft,
            owner,
            config,
            target: *target,
            table: format!(
                "table {} {}",
                objects.table.family.as_str(),
                objects.table.name
            ),
            objects,
        };
        let mappings = check.rules_of(&check.objects.hostports)?;
        check.mappings(&mappings)?;
        check.masquerades()?;
        check.base_chains(is_of_upstream(&mappings))?;
        check.hostport_jumps()?;
    }
    Ok(())
}

/// Rules without a note are those of another implementation, or of the `nft` command.
fn is_of_upstream(rules: &[RuleInfo]) -> bool {
    rules.iter().all(|rule| rule.note.is_none())
}

struct Check<'a> {
    nft: &'a Nft,
    owner: &'a Owner,
    config: &'a Config,
    target: Cidr,
    objects: Objects,
    table: String,
}

impl Check<'_> {
    fn rules_of(&self, chain: &Chain<'_>) -> anyhow::Result<Vec<RuleInfo>> {
        let own = |rule: &RuleView<'_>| is_of(rule, self.owner, &[]);
        Ok(self.nft.find_rules(chain, own)?)
    }

    fn mappings(&self, present: &[RuleInfo]) -> anyhow::Result<()> {
        let missing = match self.config.nft_conditions(self.target.is_ipv4())? {
            Conditions::Comparisons(comparisons) => {
                let rules = self.rules(&comparisons);
                // Upstream has the conditions in the base chains.
                let plain = match is_of_upstream(present) {
                    true => self.rules(&[]),
                    false => Vec::new(),
                };
                let is_present = |mapping: &Mapping| {
                    let mut expected = rules.iter().chain(&plain).filter(|(of, _)| *of == mapping);
                    expected.any(|(_, rule)| present.iter().any(|found| found.same_as(rule)))
                };
                rules.iter().map(|(m, _)| *m).find(|m| !is_present(m))
            }
            Conditions::Script(_) => self.missing_from_script(present),
        };
        match missing {
            Some(mapping) => Err(self.missing_rule("hostports", &self.leading_to(mapping))),
            None => Ok(()),
        }
    }

    fn rules(&self, comparisons: &[Comparison]) -> Vec<(&Mapping, Rule<'static>)> {
        self.objects
            .mapping_rules(self.config, comparisons, self.target)
    }

    /// Of what `nft` has written only the end is known, so the rules that lead to a
    /// port of the container are counted.
    fn missing_from_script(&self, present: &[RuleInfo]) -> Option<&Mapping> {
        let mappings = || self.config.mappings_for(self.target.is_ipv4());
        mappings().find(|mapping| {
            let dnat = self.objects.dnat_rule(mapping, self.target);
            let found = present.iter().filter(|rule| rule.ends_with(&dnat));
            let expected = mappings().filter(|m| m.container_port == mapping.container_port);
            found.count() < expected.count()
        })
    }

    fn leading_to(&self, mapping: &Mapping) -> String {
        format!(
            "no rule for {} port {} that leads to {}",
            mapping.protocol.as_str(),
            mapping.host_port,
            socket(self.target, mapping)
        )
    }

    fn masquerades(&self) -> anyhow::Result<()> {
        let present = self.rules_of(&self.objects.bases.masquerading)?;
        let upstream = self
            .objects
            .upstream_masquerade_rule(self.config, self.target);
        for (clients, rule) in self.objects.masquerade_rules(self.config, self.target) {
            let found = present.iter().any(|found| {
                found.same_as(&rule) || found.note.is_none() && found.same_as(&upstream)
            });
            if !found {
                let what = format!("no rule that masquerades {clients}");
                return Err(self.missing_rule("masquerading", &what));
            }
        }
        Ok(())
    }

    /// The base chains: at their hooks, and with nothing but the jump to the mappings.
    fn base_chains(&self, is_of_upstream: bool) -> anyhow::Result<()> {
        for rule in self.objects.base_rules() {
            let chain = rule.chain();
            let present = self.nft.rules(&chain)?;
            if present.iter().any(catches_foreign) {
                bail!(
                    "a rule in chain {} of {} maps packets that are not for this host",
                    quote(chain.name),
                    self.table
                );
            }
            let is_hooked = self.nft.chain(&chain)?.is_some_and(|info| {
                matches!((info.base, chain.base), (Some(found), Some(expected))
                    if (found.kind, found.hook) == (expected.kind, expected.hook))
            });
            // Upstream's may have conditions before the jump.
            let jumps = present.iter().any(|found| found.same_as(&rule))
                || is_of_upstream && !present.is_empty();
            if !is_hooked || !jumps {
                return Err(self.no_jump(chain.name));
            }
        }
        Ok(())
    }

    fn hostport_jumps(&self) -> anyhow::Result<()> {
        let present = self.nft.rules(&self.objects.hostports_all)?;
        for rule in self.objects.hostport_jumps() {
            if !present.iter().any(|found| found.same_as(&rule)) {
                return Err(self.no_jump(self.objects.hostports_all.name));
            }
        }
        Ok(())
    }

    fn no_jump(&self, chain: &str) -> anyhow::Error {
        anyhow!(
            "chain {} of {} does not jump to the mappings",
            quote(chain),
            self.table
        )
    }

    fn missing_rule(&self, chain: &str, what: &str) -> anyhow::Error {
        let msg = format!("missing hostport rules in {} chain", quote(chain));
        detailed(msg, format!("{what} in {}", self.table))
    }
}
