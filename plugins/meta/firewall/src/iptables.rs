//! The iptables backend, table `filter`: chains, rules and comments in upstream's
//! form, so that either implementation finds what the other one made.

use crate::attachment::Attachment;
use crate::config::{Config, Policy};
use crate::record::{Record, note};
use anyhow::{anyhow, bail};
use cni_core::{Code, Error as CniError};
use netfilter::Error;
use netfilter::iptables::{self, Change, Family, Iptables, Rule, Saved, Table};
use std::net::IpAddr;

const FORWARD: &str = "FORWARD";
const CONTAINERS: &str = "CNI-FORWARD";
/// Of each bridge with a policy: what leaves it goes on to stage 2.
const STAGE_1: &str = "CNI-ISOLATION-STAGE-1";
/// Of each bridge with a policy: what enters it is dropped.
const STAGE_2: &str = "CNI-ISOLATION-STAGE-2";

const TABLE: Table = Table::Filter;

/// The two families, in the order in which they are served.
const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

type Placed = (&'static str, Rule);

fn to_containers() -> Rule {
    Rule::new()
        .comment("CNI firewall plugin rules")
        .jump(CONTAINERS)
}

fn to_admin(chain: &str) -> Rule {
    Rule::new()
        .comment("CNI firewall plugin admin overrides")
        .jump(chain)
}

fn prefix_len(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Answers to a container, and all that it sends.
fn container_rules(address: IpAddr) -> [Rule; 2] {
    let len = prefix_len(address);
    [
        Rule::new()
            .destination(address, len)
            .related_or_established()
            .jump("ACCEPT"),
        Rule::new().source(address, len).jump("ACCEPT"),
    ]
}

/// The comment of rules that all policies have in common.
const SHARED: &str = "CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)";

fn comment_of(policy: Policy) -> String {
    format!(
        "CNI firewall plugin rules (ingressPolicy: {})",
        policy.as_str()
    )
}

fn to_stage_1() -> Rule {
    Rule::new().comment(SHARED).jump(STAGE_1)
}

fn to_stage_2(bridge: &str, policy: Policy) -> Rule {
    Rule::new()
        .in_interface(bridge)
        .not_out_interface(bridge)
        .comment(&comment_of(policy))
        .jump(STAGE_2)
}

fn drop_within(bridge: &str) -> Rule {
    Rule::new()
        .in_interface(bridge)
        .out_interface(bridge)
        .comment(&comment_of(Policy::Isolated))
        .jump("DROP")
}

fn drop_into(bridge: &str, comment: &str) -> Rule {
    Rule::new()
        .out_interface(bridge)
        .comment(comment)
        .jump("DROP")
}

fn back() -> Rule {
    Rule::new().comment(SHARED).jump("RETURN")
}

/// The rules of a bridge, each to be inserted at the top of its chain.
fn bridge_rules(bridge: &str, policy: Policy) -> Vec<Placed> {
    let mut rules = vec![(STAGE_1, to_stage_2(bridge, policy))];
    if policy == Policy::Isolated {
        rules.push((STAGE_1, drop_within(bridge)));
    }
    rules.push((STAGE_2, drop_into(bridge, SHARED)));
    rules
}

/// All that any release of either implementation puts there for a bridge.
fn all_bridge_rules(bridge: &str) -> Vec<Placed> {
    let old = comment_of(Policy::SameBridge);
    let mut rules = bridge_rules(bridge, Policy::Isolated);
    rules.push((STAGE_1, to_stage_2(bridge, Policy::SameBridge)));
    rules.push((STAGE_2, drop_into(bridge, &old)));
    rules
}

/// What a call has put into the table and not yet vouched for: it is taken out again
/// unless [`Added::keep`] is called.
#[derive(Default)]
pub(crate) struct Added {
    rules: Vec<(Family, Vec<Placed>)>,
}

impl Added {
    /// The work is complete.
    pub(crate) fn keep(mut self) {
        self.rules.clear();
    }
}

impl Drop for Added {
    fn drop(&mut self) {
        for (family, rules) in self.rules.drain(..).rev() {
            if let Err(error) = delete(family, &rules) {
                note(&format!("failed to take back the rules: {error}"));
            }
        }
    }
}

/// Lets the traffic of the attachment's addresses through (with `accept`), and
/// enforces its policy, family by family.
///
/// # Errors
/// Those of iptables. Nothing is left behind but shared chains.
pub(crate) fn add(config: &Config, attachment: &Attachment, accept: bool) -> Result<Added, Error> {
    let mut added = Added::default();
    for family in FAMILIES {
        let addresses = of_family(&attachment.addresses, family);
        if !addresses.is_empty() && (accept || attachment.bridge.is_some()) {
            let iptables = Iptables::find(family)?;
            let mut new = Vec::new();
            iptables.transaction(TABLE, |saved| {
                let (change, rules) = additions(config, attachment, accept, &addresses, saved);
                new = rules;
                change
            })?;
            added.rules.push((family, new));
        }
    }
    Ok(added)
}

/// Looks for the commands of all families before any is run.
///
/// # Errors
/// When one is not installed.
pub(crate) fn require_commands(addresses: &[IpAddr]) -> Result<(), Error> {
    let mut families = addresses.iter().map(|address| Family::of(*address));
    families.try_for_each(|family| Iptables::find(family).map(drop))
}

fn of_family(addresses: &[IpAddr], family: Family) -> Vec<IpAddr> {
    let addresses = addresses.iter().copied();
    addresses
        .filter(|address| Family::of(*address) == family)
        .collect()
}

/// What is to be added to a table, and which of it is not there yet and no one
/// else's.
fn additions(
    config: &Config,
    attachment: &Attachment,
    accept: bool,
    addresses: &[IpAddr],
    saved: &Saved,
) -> (Change, Vec<Placed>) {
    let mut change = Change::new(TABLE);
    let mut own = Vec::new();
    if accept {
        let admin = &config.admin_chain;
        change = change
            .chain(CONTAINERS)
            .chain(admin)
            .insert(FORWARD, to_containers())
            .insert(CONTAINERS, to_admin(admin));
        for rule in addresses
            .iter()
            .flat_map(|address| container_rules(*address))
        {
            change = change.append(CONTAINERS, rule.clone());
            own.push((CONTAINERS, rule));
        }
    }
    if let Some(bridge) = &attachment.bridge {
        change = change.chain(STAGE_1).chain(STAGE_2);
        change = change.insert(FORWARD, to_stage_1());
        let policy = effective(config.policy, bridge, &attachment.owner.network, saved);
        let wanted = bridge_rules(bridge, policy);
        for (chain, rule) in all_bridge_rules(bridge) {
            let is_other = chain == STAGE_1 && !wanted.iter().any(|(_, w)| w.same_as(&rule));
            if is_other && saved.has_rule(chain, &rule) {
                change = change.delete(chain, rule);
            }
        }
        for (chain, rule) in wanted {
            change = change.insert(chain, rule.clone());
            own.push((chain, rule));
        }
        change = change.append(STAGE_1, back()).append(STAGE_2, back());
    }
    if is_bypassed(saved, accept) {
        change = change.delete(FORWARD, to_stage_1());
        change = change.insert(FORWARD, to_stage_1());
    }
    own.retain(|(chain, rule)| !saved.has_rule(chain, rule));
    (change, own)
}

/// Whether packets reach the containers' rules before the policies', in a table that
/// has both, or is about to have.
fn is_bypassed(saved: &Saved, accept: bool) -> bool {
    let place = |target: &str| {
        saved
            .rules_of(FORWARD)
            .position(|rule| rule.jumps_to(target))
    };
    match (place(STAGE_1), place(CONTAINERS)) {
        (Some(stage_1), Some(containers)) => stage_1 > containers,
        // The jump to the containers is going to be put on top.
        (Some(_), None) => accept,
        (None, _) => false,
    }
}

/// The policy that a bridge gets: the newer configuration of a network replaces the
/// older, but between two networks the stricter one counts.
fn effective(policy: Policy, bridge: &str, network: &str, saved: &Saved) -> Policy {
    if policy == Policy::Isolated || !saved.has_rule(STAGE_1, &drop_within(bridge)) {
        return policy;
    }
    let isolated = Policy::Isolated.as_str();
    let is_others = |record: &Record| {
        let is_same = |(name, policy): &(String, String)| name == bridge && policy == isolated;
        record.owner.network != network && record.bridge.as_ref().is_some_and(is_same)
    };
    if Record::all().iter().any(|(_, record)| is_others(record)) {
        Policy::Isolated
    } else {
        policy
    }
}

/// Takes rules out of a table.
fn delete(family: Family, rules: &[Placed]) -> Result<(), Error> {
    if rules.is_empty() {
        return Ok(());
    }
    iptables::delete(family, &deletion(rules))
}

fn deletion(rules: &[Placed]) -> Change {
    rules
        .iter()
        .fold(Change::new(TABLE), |change, (chain, rule)| {
            change.delete(chain, rule.clone())
        })
}

/// Takes back what [`add`] did for addresses, whoever did it, and for bridges that
/// are gone. Each family is tried whatever became of the other.
///
/// # Errors
/// Those of iptables.
pub(crate) fn del(addresses: &[IpAddr], gone: &[String]) -> anyhow::Result<()> {
    each_family(|family| {
        let own = of_family(addresses, family);
        let rules = own.iter().flat_map(|address| container_rules(*address));
        let mut rules: Vec<Placed> = rules.map(|rule| (CONTAINERS, rule)).collect();
        if gone.is_empty() {
            return delete(family, &rules);
        }
        for bridge in gone {
            rules.extend(all_bridge_rules(bridge));
        }
        // Most of these are not there, so the table is read first.
        iptables::delete_where(family, TABLE, |_| deletion(&rules))
    })
}

/// Removes the rules of addresses, and those of bridges that are `gone`.
///
/// # Errors
/// Those of iptables.
pub(crate) fn gc(addresses: &[IpAddr], gone: impl Fn(&str) -> bool) -> anyhow::Result<()> {
    each_family(|family| {
        let own = of_family(addresses, family);
        let rules = own.iter().flat_map(|address| container_rules(*address));
        let rules: Vec<Placed> = rules.map(|rule| (CONTAINERS, rule)).collect();
        delete(family, &rules)?;
        iptables::delete_where(family, TABLE, |saved| {
            let bridges = bridges(saved);
            let gone = bridges.iter().filter(|bridge| gone(bridge));
            let rules: Vec<Placed> = gone.flat_map(|bridge| all_bridge_rules(bridge)).collect();
            deletion(&rules)
        })
    })
}

/// The bridges that a table has policies of.
fn bridges(saved: &Saved) -> Vec<String> {
    let mut names: Vec<String> = saved
        .rules_of(STAGE_1)
        .chain(saved.rules_of(STAGE_2))
        .filter_map(|rule| {
            let mut words = rule.text.split_ascii_whitespace();
            words.find(|word| *word == "-i" || *word == "-o")?;
            words.next().map(str::to_owned)
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn each_family(mut work: impl FnMut(Family) -> Result<(), Error>) -> anyhow::Result<()> {
    let [v4, v6] = FAMILIES.map(|family| work(family).map_err(anyhow::Error::from));
    match (v4, v6) {
        (Err(error), Err(also)) => Err(anyhow!("{error:#}; and for IPv6: {also:#}")),
        (v4, v6) => v4.and(v6),
    }
}

/// Whether everything is as [`add`] made it. Nothing is changed.
///
/// # Errors
/// At the first thing that differs.
pub(crate) fn check(config: &Config, attachment: &Attachment, accept: bool) -> anyhow::Result<()> {
    for family in FAMILIES {
        let addresses = of_family(&attachment.addresses, family);
        if !addresses.is_empty() && (accept || attachment.bridge.is_some()) {
            let saved = Iptables::find(family)?.read(TABLE)?;
            if accept {
                check_containers(config, &addresses, &saved)?;
            }
            if let Some(bridge) = &attachment.bridge {
                check_bridge(bridge, config.policy, &saved)?;
            }
        }
    }
    Ok(())
}

fn check_containers(config: &Config, addresses: &[IpAddr], saved: &Saved) -> anyhow::Result<()> {
    require(saved, FORWARD, &to_containers(), "FORWARD ")?;
    let admin = to_admin(&config.admin_chain);
    require(saved, CONTAINERS, &admin, "CNI-FORWARD ")?;
    for rule in addresses
        .iter()
        .flat_map(|address| container_rules(*address))
    {
        require(saved, CONTAINERS, &rule, "")?;
    }
    Ok(())
}

fn require(saved: &Saved, chain: &str, rule: &Rule, whose: &str) -> anyhow::Result<()> {
    if saved.has_rule(chain, rule) {
        return Ok(());
    }
    let msg = format!(
        "expected {whose}rule [{}] not found",
        rule.words().join(" ")
    );
    Err(CniError::new(Code::INTERNAL, msg)
        .with_details(format!("it is not in chain {chain} of table filter"))
        .into())
}

/// Releases of upstream before `isolated` have other comments, which are as good.
fn check_bridge(bridge: &str, policy: Policy, saved: &Saved) -> anyhow::Result<()> {
    if !saved.rules_of(FORWARD).any(|rule| rule.jumps_to(STAGE_1)) {
        require(saved, FORWARD, &to_stage_1(), "FORWARD ")?;
    }
    if is_bypassed(saved, false) {
        bail!(
            "chain FORWARD of table filter has the jump to {CONTAINERS} above that to {STAGE_1}: \
             ingress policy {} is without effect",
            policy.as_str()
        );
    }
    let has_any =
        |chain: &str, rules: [Rule; 2]| rules.iter().any(|rule| saved.has_rule(chain, rule));
    let on = [Policy::SameBridge, Policy::Isolated].map(|policy| to_stage_2(bridge, policy));
    if !has_any(STAGE_1, on) {
        require(saved, STAGE_1, &to_stage_2(bridge, policy), "")?;
    }
    let old = comment_of(Policy::SameBridge);
    if !has_any(
        STAGE_2,
        [SHARED, &old].map(|comment| drop_into(bridge, comment)),
    ) {
        require(saved, STAGE_2, &drop_into(bridge, SHARED), "")?;
    }
    if policy == Policy::Isolated {
        require(saved, STAGE_1, &drop_within(bridge), "")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_as_iptables_prints_them() {
        let [to, from] = container_rules("fd00::2".parse().unwrap());
        assert_eq!(
            to.to_string(),
            "-d fd00::2/128 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
        );
        assert_eq!(from.to_string(), "-s fd00::2/128 -j ACCEPT");
        assert_eq!(
            drop_within("cni0").to_string(),
            "-i cni0 -o cni0 -m comment --comment \
             \"CNI firewall plugin rules (ingressPolicy: isolated)\" -j DROP"
        );
    }

    #[test]
    fn policies_come_first() {
        let saved = |forward: &str| Saved::parse(format!("*filter\n{forward}\nCOMMIT\n"));
        let (policy, containers) = (
            "-A FORWARD -j CNI-ISOLATION-STAGE-1",
            "-A FORWARD -j CNI-FORWARD",
        );
        assert!(!is_bypassed(
            &saved(&format!("{policy}\n{containers}")),
            true
        ));
        assert!(is_bypassed(
            &saved(&format!("{containers}\n{policy}")),
            false
        ));
        assert!(is_bypassed(&saved(policy), true));
        assert!(!is_bypassed(&saved(policy), false));
        assert!(!is_bypassed(&saved(containers), true));
    }

    #[test]
    fn bridges_of_a_table() {
        let text = all_bridge_rules("br-b")
            .into_iter()
            .chain(all_bridge_rules("br-a"))
            .map(|(chain, rule)| format!("-A {chain} {rule}\n"))
            .collect();
        assert_eq!(bridges(&Saved::parse(text)), ["br-a", "br-b"]);
    }
}
