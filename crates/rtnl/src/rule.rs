//! Policy rules: which routing table is asked for which packet (`RTM_*RULE`,
//! `linux/fib_rules.h`).

use std::net::IpAddr;

use netlink_packet_route::rule::{RuleAction, RuleHeader};

use crate::address::Family;
use crate::errno;
use crate::error::Error;
use crate::handle::Handle;
use crate::request::Request;
use crate::wire::attr::u32_at;
use crate::wire::*;

/// `FR_ACT_TO_TBL`: the rule names a table.
const FR_ACT_TO_TBL: u8 = 1;

/// A rule that names a table, to be added or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSpec {
    /// Family of the packets.
    pub family: Family,
    /// Network that packets come from, and its prefix length in bits; `None` is any.
    pub src: Option<(IpAddr, u8)>,
    /// Network that packets go to, and its prefix length in bits; `None` is any.
    pub dst: Option<(IpAddr, u8)>,
    /// The table asked. Any 32-bit number but 0.
    pub table: u32,
    /// The lower, the sooner. `None` is one less than the lowest but 0 when adding, and
    /// any when deleting.
    pub priority: Option<u32>,
}

impl RuleSpec {
    /// Packets from one address ask `table`; all else is left open.
    #[must_use]
    pub fn from_address(address: IpAddr, table: u32) -> RuleSpec {
        RuleSpec {
            family: Family::of(address),
            src: Some((address, whole(address))),
            dst: None,
            table,
            priority: None,
        }
    }

    fn encode(&self) -> Builder {
        let len = |network: Option<(IpAddr, u8)>| network.map_or(0, |(_, len)| len);
        let header = RuleHeader {
            family: self.family.header(),
            src_len: len(self.src),
            dst_len: len(self.dst),
            // Tables that do not fit are named by the attribute alone.
            table: u8::try_from(self.table).unwrap_or(0),
            action: RuleAction::ToTable,
            ..RuleHeader::default()
        };
        let mut body = Builder::new(&header);
        for (kind, network) in [(FRA_SRC, self.src), (FRA_DST, self.dst)] {
            if let Some((address, 1..)) = network {
                body.ip(kind, address);
            }
        }
        if header.table == 0 {
            body.u32(FRA_TABLE, self.table);
        }
        body.opt_u32(FRA_PRIORITY, self.priority);
        body
    }

    fn describe(&self, verb: &str) -> String {
        match self.src {
            Some((src, len)) => format!("{verb} rule from {src}/{len} lookup {}", self.table),
            None => format!("{verb} rule lookup {}", self.table),
        }
    }
}

/// The prefix length of a single address.
fn whole(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Which rules to list; `None` does not filter.
#[derive(Clone, Debug, Default)]
pub struct RuleFilter {
    /// Family; `None` lists IPv4, then IPv6.
    pub family: Option<Family>,
    /// Network that packets come from, and its prefix length in bits.
    pub src: Option<(IpAddr, u8)>,
    /// The table asked.
    pub table: Option<u32>,
    /// The priority.
    pub priority: Option<u32>,
}

impl RuleFilter {
    fn wants(&self, rule: &Rule) -> bool {
        self.src.is_none_or(|src| rule.src == Some(src))
            && self.table.is_none_or(|table| rule.table == Some(table))
            && self
                .priority
                .is_none_or(|priority| rule.priority == priority)
    }
}

/// A rule of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Family of the packets.
    pub family: Family,
    /// Network that packets come from, and its prefix length in bits; `None` is any.
    pub src: Option<(IpAddr, u8)>,
    /// Network that packets go to, and its prefix length in bits; `None` is any.
    pub dst: Option<(IpAddr, u8)>,
    /// The table asked; `None` if the rule does something else.
    pub table: Option<u32>,
    /// The lower, the sooner; 0 if not told.
    pub priority: u32,
    /// Who made the rule, `RTPROT_*`; 0 if that was not said.
    pub protocol: u8,
    /// Whether the rule looks at anything else than the two networks: marks, links,
    /// ports, users; or is inverted.
    pub selects_more: bool,
}

impl Rule {
    /// The request that adds or deletes a rule like this one. `None` if it does
    /// something else than ask a table, or looks at more than the two networks.
    #[must_use]
    pub fn spec(&self) -> Option<RuleSpec> {
        let table = self.table.filter(|_| !self.selects_more)?;
        Some(RuleSpec {
            family: self.family,
            src: self.src,
            dst: self.dst,
            table,
            priority: Some(self.priority),
        })
    }

    /// Reads the body of an `RTM_NEWRULE`: `struct fib_rule_hdr` and attributes.
    pub(crate) fn decode(body: &[u8]) -> Option<Rule> {
        let header = body.get(..FIB_RULE_HDR_LEN)?;
        let (dst_len, src_len, tos, action) = (header[1], header[2], header[3], header[7]);
        let mut table = u32::from(header[4]);
        let mut rule = Rule {
            family: Family::from_number(header[0])?,
            src: None,
            dst: None,
            table: None,
            priority: 0,
            protocol: 0,
            // The state of a rule is in the same bits as `FIB_RULE_INVERT`.
            selects_more: tos != 0 || u32_at(header, 8)? & 2 != 0,
        };
        for attribute in Attributes::after(body, FIB_RULE_HDR_LEN) {
            match attribute.kind {
                FRA_SRC => rule.src = attribute.ip().map(|ip| (ip, src_len)),
                FRA_DST => rule.dst = attribute.ip().map(|ip| (ip, dst_len)),
                FRA_PRIORITY => rule.priority = attribute.u32().unwrap_or(0),
                FRA_TABLE => table = attribute.u32().unwrap_or(table),
                FRA_PROTOCOL => rule.protocol = attribute.u8().unwrap_or(0),
                // Told of every rule: -1 is not set.
                FRA_SUPPRESS_PREFIXLEN | FRA_SUPPRESS_IFGROUP => {
                    rule.selects_more |= attribute.u32() != Some(u32::MAX);
                }
                FRA_GOTO | FRA_FLOW | FRA_PAD => {}
                // A mask of no mark says nothing.
                FRA_FWMARK | FRA_FWMASK => rule.selects_more |= attribute.u32() != Some(0),
                _ => rule.selects_more = true,
            }
        }
        rule.table = (action == FR_ACT_TO_TBL).then_some(table);
        Some(rule)
    }
}

impl<'fd> Request<'fd> {
    /// Adds a rule (`RTM_NEWRULE`, CREATE and EXCL).
    ///
    /// Errors: `EEXIST` if there is one like it of the same priority. Without one, the
    /// kernel picks a free priority, and so never refuses.
    #[must_use]
    pub fn add_rule(spec: &RuleSpec) -> Request<'fd> {
        let (flags, what) = (NLM_F_CREATE | NLM_F_EXCL, spec.describe("add"));
        Request::new(RTM_NEWRULE, flags, spec.encode(), what)
    }

    /// Deletes the first rule that matches what `spec` says (`RTM_DELRULE`), even one
    /// that looks at more than that.
    ///
    /// Errors: `ENOENT` if none does.
    #[must_use]
    pub fn del_rule(spec: &RuleSpec) -> Request<'fd> {
        Request::new(RTM_DELRULE, 0, spec.encode(), spec.describe("delete"))
    }
}

impl Handle {
    /// The rules that `filter` names, in the order in which they are asked. A family
    /// that the kernel lacks has none.
    ///
    /// # Errors
    /// As [`Handle::addresses`].
    pub fn rules(&self, filter: &RuleFilter) -> Result<Vec<Rule>, Error> {
        const WHAT: &str = "list rules";
        let mut rules = Vec::new();
        for family in [Family::V4, Family::V6] {
            let of_src = filter.src.is_none_or(|(src, _)| Family::of(src) == family);
            if !of_src || filter.family.is_some_and(|wanted| wanted != family) {
                continue;
            }
            // The kernel takes nothing but the family.
            let body = Builder::new(&RuleHeader {
                family: family.header(),
                ..RuleHeader::default()
            });
            let body = body
                .finish()
                .map_err(|problem| Error::invalid(problem.to_owned(), WHAT))?;
            let list = self
                .connection()
                .dump(RTM_GETRULE, &body, WHAT, |message, list| {
                    let rule = Rule::decode(message.body).filter(|_| message.kind == RTM_NEWRULE);
                    list.extend(rule.filter(|rule| rule.family == family && filter.wants(rule)));
                });
            match list {
                Err(error) if error.errno() == Some(errno::EAFNOSUPPORT) => {}
                list => rules.append(&mut list?),
            }
        }
        Ok(rules)
    }
}
