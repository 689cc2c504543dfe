//! Elements of sets and maps.

use rtnl::netlink::{Attribute, Attributes, Builder};

use super::constants::*;
use super::expression::verdict_data;
use super::set::{Data, Set};
use super::userdata;
use super::value::{Type, Value, bad_interface, concat};
use crate::nfnetlink::NFGENMSG_LEN;

/// The verdict of a verdict map's element.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// `drop`.
    Drop,
    /// `return`.
    Return,
}

/// An element of a set or map.
#[derive(Clone, Debug)]
#[must_use]
pub struct Element {
    key: Vec<u8>,
    types: Vec<Type>,
    data: Vec<u8>,
    data_types: Vec<Type>,
    verdict: Option<Verdict>,
    userdata: Vec<u8>,
    problem: Option<String>,
}

fn types(values: &[Value<'_>]) -> Vec<Type> {
    values.iter().map(Value::type_of).collect()
}

impl Element {
    /// Returns an element with this key.
    pub fn new(key: &[Value<'_>]) -> Element {
        let problem = key.iter().find_map(|value| match value {
            Value::Interface(name) => bad_interface(name),
            _ => None,
        });
        Element {
            key: concat(key),
            types: types(key),
            data: Vec::new(),
            data_types: Vec::new(),
            verdict: None,
            userdata: Vec::new(),
            problem,
        }
    }

    /// Sets the data, for a map.
    pub fn data(mut self, data: &[Value<'_>]) -> Self {
        self.data = concat(data);
        self.data_types = types(data);
        self
    }

    /// Sets the verdict, for a verdict map.
    pub fn verdict(mut self, verdict: Verdict) -> Self {
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

    /// Sets a note for our own use, at most 120 bytes. The
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
        (self.types != set.key || !data)
            .then(|| "the element has other types than the set".to_owned())
    }

    /// Appends the element to a list of elements.
    pub(crate) fn write(&self, list: &mut Builder) {
        list.nested(NFTA_LIST_ELEM, |element| {
            element.nested(NFTA_SET_ELEM_KEY, |key| {
                key.raw(NFTA_DATA_VALUE, &self.key);
            });
            if let Some(verdict) = self.verdict {
                element.nested(NFTA_SET_ELEM_DATA, |data| {
                    verdict_data(data, verdict.code(), None);
                });
            } else if !self.data.is_empty() {
                element.nested(NFTA_SET_ELEM_DATA, |data| {
                    data.raw(NFTA_DATA_VALUE, &self.data);
                });
            }
            if !self.userdata.is_empty() {
                element.raw(NFTA_SET_ELEM_USERDATA, &self.userdata);
            }
        });
    }
}

impl Verdict {
    fn code(self) -> i32 {
        match self {
            Verdict::Drop => NF_DROP,
            Verdict::Return => NFT_RETURN,
        }
    }
}

/// An element as the kernel reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ElementInfo {
    /// The bytes of the key, see [`Element::key_bytes`].
    pub key: Vec<u8>,
    /// The bytes of the data; empty except in a map.
    pub data: Vec<u8>,
    /// The comment.
    pub comment: Option<String>,
    /// The note, see [`Element::note`].
    pub note: Option<Vec<u8>>,
}

impl ElementInfo {
    pub(crate) fn decode(attributes: Attributes<'_>) -> ElementInfo {
        let mut info = ElementInfo::default();
        for attribute in attributes {
            match attribute.kind {
                NFTA_SET_ELEM_KEY => info.key = data_value(&attribute),
                NFTA_SET_ELEM_DATA => info.data = data_value(&attribute),
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

    /// Returns an element with this key, for deletion.
    pub fn to_element(&self, set: &Set<'_>) -> Element {
        Element {
            key: self.key.clone(),
            types: set.key.to_vec(),
            data: Vec::new(),
            data_types: Vec::new(),
            verdict: None,
            userdata: Vec::new(),
            problem: None,
        }
    }
}

/// Returns the value of a key or data; empty for a verdict.
fn data_value(attribute: &Attribute<'_>) -> Vec<u8> {
    let mut parts = attribute.nested();
    let value = parts.find(|part| part.kind == NFTA_DATA_VALUE);
    value.map(|part| part.value.to_vec()).unwrap_or_default()
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
