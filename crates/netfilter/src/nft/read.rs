//! Reading back what the kernel has.

use rtnl::netlink::{Attribute, Attributes, Builder};

use super::batch::{NFGENMSG_LEN, header};
use super::client::Nft;
use super::constants::*;
use super::object::{Base, Chain, ChainType, Family, Hook, Policy, Table};
use super::rule::Rule;
use super::set::{Element, ElementInfo, Set};
use super::userdata::{find_comment, find_note};
use super::value::octets;
use crate::error::Error;

/// A rule as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleInfo {
    /// The number by which it can be deleted; unique in the table as long as
    /// that exists.
    pub handle: u64,
    /// The name of its chain.
    pub chain: String,
    /// Its comment.
    pub comment: Option<String>,
    /// Its note, see [`Rule::note`].
    pub note: Option<Vec<u8>>,
    /// `NFTA_RULE_EXPRESSIONS` as the kernel wrote it.
    expressions: Vec<u8>,
}

/// A rule of a list that is being read, not yet copied.
#[derive(Clone, Copy)]
pub struct RuleView<'a> {
    /// See [`RuleInfo::handle`].
    pub handle: u64,
    /// Its comment.
    pub comment: Option<&'a str>,
    /// Its note, see [`Rule::note`].
    pub note: Option<&'a [u8]>,
    chain: Attributes<'a>,
    expressions: &'a [u8],
}

impl<'a> RuleView<'a> {
    fn decode(body: &'a [u8]) -> Option<RuleView<'a>> {
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

    /// A copy to keep.
    #[must_use]
    pub fn to_info(&self) -> RuleInfo {
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

    /// As [`RuleInfo::does_as`].
    #[must_use]
    pub fn does_as(&self, rule: &Rule<'_>) -> bool {
        let wanted = rule.expressions.clone().finish().unwrap_or_default();
        same_expressions(&wanted, self.expressions)
    }

    /// Whether the rule jumps or goes to a chain.
    #[must_use]
    pub fn leads_to(&self, chain: &str) -> bool {
        let find = |list: Attributes<'a>, kind: u16| {
            list.into_iter()
                .find(|attribute| attribute.kind == kind)
                .map(|attribute| attribute.nested())
        };
        // Other expressions have no verdicts in these places, or none with a chain.
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

    /// Whether the rule compares anything with this very address, or translates
    /// to it.
    #[must_use]
    pub fn names(&self, address: std::net::IpAddr) -> bool {
        names(self.expressions, address)
    }
}

/// As a value in an expression: an attribute of its own.
fn names(expressions: &[u8], address: std::net::IpAddr) -> bool {
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

    /// Whether the rule consists of the same expressions as `rule`: everything
    /// that `rule` says must be there, counters aside.
    ///
    /// Rules by other programs can have the same meaning and yet be written
    /// otherwise: `false` of a rule that we did not make is no proof that it
    /// does something else.
    #[must_use]
    pub fn does_as(&self, rule: &Rule<'_>) -> bool {
        let wanted = rule.expressions.clone().finish().unwrap_or_default();
        same_expressions(&wanted, &self.expressions)
    }

    /// The name of the interface that packets must have come in by (`iifname`), if
    /// the rule tests for one.
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

    /// The expressions (`NFTA_RULE_EXPRESSIONS`) as the kernel wrote them, to
    /// compare two rules with.
    #[must_use]
    pub fn expressions(&self) -> &[u8] {
        &self.expressions
    }
}

/// Expression for expression, the same name, and the same data as far as wanted:
/// kernels add attributes with their defaults.
fn same_expressions(wanted: &[u8], found: &[u8]) -> bool {
    let mut found = Attributes::new(found);
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

/// Whether each attribute is among `found`, with the same value or, nested, with
/// all of its own. Which ones are nested is told by depth: the name and data of
/// an expression, its fields, and values within these.
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

/// Equal, but for the bit that says that an attribute is nested: kernels
/// disagree on whether to set it.
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

/// A chain as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainInfo {
    /// Its name.
    pub name: String,
    /// The table it is in.
    pub table: String,
    /// How the kernel enters it. `None` also for a base chain of a type or hook
    /// that this crate has no name for.
    pub base: Option<Base>,
    /// Its comment.
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

/// Reading. What does not exist is no error where a list or `None` can say so.
impl Nft {
    /// Whether a table exists.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn has_table(&self, table: &Table<'_>) -> Result<bool, Error> {
        let body = body(table.family, |body| {
            body.text(NFTA_TABLE_NAME, table.name);
        })?;
        let found = self.get(NFT_MSG_GETTABLE, &body, |_| Some(()))?;
        Ok(found.is_some())
    }

    /// A chain, `None` if it or its table does not exist.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn chain(&self, chain: &Chain<'_>) -> Result<Option<ChainInfo>, Error> {
        let body = body(chain.table.family, |body| {
            body.text(NFTA_CHAIN_TABLE, chain.table.name);
            body.text(NFTA_CHAIN_NAME, chain.name);
        })?;
        self.get(NFT_MSG_GETCHAIN, &body, |message| {
            ChainInfo::decode(message.body)
        })
    }

    /// All chains of a table; none if it does not exist. Old kernels list those
    /// of the whole family to find them.
    ///
    /// # Errors
    /// The kernel's refusal; a timeout if the rules kept changing.
    pub fn chains(&self, table: &Table<'_>) -> Result<Vec<ChainInfo>, Error> {
        let body = body(table.family, |body| {
            body.text(NFTA_CHAIN_TABLE, table.name);
        })?;
        self.dump(NFT_MSG_GETCHAIN, &body, |message, chains, entries| {
            let chain = ChainInfo::decode(message.body);
            let chain = chain.filter(|chain| chain.table == table.name);
            if let Some(chain) = &chain {
                entries.note(chain.name.as_bytes());
            }
            chains.extend(chain);
        })
    }

    /// The rule of a chain that has this handle, `None` if there is none.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn rule(&self, chain: &Chain<'_>, handle: u64) -> Result<Option<RuleInfo>, Error> {
        let body = body(chain.table.family, |body| {
            body.text(NFTA_RULE_TABLE, chain.table.name);
            body.text(NFTA_RULE_CHAIN, chain.name);
            body.u64_be(NFTA_RULE_HANDLE, handle);
        })?;
        self.get(NFT_MSG_GETRULE, &body, |message| {
            RuleInfo::decode(message.body)
        })
    }

    /// The rules of a chain, in their order; none if it does not exist.
    ///
    /// # Errors
    /// The kernel's refusal; a timeout if the rules kept changing.
    pub fn rules(&self, chain: &Chain<'_>) -> Result<Vec<RuleInfo>, Error> {
        self.find_rules(chain, |_| true)
    }

    /// Those rules of a chain that `wanted` picks, in their order. The others
    /// cost no copying.
    ///
    /// # Errors
    /// The kernel's refusal; a timeout if the rules kept changing.
    pub fn find_rules(
        &self,
        chain: &Chain<'_>,
        wanted: impl Fn(&RuleView<'_>) -> bool,
    ) -> Result<Vec<RuleInfo>, Error> {
        let body = body(chain.table.family, |body| {
            body.text(NFTA_RULE_TABLE, chain.table.name);
            body.text(NFTA_RULE_CHAIN, chain.name);
        })?;
        self.dump(NFT_MSG_GETRULE, &body, |message, rules, entries| {
            let Some(view) = RuleView::decode(message.body) else {
                return;
            };
            entries.note(&view.handle.to_ne_bytes());
            if wanted(&view) {
                rules.push(view.to_info());
            }
        })
    }

    /// The elements of a set or map.
    ///
    /// # Errors
    /// [`Error::is_not_found`] if it does not exist; the kernel's refusal; a
    /// timeout if the rules kept changing.
    pub fn elements(&self, set: &Set<'_>) -> Result<Vec<ElementInfo>, Error> {
        let body = body(set.table.family, |body| {
            body.text(NFTA_SET_ELEM_LIST_TABLE, set.table.name);
            body.text(NFTA_SET_ELEM_LIST_SET, set.name);
        })?;
        self.dump(NFT_MSG_GETSETELEM, &body, |message, elements, entries| {
            for element in decode_elements(message.body) {
                entries.note(&element.key);
                elements.push(element);
            }
        })
    }

    /// The element that has the key of `element`, `None` if it or the set does
    /// not exist. Of a set with intervals: the range that the key is in.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn element(
        &self,
        set: &Set<'_>,
        element: &Element<'_>,
    ) -> Result<Option<ElementInfo>, Error> {
        let key = element.key_bytes();
        let body = body(set.table.family, |body| {
            body.text(NFTA_SET_ELEM_LIST_TABLE, set.table.name);
            body.text(NFTA_SET_ELEM_LIST_SET, set.name);
            body.nested(NFTA_SET_ELEM_LIST_ELEMENTS, |list| {
                list.nested(NFTA_LIST_ELEM, |element| {
                    element.nested(NFTA_SET_ELEM_KEY, |value| {
                        value.raw(NFTA_DATA_VALUE, key);
                    });
                });
            });
        })?;
        self.get(NFT_MSG_GETSETELEM, &body, |message| {
            decode_elements(message.body).into_iter().next()
        })
    }
}

pub(crate) fn decode_elements(body: &[u8]) -> Vec<ElementInfo> {
    Attributes::after(body, NFGENMSG_LEN)
        .filter(|attribute| attribute.kind == NFTA_SET_ELEM_LIST_ELEMENTS)
        .flat_map(|list| list.nested())
        .filter(|attribute| attribute.kind == NFTA_LIST_ELEM)
        .map(|element| ElementInfo::decode(element.nested()))
        .collect()
}

/// The body of a request.
fn body(family: Family, fill: impl FnOnce(&mut Builder)) -> Result<Vec<u8>, Error> {
    let mut body = Builder::with_raw_header(&header(family as u8, 0));
    fill(&mut body);
    body.finish()
        .map_err(|problem| Error::invalid(problem, "read packet filters"))
}
