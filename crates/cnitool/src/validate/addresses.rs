//! Subnets, ranges and gateways.

use std::net::IpAddr;
use std::ops::Range;

use cni_core::Cidr;
use cni_core::cidr::parse_ip;

use super::document::{Node, join};
use super::finding::{Finding, Severity};
use super::network::{Element, Network};

/// A subnet that a network allocates addresses of.
pub(super) struct Subnet<'f> {
    pub(super) file: usize,
    pub(super) span: Range<usize>,
    pub(super) pointer: String,
    pub(super) cidr: Cidr,
    /// First and last address.
    range: (IpAddr, IpAddr),
    pub(super) network: &'f str,
    pub(super) plugin: Element<'f>,
}

/// The subnets of a network, and what is wrong with them by themselves.
pub(super) fn collect<'f>(network: &Network<'f>) -> (Vec<Subnet<'f>>, Vec<(usize, Finding)>) {
    let (mut subnets, mut findings) = (Vec::new(), Vec::new());
    for element in &network.plugins {
        let Some(ipam) = element.node.get("ipam") else {
            continue;
        };
        let mut one = Collector {
            network: network.name,
            plugin: element,
            subnets: Vec::new(),
            findings: Vec::new(),
        };
        let pointer = join(&element.pointer, "ipam");
        match element.ipam_kind() {
            "host-local" => one.host_local(ipam, &pointer),
            "static" => one.fixed(ipam, &pointer),
            _ => {}
        }
        one.overlaps();
        subnets.append(&mut one.subnets);
        findings.extend(
            one.findings
                .into_iter()
                .map(|finding| (element.file, finding)),
        );
    }
    (subnets, findings)
}

struct Collector<'e, 'f> {
    network: &'f str,
    plugin: &'e Element<'f>,
    subnets: Vec<Subnet<'f>>,
    findings: Vec<Finding>,
}

impl Collector<'_, '_> {
    fn report(
        &mut self,
        severity: Severity,
        node: &Node,
        pointer: String,
        what: String,
        help: String,
    ) {
        let span = node.span.clone();
        self.findings.push(Finding {
            severity,
            rule: "address",
            span,
            pointer,
            what,
            help,
        });
    }

    fn host_local(&mut self, ipam: &Node, pointer: &str) {
        if ipam.get("subnet").is_some() {
            self.range(ipam, pointer);
        } else {
            for key in ["rangeStart", "rangeEnd", "gateway"] {
                if let Some(node) = ipam.get(key) {
                    let what = format!("{key} has no effect without subnet beside it");
                    let help = "add \"subnet\", or move it into a range of ranges".to_owned();
                    self.report(Severity::Warning, node, join(pointer, key), what, help);
                }
            }
        }
        let sets = ipam.get("ranges").map_or(&[][..], Node::elements);
        for (i, set) in sets.iter().enumerate() {
            for (j, range) in set.elements().iter().enumerate() {
                self.range(range, &format!("{pointer}/ranges/{i}/{j}"));
            }
        }
        let is_dynamic = self
            .plugin
            .node
            .get("capabilities")
            .is_some_and(|c| c.get_exactly("ipRanges").is_some());
        let has_runtime = self.plugin.node.get("runtimeConfig").is_some();
        if sets.is_empty() && ipam.get("subnet").is_none() && !is_dynamic && !has_runtime {
            let what = "host-local has no addresses to allocate".to_owned();
            let help = "add \"ranges\": [[{ \"subnet\": \"10.1.0.0/16\" }]]".to_owned();
            let node = Node {
                span: ipam.start(),
                value: ipam.value.clone(),
            };
            self.report(Severity::Error, &node, pointer.to_owned(), what, help);
        }
    }

    /// Checks one range by the rules of host-local.
    fn range(&mut self, range: &Node, pointer: &str) {
        let Some(node) = range.get("subnet") else {
            return;
        };
        let at = join(pointer, "subnet");
        let Some(cidr) = self.subnet(node, &at) else {
            return;
        };
        let start = self.inside(range, pointer, "rangeStart", cidr, Severity::Error);
        let end = self.inside(range, pointer, "rangeEnd", cidr, Severity::Error);
        if self.plugin.kind() != "ptp" {
            self.inside(range, pointer, "gateway", cidr, Severity::Warning);
        }
        if let (Some(start), Some(end), Some(node)) = (start, end, range.get("rangeEnd"))
            && end < start
        {
            let what = format!("rangeEnd {end} is before rangeStart {start}");
            self.report(
                Severity::Error,
                node,
                join(pointer, "rangeEnd"),
                what,
                "exchange the two".to_owned(),
            );
        }
        let (first, last) = (
            start.unwrap_or(cidr.network()),
            end.unwrap_or(cidr.broadcast()),
        );
        self.subnets.push(Subnet {
            file: self.plugin.file,
            span: node.span.clone(),
            pointer: at,
            cidr,
            range: (first, last.max(first)),
            network: self.network,
            plugin: self.plugin.clone(),
        });
    }

    /// The subnet of a range, if host-local accepts it.
    fn subnet(&mut self, node: &Node, at: &str) -> Option<Cidr> {
        // What is not a network is reported by the schema.
        let cidr = node.text()?.parse::<Cidr>().ok()?;
        let longest = if cidr.is_ipv4() { 30 } else { 126 };
        let (what, help) = if cidr.prefix() > longest {
            let help = format!("write a prefix length of at most {longest}");
            (format!("subnet {cidr} is too small to allocate from"), help)
        } else if cidr.addr() != cidr.network() {
            let help = format!("write \"{}\"", cidr.masked());
            (
                format!("subnet {cidr} is an address within a network"),
                help,
            )
        } else {
            return Some(cidr);
        };
        self.report(Severity::Error, node, at.to_owned(), what, help);
        None
    }

    /// The address under `key`, which should be in `subnet`.
    fn inside(
        &mut self,
        range: &Node,
        pointer: &str,
        key: &str,
        subnet: Cidr,
        severity: Severity,
    ) -> Option<IpAddr> {
        let node = range.get(key)?;
        let address = node.text().and_then(|text| parse_ip(text).ok())?;
        if !subnet.contains(address) {
            let other_family = address.is_ipv4() != subnet.is_ipv4();
            let severity = if other_family {
                Severity::Error
            } else {
                severity
            };
            let what = format!("{key} {address} is not in the subnet {subnet}");
            let help = format!(
                "write an address between {} and {}",
                subnet.network(),
                subnet.broadcast()
            );
            self.report(severity, node, join(pointer, key), what, help);
            return None;
        }
        Some(address)
    }

    /// Checks the addresses of static.
    fn fixed(&mut self, ipam: &Node, pointer: &str) {
        // The gateway of ptp is reached through the interface, wherever it is.
        if self.plugin.kind() == "ptp" {
            return;
        }
        let addresses = ipam.get("addresses").map_or(&[][..], Node::elements);
        for (i, entry) in addresses.iter().enumerate() {
            let address = entry
                .get("address")
                .and_then(Node::text)
                .and_then(|text| text.parse::<Cidr>().ok());
            let gateway = entry.get("gateway");
            let parsed = gateway
                .and_then(Node::text)
                .and_then(|text| parse_ip(text).ok());
            if let (Some(cidr), Some(node), Some(gateway)) = (address, gateway, parsed)
                && !cidr.contains(gateway)
            {
                let what = format!("gateway {gateway} is not in the network of {cidr}");
                let help = format!("write an address of {}", cidr.masked());
                self.report(
                    Severity::Warning,
                    node,
                    format!("{pointer}/addresses/{i}/gateway"),
                    what,
                    help,
                );
            }
        }
    }

    /// Ranges of one network that share addresses, which host-local refuses.
    fn overlaps(&mut self) {
        let mut findings = Vec::new();
        for (number, subnet) in self.subnets.iter().enumerate() {
            let shares = |other: &&Subnet<'_>| {
                let ((first, last), (start, end)) = (subnet.range, other.range);
                first.is_ipv4() == start.is_ipv4() && first <= end && start <= last
            };
            if let Some(other) = self.subnets[..number].iter().find(shares) {
                findings.push(Finding {
                    severity: Severity::Error,
                    rule: "overlap",
                    span: subnet.span.clone(),
                    pointer: subnet.pointer.clone(),
                    what: format!(
                        "{} and {} of {} overlap",
                        subnet.cidr, other.cidr, other.pointer
                    ),
                    help: "write another subnet, or ranges that do not overlap".to_owned(),
                });
            }
        }
        self.findings.append(&mut findings);
    }
}

/// Whether two networks have addresses in common.
pub(super) fn overlap(a: Cidr, b: Cidr) -> bool {
    a.contains(b.network()) || b.contains(a.network())
}

/// Subnets of different networks that overlap.
pub(super) fn between_networks(subnets: &[Subnet<'_>], names: &[&str]) -> Vec<(usize, Finding)> {
    let mut findings = Vec::new();
    for (number, subnet) in subnets.iter().enumerate() {
        let is_other = |other: &&Subnet<'_>| {
            (other.network, other.file) != (subnet.network, subnet.file)
                && overlap(subnet.cidr, other.cidr)
        };
        let Some(other) = subnets[..number].iter().find(is_other) else {
            continue;
        };
        let what = format!(
            "{} overlaps {} of the network \"{}\" in {}",
            subnet.cidr, other.cidr, other.network, names[other.file]
        );
        let help = "write another subnet, unless the two networks are never connected".to_owned();
        let (span, pointer) = (subnet.span.clone(), subnet.pointer.clone());
        let severity = Severity::Warning;
        findings.push((
            subnet.file,
            Finding {
                severity,
                rule: "overlap",
                span,
                pointer,
                what,
                help,
            },
        ));
    }
    findings
}
