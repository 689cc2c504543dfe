//! Sets, maps and verdict maps, and their elements.

use std::net::IpAddr;

use rtnl::netlink::{Attributes, Builder};

use super::constants::*;
use super::expression::verdict_data;
use super::object::Table;
use super::userdata;
use super::value::{Field, Prefix, Type, Value, bad_interface, concat};

/// A set, map or verdict map, by its name.
///
/// A plain value, like a [`Table`]; see there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Set<'a> {
    /// The table it is in.
    pub table: Table<'a>,
    /// Its name, 255 bytes at most.
    pub name: &'a str,
    /// What an element's key consists of.
    pub key: &'a [Type],
    pub(crate) data: Data<'a>,
    intervals: bool,
    comment: Option<&'a str>,
}

/// What an element has besides its key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Data<'a> {
    None,
    Values(&'a [Type]),
    Verdict,
}

impl<'a> Table<'a> {
    /// A set of this table.
    #[must_use]
    pub const fn set(self, name: &'a str, key: &'a [Type]) -> Set<'a> {
        Set {
            table: self,
            name,
            key,
            data: Data::None,
            intervals: false,
            comment: None,
        }
    }

    /// A map of this table: its elements have values for their keys.
    #[must_use]
    pub const fn map(self, name: &'a str, key: &'a [Type], data: &'a [Type]) -> Set<'a> {
        let mut set = self.set(name, key);
        set.data = Data::Values(data);
        set
    }

    /// A verdict map of this table: its elements say what happens to a packet.
    #[must_use]
    pub const fn verdict_map(self, name: &'a str, key: &'a [Type]) -> Set<'a> {
        let mut set = self.set(name, key);
        set.data = Data::Verdict;
        set
    }
}

impl<'a> Set<'a> {
    /// Its keys may be ranges: `flags interval`.
    #[must_use]
    pub const fn with_intervals(mut self) -> Set<'a> {
        self.intervals = true;
        self
    }

    /// With a comment, given to it when it is created.
    #[must_use]
    pub const fn with_comment(mut self, comment: &'a str) -> Set<'a> {
        self.comment = Some(comment);
        self
    }

    pub(crate) fn data_types(&self) -> &'a [Type] {
        match self.data {
            Data::Values(types) => types,
            Data::None | Data::Verdict => &[],
        }
    }

    fn is_concat(&self) -> bool {
        self.key.len() > 1
    }

    /// Writes the attributes that create it, but for its number in the batch.
    pub(crate) fn write(&self, body: &mut Builder) -> Result<(), String> {
        let mut flags = 0;
        if self.intervals {
            flags |= NFT_SET_INTERVAL;
        }
        // Old kernels do not know the flag; only with intervals it matters.
        if self.is_concat() && self.intervals {
            flags |= NFT_SET_CONCAT;
        }
        if self.data != Data::None {
            flags |= NFT_SET_MAP;
        }
        if flags != 0 {
            body.u32_be(NFTA_SET_FLAGS, flags);
        }
        body.u32_be(NFTA_SET_KEY_TYPE, joined(self.key));
        body.u32_be(NFTA_SET_KEY_LEN, total(self.key));
        match self.data {
            Data::None => {}
            Data::Values(types) => {
                body.u32_be(NFTA_SET_DATA_TYPE, joined(types));
                body.u32_be(NFTA_SET_DATA_LEN, total(types));
            }
            Data::Verdict => body.u32_be(NFTA_SET_DATA_TYPE, NFT_DATA_VERDICT),
        }
        if self.is_concat() && self.intervals {
            body.nested(NFTA_SET_DESC, |desc| {
                desc.nested(NFTA_SET_DESC_CONCAT, |fields| {
                    for kind in self.key {
                        fields.nested(NFTA_LIST_ELEM, |field| {
                            field.u32_be(NFTA_SET_FIELD_LEN, total(&[*kind]));
                        });
                    }
                });
            });
        }
        let mut data = userdata::entry(NFTNL_UDATA_SET_KEYBYTEORDER, &order(self.key));
        if let Data::Values(types) = self.data {
            data.extend(userdata::entry(
                NFTNL_UDATA_SET_DATABYTEORDER,
                &order(types),
            ));
        }
        if let Some(comment) = self.comment {
            data.extend(userdata::comment(NFTNL_UDATA_SET_COMMENT, comment)?);
        }
        body.raw(NFTA_SET_USERDATA, &data);
        Ok(())
    }
}

/// The number by which `nft` knows a key or data: its types, six bits each.
fn joined(types: &[Type]) -> u32 {
    types
        .iter()
        .fold(0, |number, kind| number << 6 | kind.number())
}

/// Length in bytes; parts of several are filled up to registers.
fn total(types: &[Type]) -> u32 {
    let lens = types.iter().map(|kind| match types {
        [_] => kind.len(),
        _ => kind.len().next_multiple_of(4),
    });
    // A few dozen bytes.
    u32::try_from(lens.sum::<usize>()).unwrap_or(u32::MAX)
}

/// The byte order as `nft` notes it (`enum byteorder`): 1 for that of the
/// machine, 2 for network byte order, 0 for several values.
fn order(types: &[Type]) -> [u8; 4] {
    let number: u32 = match types {
        [Type::Interface] => 1,
        [_] => 2,
        _ => 0,
    };
    number.to_ne_bytes()
}

impl Field {
    /// Of which type the field is.
    #[must_use]
    pub fn type_of(self) -> Type {
        match self {
            Field::Ipv4Saddr | Field::Ipv4Daddr => Type::Ipv4Addr,
            Field::Ipv6Saddr | Field::Ipv6Daddr => Type::Ipv6Addr,
            Field::L4Proto => Type::Protocol,
            Field::Sport | Field::Dport => Type::Port,
            Field::Iifname | Field::Oifname => Type::Interface,
            Field::EtherSaddr => Type::EtherAddr,
        }
    }
}

/// What a verdict map has for a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict<'a> {
    /// `accept`.
    Accept,
    /// `drop`.
    Drop,
    /// `return`.
    Return,
    /// `jump` to a chain of the table.
    Jump(&'a str),
    /// `goto` a chain of the table.
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
    /// An element with this key.
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

    /// Every address of a network, in a set with intervals.
    pub fn network(network: Prefix) -> Element<'a> {
        let first = Value::Address(network.address());
        Element::new(&[first]).to(&[Value::Address(network.last())])
    }

    /// Every key from this one to `last`, that included, in a set with
    /// intervals. Of a key of several parts, every part has its range.
    pub fn to(mut self, last: &[Value<'_>]) -> Self {
        if types(last) != self.types {
            self.problem = Some("a range from one type to another".to_owned());
        }
        self.last = Some(concat(last));
        self
    }

    /// What a map has for the key.
    pub fn data(mut self, data: &[Value<'_>]) -> Self {
        self.data = concat(data);
        self.data_types = types(data);
        self
    }

    /// What a verdict map has for the key.
    pub fn verdict(mut self, verdict: Verdict<'a>) -> Self {
        self.verdict = Some(verdict);
        self
    }

    /// The comment that `nft` shows, 128 bytes at most.
    pub fn comment(mut self, text: &str) -> Self {
        match userdata::comment(NFTNL_UDATA_SET_ELEM_COMMENT, text) {
            Ok(data) => self.userdata = data,
            Err(problem) => self.problem = Some(problem),
        }
        self
    }

    /// The bytes of its key, to be compared with [`ElementInfo::key`].
    #[must_use]
    pub fn key_bytes(&self) -> &[u8] {
        &self.key
    }

    /// The bytes of its data, to be compared with [`ElementInfo::data`].
    #[must_use]
    pub fn data_bytes(&self) -> &[u8] {
        &self.data
    }

    /// Why it cannot be an element of `set`, if so. `bare`: for its removal,
    /// where the key is enough.
    pub(crate) fn problem(&self, set: &Set<'_>, bare: bool) -> Option<String> {
        if let Some(problem) = &self.problem {
            return Some(problem.clone());
        }
        let data = match set.data {
            _ if bare => true,
            Data::None => self.data_types.is_empty() && self.verdict.is_none(),
            Data::Values(types) => self.data_types == types && self.verdict.is_none(),
            Data::Verdict => self.data_types.is_empty() && self.verdict.is_some(),
        };
        if self.types != set.key || !data {
            return Some("an element of other types than the set's".to_owned());
        }
        (self.last.is_some() && !set.intervals)
            .then(|| "a range in a set without intervals".to_owned())
    }

    /// Appends the kernel's element, or the two that are the ends of a range.
    pub(crate) fn write(&self, set: &Set<'_>, list: &mut Builder) {
        let mut userdata = self.userdata.clone();
        let mut end = None;
        if set.intervals && !set.is_concat() {
            // A range that goes to the end of all keys is not ended.
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

/// The next key in network byte order; `None` behind the last one.
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

/// Joins networks that overlap or follow one another, as a set with intervals
/// does not take a key twice. All of one family; the result is in order.
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

/// An element as the kernel has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ElementInfo {
    /// The bytes of its key, see [`Element::key_bytes`].
    pub key: Vec<u8>,
    /// The bytes of what a map has for it, empty in a set or verdict map.
    pub data: Vec<u8>,
    /// Of a verdict map: the chain that is jumped to.
    pub chain: Option<String>,
    /// Its comment.
    pub comment: Option<String>,
    /// Whether it only marks the end of a range: the first key behind it.
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

    /// An element with this one's key, to delete it by. Not for keys that are
    /// ranges.
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
