//! Elements of sets and maps.

use std::net::IpAddr;

use rtnl::netlink::{Attributes, Builder};

use super::constants::*;
use super::expression::verdict_data;
use super::message::NFGENMSG_LEN;
use super::set::{Data, Set};
use super::userdata;
use super::value::{Prefix, Type, Value, bad_interface, concat};

/// The verdict of a verdict map's element.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict<'a> {
    /// `accept`.
    Accept,
    /// `drop`.
    Drop,
    /// `return`.
    Return,
    /// `jump` to a chain of the same table.
    Jump(&'a str),
    /// `goto` a chain of the same table.
    Goto(&'a str),
}

/// An element of a set or map.
#[derive(Clone, Debug)]
#[must_use]
pub struct Element<'a> {
    key: Vec<u8>,
    types: Vec<Type>,
    /// The last key of a range.
    last: Option<Vec<u8>>,
    data: Vec<u8>,
    data_types: Vec<Type>,
    verdict: Option<Verdict<'a>>,
    userdata: Vec<u8>,
    problem: Option<String>,
}

fn types(values: &[Value<'_>]) -> Vec<Type> {
    values.iter().map(Value::type_of).collect()
}

impl<'a> Element<'a> {
    /// Returns an element with this key.
    pub fn new(key: &[Value<'_>]) -> Element<'a> {
        let problem = key.iter().find_map(|value| match value {
            Value::Interface(name) => bad_interface(name),
            _ => None,
        });
        Element {
            key: concat(key),
            types: types(key),
            last: None,
            data: Vec::new(),
            data_types: Vec::new(),
            verdict: None,
            userdata: Vec::new(),
            problem,
        }
    }

    /// Returns the range of a network's addresses, for a set with intervals.
    pub fn network(network: Prefix) -> Element<'a> {
        let first = Value::Address(network.address());
        Element::new(&[first]).to(&[Value::Address(network.last())])
    }

    /// Makes the key a range, up to and including `last`, for a set with intervals. In a
    /// concatenation each part has its own range.
    pub fn to(mut self, last: &[Value<'_>]) -> Self {
        if types(last) != self.types {
            self.problem = Some("the ends of a range have different types".to_owned());
        }
        self.last = Some(concat(last));
        self
    }

    /// Sets the data, for a map.
    pub fn data(mut self, data: &[Value<'_>]) -> Self {
        self.data = concat(data);
        self.data_types = types(data);
        self
    }

    /// Sets the verdict, for a verdict map.
    pub fn verdict(mut self, verdict: Verdict<'a>) -> Self {
        self.verdict = Some(verdict);
        self
    }

    /// Sets the comment, at most [`COMMENT_MAX`](super::COMMENT_MAX) bytes.
    pub fn comment(mut self, text: &str) -> Self {
        match userdata::comment(NFTNL_UDATA_SET_ELEM_COMMENT, text) {
            Ok(data) => self.userdata.splice(..0, data).for_each(drop),
            Err(problem) => self.problem = Some(problem),
        }
        self
    }

    /// Sets a note for our own use, at most [`NOTE_MAX`](super::NOTE_MAX) bytes. The
    /// kernel keeps it with the element; `nft` does not show it.
    pub fn note(mut self, bytes: &[u8]) -> Self {
        match userdata::note(bytes) {
            Ok(data) => self.userdata.extend(data),
            Err(problem) => self.problem = Some(problem),
        }
        self
    }

    /// Returns the bytes of the key, for comparison with [`ElementInfo::key`].
    #[must_use]
    pub fn key_bytes(&self) -> &[u8] {
        &self.key
    }

    /// Returns the bytes of the data, for comparison with [`ElementInfo::data`].
    #[must_use]
    pub fn data_bytes(&self) -> &[u8] {
        &self.data
    }

    /// Returns why this is not a valid element of `set`, `None` if it is. With
    /// `key_only`, for deletion, only the key counts.
    pub(crate) fn problem(&self, set: &Set<'_>, key_only: bool) -> Option<String> {
        if let Some(problem) = &self.problem {
            return Some(problem.clone());
        }
        let data = match set.data {
            _ if key_only => true,
            Data::None => self.data_types.is_empty() && self.verdict.is_none(),
            Data::Values(types) => self.data_types == types && self.verdict.is_none(),
            Data::Verdict => self.data_types.is_empty() && self.verdict.is_some(),
        };
        if self.types != set.key || !data {
            return Some("the element has other types than the set".to_owned());
        }
        (self.last.is_some() && !set.intervals)
            .then(|| "a range in a set without intervals".to_owned())
    }

    /// Appends the element, or the two elements that are the ends of a range.
    pub(crate) fn write(&self, set: &Set<'_>, list: &mut Builder) {
        let mut userdata = self.userdata.clone();
        let mut end = None;
        if set.intervals && !set.is_concat() {
            // A range up to the greatest key has no end element.
            end = successor(self.last.as_ref().unwrap_or(&self.key));
            if end.is_none() {
                let open = SET_ELEM_F_INTERVAL_OPEN.to_ne_bytes();
                userdata.extend(userdata::entry(NFTNL_UDATA_SET_ELEM_FLAGS, &open));
            }
        }
        list.nested(NFTA_LIST_ELEM, |element| {
            element.nested(NFTA_SET_ELEM_KEY, |key| {
                key.raw(NFTA_DATA_VALUE, &self.key);
            });
            if set.intervals && set.is_concat() {
                let last = self.last.as_ref().unwrap_or(&self.key);
                element.nested(NFTA_SET_ELEM_KEY_END, |key| {
                    key.raw(NFTA_DATA_VALUE, last);
                });
            }
            if let Some(verdict) = self.verdict {
                element.nested(NFTA_SET_ELEM_DATA, |data| verdict.write(data));
            } else if !self.data.is_empty() {
                element.nested(NFTA_SET_ELEM_DATA, |data| {
                    data.raw(NFTA_DATA_VALUE, &self.data);
                });
            }
            if !userdata.is_empty() {
                element.raw(NFTA_SET_ELEM_USERDATA, &userdata);
            }
        });
        if let Some(end) = end {
            list.nested(NFTA_LIST_ELEM, |element| {
                element.nested(NFTA_SET_ELEM_KEY, |key| key.raw(NFTA_DATA_VALUE, &end));
                element.u32_be(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
            });
        }
    }
}

impl Verdict<'_> {
    fn write(self, data: &mut Builder) {
        match self {
            Verdict::Accept => verdict_data(data, NF_ACCEPT, None),
            Verdict::Drop => verdict_data(data, NF_DROP, None),
            Verdict::Return => verdict_data(data, NFT_RETURN, None),
            Verdict::Jump(chain) => verdict_data(data, NFT_JUMP, Some(chain)),
            Verdict::Goto(chain) => verdict_data(data, NFT_GOTO, Some(chain)),
        }
    }
}

/// Returns the next key in network byte order, `None` after the greatest one.
fn successor(key: &[u8]) -> Option<Vec<u8>> {
    let mut next = key.to_vec();
    for byte in next.iter_mut().rev() {
        let (sum, carry) = byte.overflowing_add(1);
        *byte = sum;
        if !carry {
            return Some(next);
        }
    }
    None
}

/// Merges networks of one family that overlap or are adjacent into ranges in ascending
/// order: a set with intervals refuses overlapping elements.
#[must_use]
pub fn merge_networks(networks: &[Prefix]) -> Vec<(IpAddr, IpAddr)> {
    let mut ranges: Vec<(IpAddr, IpAddr)> = networks
        .iter()
        .map(|network| (network.address(), network.last()))
        .collect();
    ranges.sort_unstable();
    let mut merged: Vec<(IpAddr, IpAddr)> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some((_, end)) if first <= *end || follows(first, *end) => *end = last.max(*end),
            _ => merged.push((first, last)),
        }
    }
    merged
}

fn follows(next: IpAddr, previous: IpAddr) -> bool {
    match (next, previous) {
        (IpAddr::V4(next), IpAddr::V4(previous)) => {
            previous.to_bits().checked_add(1) == Some(next.to_bits())
        }
        (IpAddr::V6(next), IpAddr::V6(previous)) => {
            previous.to_bits().checked_add(1) == Some(next.to_bits())
        }
        _ => false,
    }
}

/// An element as the kernel reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ElementInfo {
    /// The bytes of the key, see [`Element::key_bytes`].
    pub key: Vec<u8>,
    /// The bytes of the data; empty except in a map.
    pub data: Vec<u8>,
    /// In a verdict map: the chain of a jump or goto.
    pub chain: Option<String>,
    /// The comment.
    pub comment: Option<String>,
    /// The note, see [`Element::note`].
    pub note: Option<Vec<u8>>,
    /// The element is the end of a range: the first key after it.
    pub is_end: bool,
}

impl ElementInfo {
    pub(crate) fn decode(attributes: Attributes<'_>) -> ElementInfo {
        let mut info = ElementInfo::default();
        for attribute in attributes {
            match attribute.kind {
                NFTA_SET_ELEM_KEY => {
                    for inner in attribute.nested().filter(|a| a.kind == NFTA_DATA_VALUE) {
                        info.key = inner.value.to_vec();
                    }
                }
                NFTA_SET_ELEM_DATA => info.read_data(attribute.nested()),
                NFTA_SET_ELEM_FLAGS => {
                    let flags = attribute.u32_be().unwrap_or(0);
                    info.is_end = flags & NFT_SET_ELEM_INTERVAL_END != 0;
                }
                NFTA_SET_ELEM_USERDATA => {
                    info.comment =
                        userdata::find_comment(NFTNL_UDATA_SET_ELEM_COMMENT, attribute.value)
                            .map(str::to_owned);
                    info.note = userdata::find_note(attribute.value).map(<[u8]>::to_vec);
                }
                _ => {}
            }
        }
        info
    }

    fn read_data(&mut self, attributes: Attributes<'_>) {
        for attribute in attributes {
            match attribute.kind {
                NFTA_DATA_VALUE => self.data = attribute.value.to_vec(),
                NFTA_DATA_VERDICT => {
                    let mut verdict = attribute.nested();
                    self.chain = verdict
                        .find(|part| part.kind == NFTA_VERDICT_CHAIN)
                        .map(|part| part.text());
                }
                _ => {}
            }
        }
    }

    /// Returns an element with this key, for deletion. Not for ranges.
    pub fn to_element(&self, set: &Set<'_>) -> Element<'static> {
        Element {
            key: self.key.clone(),
            types: set.key.to_vec(),
            last: None,
            data: Vec::new(),
            data_types: Vec::new(),
            verdict: None,
            userdata: Vec::new(),
            problem: None,
        }
    }
}

/// Returns the elements in a message of the kernel.
pub(crate) fn decode_elements(body: &[u8]) -> Vec<ElementInfo> {
    Attributes::after(body, NFGENMSG_LEN)
        .filter(|attribute| attribute.kind == NFTA_SET_ELEM_LIST_ELEMENTS)
        .flat_map(|list| list.nested())
        .filter(|attribute| attribute.kind == NFTA_LIST_ELEM)
        .map(|element| ElementInfo::decode(element.nested()))
        .collect()
}
