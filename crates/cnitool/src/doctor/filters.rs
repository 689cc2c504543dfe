//! Packet filters: which are in use, and what drops forwarded packets.

use netfilter::backend::Backend;
use netfilter::iptables::{self, is_table_in_legacy_use};
use netfilter::nft::{self, Nft, Policy};

use super::{Host, Report};

const AREA: &str = "packet filter";

/// Chains that distributions and firewalls forward through, beside those of iptables.
const FORWARD_CHAINS: &[(nft::Family, &str, &str)] = &[
    (nft::Family::Inet, "filter", "forward"),
    (nft::Family::Inet, "filter", "FORWARD"),
    (nft::Family::Ip, "filter", "forward"),
    (nft::Family::Ip6, "filter", "forward"),
];

pub(super) fn examine(host: &Host, report: &mut Report) {
    let works = |backend: Backend| match backend.probe(false) {
        Ok(()) => "works".to_owned(),
        Err(error) => format!("does not work: {error}"),
    };
    report.fact("nftables", works(Backend::Nftables));
    report.fact("iptables", works(Backend::Iptables));
    variants(report);
    let drops = dropping_chains();
    let open = host.networks_without("firewall");
    if !drops.is_empty() && !open.is_empty() {
        report.error(
            AREA,
            format!("{} drops what no rule accepts", drops.join(", ")),
            format!(
                "networks without the plugin firewall are cut off: {}",
                open.join(", ")
            ),
            "add {\"type\": \"firewall\"} to them (\"cnitool chain add\"), or accept their packets",
        );
    }
}

/// Rules of both variants of iptables act on each packet.
fn variants(report: &mut Report) {
    let legacy = |table| is_table_in_legacy_use(iptables::Family::V4, table);
    let is_legacy_used = legacy(iptables::Table::Filter) || legacy(iptables::Table::Nat);
    let is_nft_used = Nft::open().is_ok_and(|nft| {
        ["filter", "nat"].iter().any(|name| {
            nft.has_table(&nft::Table::new(nft::Family::Ip, name))
                .unwrap_or(false)
        })
    });
    if is_legacy_used && is_nft_used {
        report.warning(
            AREA,
            "both variants of iptables have tables: iptables-legacy and iptables-nft",
            "each packet passes both, and \"iptables -S\" shows only one of them",
            "find out who uses which (\"iptables-legacy -S\", \"iptables-nft -S\"), choose one by \"update-alternatives --config iptables\", and reboot",
        );
    }
}

/// The chains at the hook `forward` whose policy is to drop.
fn dropping_chains() -> Vec<String> {
    let mut found = Vec::new();
    for family in iptables::Family::ALL {
        let tables = iptables::read_all(family, iptables::Table::Filter).unwrap_or_default();
        if tables
            .iter()
            .any(|saved| saved.policy("FORWARD") == Some("DROP"))
        {
            found.push(format!("FORWARD of {}", family.command()));
        }
    }
    if let Ok(nft) = Nft::open() {
        for (family, table, chain) in FORWARD_CHAINS {
            let table = nft::Table::new(*family, table);
            let info = nft.chain(&table.chain(chain)).ok().flatten();
            let policy = info.and_then(|info| info.base).and_then(|base| base.policy);
            if policy == Some(Policy::Drop) {
                found.push(format!(
                    "nft chain {} {} {chain}",
                    family.as_str(),
                    table.name
                ));
            }
        }
    }
    found
}
