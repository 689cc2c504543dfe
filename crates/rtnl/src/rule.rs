//! Policy routing rules (`RTM_*RULE`, `linux/fib_rules.h`).

use std::net::IpAddr;

use netlink_packet_route::rule::{RuleAction, RuleHeader};

use crate::address::Family;
use crate::errno;
use crate::error::Error;
use crate::handle::Handle;
use crate::request::Request;
use crate::wire::attr::u32_at;
use crate::wire::*;

/// `FR_ACT_TO_TBL`: the rule looks up a table.
const FR_ACT_TO_TBL: u8 = 1;

/// A rule that looks up a table, to be added or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSpec {
    /// Family of the packets.
    pub family: Family,
    /// Source network and its prefix length in bits; `None` is any.
    pub src: Option<(IpAddr, u8)>,
    /// Destination network and its prefix length in bits; `None` is any.
    pub dst: Option<(IpAddr, u8)>,
    /// The table to look up. Any 32-bit number but 0.
    pub table: u32,
    /// Priority; rules are evaluated in ascending order. `None` means one less than the
    /// second lowest when adding and any when deleting.
    pub priority: Option<u32>,
}

impl RuleSpec {
    /// `from <address> lookup <table>`.
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
            // A table number above 255 is in the attribute only.
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
    /// Source network and its prefix length in bits.
    pub src: Option<(IpAddr, u8)>,
    /// The table to look up.
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
    /// Source network and its prefix length in bits; `None` is any.
    pub src: Option<(IpAddr, u8)>,
    /// Destination network and its prefix length in bits; `None` is any.
    pub dst: Option<(IpAddr, u8)>,
    /// The table to look up; `None` for a rule with another action.
    pub table: Option<u32>,
    /// Priority; rules are evaluated in ascending order.
    pub priority: u32,
    /// Origin of the rule, `RTPROT_*`; 0 if unspecified.
    pub protocol: u8,
    /// Whether the rule has other selectors than the two networks, such as marks, links,
    /// ports or users, or is inverted.
    selects_more: bool,
}

impl Rule {
    /// The specification that adds or deletes this rule. `None` if the rule has another
    /// action than a table lookup or other selectors than the two networks.
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
            // The flags also contain the state of the rule.
            selects_more: tos != 0 || u32_at(header, 8)? & 2 != 0,
        };
        for attribute in Attributes::after(body, FIB_RULE_HDR_LEN) {
            match attribute.kind {
                FRA_SRC => rule.src = attribute.ip().map(|ip| (ip, src_len)),
                FRA_DST => rule.dst = attribute.ip().map(|ip| (ip, dst_len)),
                FRA_PRIORITY => rule.priority = attribute.u32().unwrap_or(0),
                FRA_TABLE => table = attribute.u32().unwrap_or(table),
                FRA_PROTOCOL => rule.protocol = attribute.u8().unwrap_or(0),
                // Reported for every rule; -1 means unset.
                FRA_SUPPRESS_PREFIXLEN | FRA_SUPPRESS_IFGROUP => {
                    rule.selects_more |= attribute.u32() != Some(u32::MAX);
                }
                FRA_GOTO | FRA_FLOW | FRA_PAD => {}
                // A mark of 0 with mask 0 matches everything.
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
    /// Errors: `EEXIST` if the same rule exists with the same priority. Without a
    /// priority the kernel picks a free one, so this never happens.
    #[must_use]
    pub fn add_rule(spec: &RuleSpec) -> Request<'fd> {
        let (flags, what) = (NLM_F_CREATE | NLM_F_EXCL, spec.describe("add"));
        Request::new(RTM_NEWRULE, flags, spec.encode(), what)
    }

    /// Deletes the first rule that matches `spec` (`RTM_DELRULE`), even one that has
    /// further selectors.
    ///
    /// Errors: `ENOENT` if no rule matches.
    #[must_use]
    pub fn del_rule(spec: &RuleSpec) -> Request<'fd> {
        Request::new(RTM_DELRULE, 0, spec.encode(), spec.describe("delete"))
    }
}

impl Handle {
    /// The rules that match `filter`, in order of evaluation. Empty for a family that
    /// the kernel lacks.
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
            // A dump can be filtered by family only.
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
