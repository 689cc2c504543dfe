//! Sets, maps and verdict maps.

use rtnl::netlink::Builder;

use super::constants::*;
use super::object::Table;
use super::userdata;
use super::value::Type;

/// A set, map or verdict map, by its name.
///
/// A plain value, like [`Table`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Set<'a> {
    /// The table it is in.
    pub table: Table<'a>,
    /// Its name, at most 255 bytes.
    pub name: &'a str,
    /// The types of an element's key.
    pub key: &'a [Type],
    pub(crate) data: Data<'a>,
}

/// What an element maps its key to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Data<'a> {
    None,
    Values(&'a [Type]),
    Verdict,
}

impl<'a> Table<'a> {
    /// Returns a set of this table.
    #[must_use]
    pub const fn set(self, name: &'a str, key: &'a [Type]) -> Set<'a> {
        Set {
            table: self,
            name,
            key,
            data: Data::None,
        }
    }

    /// Returns a map of this table: its elements map keys to values.
    #[must_use]
    pub const fn map(self, name: &'a str, key: &'a [Type], data: &'a [Type]) -> Set<'a> {
        let mut set = self.set(name, key);
        set.data = Data::Values(data);
        set
    }

    /// Returns a verdict map of this table: its elements map keys to verdicts.
    #[must_use]
    pub const fn verdict_map(self, name: &'a str, key: &'a [Type]) -> Set<'a> {
        let mut set = self.set(name, key);
        set.data = Data::Verdict;
        set
    }
}

impl<'a> Set<'a> {
    pub(crate) fn data_types(&self) -> &'a [Type] {
        match self.data {
            Data::Values(types) => types,
            Data::None | Data::Verdict => &[],
        }
    }

    /// Writes the attributes that create the set, except its ID in the batch.
    pub(crate) fn write(&self, body: &mut Builder) {
        if self.data != Data::None {
            body.u32_be(NFTA_SET_FLAGS, NFT_SET_MAP);
        }
        body.u32_be(NFTA_SET_KEY_TYPE, type_number(self.key));
        body.u32_be(NFTA_SET_KEY_LEN, key_len(self.key));
        match self.data {
            Data::None => {}
            Data::Values(types) => {
                body.u32_be(NFTA_SET_DATA_TYPE, type_number(types));
                body.u32_be(NFTA_SET_DATA_LEN, key_len(types));
            }
            Data::Verdict => body.u32_be(NFTA_SET_DATA_TYPE, NFT_DATA_VERDICT),
        }
        let mut data = userdata::entry(NFTNL_UDATA_SET_KEYBYTEORDER, &byte_order(self.key));
        if let Data::Values(types) = self.data {
            data.extend(userdata::entry(
                NFTNL_UDATA_SET_DATABYTEORDER,
                &byte_order(types),
            ));
        }
        body.raw(NFTA_SET_USERDATA, &data);
    }
}

/// Returns nftables' number of a concatenation of types: six bits each.
fn type_number(types: &[Type]) -> u32 {
    types
        .iter()
        .fold(0, |number, kind| number << 6 | kind.number())
}

/// Returns the length in bytes. If there are several types, each is padded to a
/// multiple of 4 bytes.
fn key_len(types: &[Type]) -> u32 {
    let lens = types.iter().map(|kind| match types {
        [_] => kind.len(),
        _ => kind.len().next_multiple_of(4),
    });
    // A few dozen bytes.
    u32::try_from(lens.sum::<usize>()).unwrap_or(u32::MAX)
}

/// Returns the byte order as nftables stores it (`enum byteorder`): 1 host byte order,
/// 2 network byte order, 0 for a concatenation.
fn byte_order(types: &[Type]) -> [u8; 4] {
    let number: u32 = match types {
        [Type::Interface] => 1,
        [_] => 2,
        _ => 0,
    };
    number.to_ne_bytes()
}
