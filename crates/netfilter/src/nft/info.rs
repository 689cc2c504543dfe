//! Rules and chains as the kernel reports them.

use rtnl::netlink::{Attribute, Attributes};

use super::constants::*;
use super::object::{Base, ChainType, Hook, Policy};
use super::rule::Rule;
use super::userdata::{find_comment, find_note};
use super::value::octets;
use crate::nfnetlink::NFGENMSG_LEN;

/// A rule as the kernel reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleInfo {
    /// The handle by which the rule can be deleted; unique in the table.
    pub handle: u64,
    /// The chain's name.
    pub chain: String,
    /// The comment.
    pub comment: Option<String>,
    /// The note, see [`Rule::note`].
    pub note: Option<Vec<u8>>,
    /// The value of `NFTA_RULE_EXPRESSIONS`.
    expressions: Vec<u8>,
}

/// A rule in a dump that is being read; borrows from the message.
#[derive(Clone, Copy)]
pub struct RuleView<'a> {
    /// See [`RuleInfo::handle`].
    pub handle: u64,
    /// The comment.
    pub comment: Option<&'a str>,
    /// The note, see [`Rule::note`].
    pub note: Option<&'a [u8]>,
    chain: Attributes<'a>,
    expressions: &'a [u8],
}

impl<'a> RuleView<'a> {
    pub(crate) fn decode(body: &'a [u8]) -> Option<RuleView<'a>> {
        let mut handle = None;
        let mut view = RuleView {
            handle: 0,
            comment: None,
            note: None,
            chain: Attributes::after(body, NFGENMSG_LEN),
            expressions: &[],
        };
        for attribute in view.chain {
            match attribute.kind {
                NFTA_RULE_HANDLE => handle = attribute.u64_be(),
                NFTA_RULE_EXPRESSIONS => view.expressions = attribute.value,
                NFTA_RULE_USERDATA => {
                    view.comment = find_comment(NFTNL_UDATA_RULE_COMMENT, attribute.value);
                    view.note = find_note(attribute.value);
                }
                _ => {}
            }
        }
        view.handle = handle?;
        Some(view)
    }

    /// Returns an owned copy.
    #[must_use]
    pub(crate) fn to_info(self) -> RuleInfo {
        let chain = self
            .chain
            .into_iter()
            .find(|attribute| attribute.kind == NFTA_RULE_CHAIN);
        RuleInfo {
            handle: self.handle,
            chain: chain.map(|name| name.text()).unwrap_or_default(),
            comment: self.comment.map(str::to_owned),
            note: self.note.map(<[u8]>::to_vec),
            expressions: self.expressions.to_vec(),
        }
    }

    /// Returns whether the rule jumps or goes to a chain.
    #[must_use]
    pub fn jumps_to(&self, chain: &str) -> bool {
        let find = |list: Attributes<'a>, kind: u16| {
            list.into_iter()
                .find(|attribute| attribute.kind == kind)
                .map(|attribute| attribute.nested())
        };
        // Other expressions have no verdict at this place, or one without a chain.
        let target = |expression: Attribute<'a>| {
            let data = find(expression.nested(), NFTA_EXPR_DATA)?;
            let value = find(data, NFTA_IMMEDIATE_DATA)?;
            let verdict = find(value, NFTA_DATA_VERDICT)?;
            let mut parts = verdict.into_iter();
            parts.find(|part| part.kind == NFTA_VERDICT_CHAIN)
        };
        Attributes::new(self.expressions)
            .into_iter()
            .filter_map(target)
            .any(|found| found.text() == chain)
    }

    /// Returns whether the rule compares with this address, or translates to it.
    #[must_use]
    pub fn has_address(&self, address: std::net::IpAddr) -> bool {
        has_address(self.expressions, address)
    }
}

/// Returns whether the address is the value of an attribute of an expression.
fn has_address(expressions: &[u8], address: std::net::IpAddr) -> bool {
    let octets = octets(address);
    // An address is 16 bytes at most.
    let len = u16::try_from(octets.len() + 4).unwrap_or(u16::MAX);
    let mut value = len.to_ne_bytes().to_vec();
    value.extend(NFTA_DATA_VALUE.to_ne_bytes());
    value.extend(octets);
    expressions.windows(value.len()).any(|part| part == value)
}

impl RuleInfo {
    pub(crate) fn decode(body: &[u8]) -> Option<RuleInfo> {
        RuleView::decode(body).map(|view| view.to_info())
    }

    /// Returns whether the rule consists of the same expressions as `rule`. Counter
    /// values and additional attributes are ignored.
    ///
    /// Other programs may write a rule of the same meaning in other expressions, so
    /// `false` does not prove that such a rule has another meaning.
    #[must_use]
    pub fn same_as(&self, rule: &Rule<'_>) -> bool {
        let wanted = rule.expressions.clone().finish().unwrap_or_default();
        same_expressions(&wanted, Attributes::new(&self.expressions))
    }

    /// Returns whether the rule ends with the expressions of `rule`, compared as by
    /// [`RuleInfo::same_as`].
    #[must_use]
    pub fn ends_with(&self, rule: &Rule<'_>) -> bool {
        let wanted = rule.expressions.clone().finish().unwrap_or_default();
        let count = |list: &[u8]| Attributes::new(list).count();
        let mut found = Attributes::new(&self.expressions);
        let Some(before) = count(&self.expressions).checked_sub(count(&wanted)) else {
            return false;
        };
        found.by_ref().take(before).for_each(drop);
        same_expressions(&wanted, found)
    }

    /// Returns the interface name of the first `iifname` match, `None` without one.
    #[must_use]
    pub fn iifname(&self) -> Option<String> {
        let mut loaded = false;
        for expression in Attributes::new(&self.expressions) {
            let parts = expression.nested();
            let find = |list: Attributes<'_>, kind: u16| {
                list.into_iter()
                    .find(|attribute| attribute.kind == kind)
                    .map(|attribute| attribute.value.to_vec())
            };
            let data = find(parts, NFTA_EXPR_DATA).unwrap_or_default();
            let data = Attributes::new(&data);
            match find(parts, NFTA_EXPR_NAME)?.as_slice() {
                b"meta" | b"meta\0" => {
                    loaded = find(data, NFTA_META_KEY)? == NFT_META_IIFNAME.to_be_bytes();
                }
                b"cmp" | b"cmp\0" if loaded => {
                    let value = find(data, NFTA_CMP_DATA)?;
                    let name = find(Attributes::new(&value), NFTA_DATA_VALUE)?;
                    let end = name.iter().position(|byte| *byte == 0);
                    let name = name.get(..end.unwrap_or(name.len()))?;
                    return Some(String::from_utf8_lossy(name).into_owned());
                }
                _ => {}
            }
        }
        None
    }

    /// Returns the value of `NFTA_RULE_EXPRESSIONS`, for the comparison of two rules.
    #[must_use]
    pub fn expressions(&self) -> &[u8] {
        &self.expressions
    }
}

/// Returns whether each expression has the same name, and all attributes that are
/// wanted: kernels add attributes with default values.
fn same_expressions(wanted: &[u8], mut found: Attributes<'_>) -> bool {
    for expression in Attributes::new(wanted) {
        let Some(other) = found.next() else {
            return false;
        };
        let name = |attributes: Attributes<'_>| {
            attributes
                .into_iter()
                .find(|attribute| attribute.kind == NFTA_EXPR_NAME)
                .map(|attribute| attribute.text())
        };
        let own = name(expression.nested());
        if own != name(other.nested()) {
            return false;
        }
        let counts = own.as_deref() == Some("counter");
        if !counts && !has_all(expression.nested(), other.nested(), 0) {
            return false;
        }
    }
    found.next().is_none()
}

/// Returns whether each attribute is among `found` with the same value; of the nested
/// `NFTA_EXPR_DATA` (at depth 0) each inner attribute.
fn has_all(wanted: Attributes<'_>, found: Attributes<'_>, depth: u32) -> bool {
    for attribute in wanted {
        let Some(other) = found.into_iter().find(|a| a.kind == attribute.kind) else {
            return false;
        };
        let is_nested = depth == 0 && attribute.kind == NFTA_EXPR_DATA;
        let same = if is_nested {
            has_all(attribute.nested(), other.nested(), depth + 1)
        } else {
            same_value(attribute.value, other.value)
        };
        if !same {
            return false;
        }
    }
    true
}

/// Compares values without the flag `NLA_F_NESTED`, which not all kernels set.
fn same_value(wanted: &[u8], found: &[u8]) -> bool {
    if wanted == found {
        return true;
    }
    if wanted.len() != found.len() {
        return false;
    }
    let mut pairs = Attributes::new(wanted).zip(Attributes::new(found));
    let covered: usize = Attributes::new(wanted)
        .map(|a| (a.value.len() + 4).next_multiple_of(4))
        .sum();
    covered == wanted.len()
        && covered > 0
        && pairs.all(|(a, b)| a.kind == b.kind && same_value(a.value, b.value))
}

/// A chain as the kernel reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainInfo {
    /// The name.
    pub name: String,
    /// The table's name.
    pub table: String,
    /// Type, hook and priority of a base chain. `None` also if type or hook are not in
    /// [`ChainType`] or [`Hook`].
    pub base: Option<Base>,
    /// The comment.
    pub comment: Option<String>,
}

impl ChainInfo {
    pub(crate) fn decode(body: &[u8]) -> Option<ChainInfo> {
        let mut info = ChainInfo {
            name: String::new(),
            table: String::new(),
            base: None,
            comment: None,
        };
        let (mut hook, mut priority) = (None, None);
        let (mut kind, mut policy) = (None, None);
        for attribute in Attributes::after(body, NFGENMSG_LEN) {
            match attribute.kind {
                NFTA_CHAIN_TABLE => info.table = attribute.text(),
                NFTA_CHAIN_NAME => info.name = attribute.text(),
                NFTA_CHAIN_TYPE => {
                    kind = [ChainType::Filter, ChainType::Nat]
                        .into_iter()
                        .find(|kind| kind.as_str() == attribute.text());
                }
                NFTA_CHAIN_POLICY => {
                    policy = match attribute.u32_be() {
                        Some(0) => Some(Policy::Drop),
                        Some(1) => Some(Policy::Accept),
                        _ => None,
                    };
                }
                NFTA_CHAIN_HOOK => {
                    for inner in attribute.nested() {
                        match inner.kind {
                            NFTA_HOOK_HOOKNUM => {
                                hook = inner.u32_be().and_then(Hook::from_number);
                            }
                            NFTA_HOOK_PRIORITY => {
                                priority = inner.u32_be().map(u32::cast_signed);
                            }
                            _ => {}
                        }
                    }
                }
                NFTA_CHAIN_USERDATA => {
                    info.comment =
                        find_comment(NFTNL_UDATA_CHAIN_COMMENT, attribute.value).map(str::to_owned);
                }
                _ => {}
            }
        }
        if let (Some(kind), Some(hook), Some(priority)) = (kind, hook, priority) {
            info.base = Some(Base {
                kind,
                hook,
                priority,
                policy,
            });
        }
        (!info.name.is_empty()).then_some(info)
    }
}
