//! vrf: a virtual routing and forwarding domain (`IFLA_VRF_*`, if_link.h).

use crate::wire::{Attributes, Builder};

pub(super) const KIND: &str = "vrf";
const IFLA_VRF_TABLE: u16 = 1;

/// Options of a VRF.
#[derive(Clone, Debug, Default)]
pub struct Vrf {
    /// The routing table of the domain; 0 is refused by the kernel.
    pub table: u32,
}

impl Vrf {
    pub(super) fn encode(&self, data: &mut Builder) {
        data.u32(IFLA_VRF_TABLE, self.table);
    }
}

/// State of a VRF.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VrfInfo {
    /// The routing table of the domain.
    pub table: u32,
}

impl VrfInfo {
    pub(super) fn decode(data: Attributes<'_>) -> VrfInfo {
        let table = data
            .filter(|attribute| attribute.kind == IFLA_VRF_TABLE)
            .find_map(|attribute| attribute.u32());
        VrfInfo {
            table: table.unwrap_or(0),
        }
    }
}
