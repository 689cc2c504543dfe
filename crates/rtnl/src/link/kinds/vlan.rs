//! vlan: one VLAN of a parent link (`IFLA_VLAN_*`, if_link.h).

use crate::wire::{Attributes, Builder};

pub(super) const KIND: &str = "vlan";
const IFLA_VLAN_ID: u16 = 1;
const IFLA_VLAN_PROTOCOL: u16 = 5;

/// Options of a VLAN link; the parent is `LinkSpec::link`.
#[derive(Clone, Debug, Default)]
pub struct Vlan {
    /// VLAN ID, 0 to 4094; the kernel refuses others.
    pub id: u16,
    /// How frames are tagged; `None` is the kernel's default, 802.1Q.
    pub protocol: Option<VlanProtocol>,
}

/// How frames of a VLAN are tagged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VlanProtocol {
    /// IEEE 802.1Q, customer tags.
    Dot1Q,
    /// IEEE 802.1ad, service tags.
    Dot1Ad,
}

impl VlanProtocol {
    /// The EtherType of the tag (`ETH_P_*`).
    fn ether_type(self) -> u16 {
        match self {
            VlanProtocol::Dot1Q => 0x8100,
            VlanProtocol::Dot1Ad => 0x88a8,
        }
    }
}

impl Vlan {
    pub(super) fn encode(&self, data: &mut Builder) {
        data.u16(IFLA_VLAN_ID, self.id);
        if let Some(protocol) = self.protocol {
            data.u16_be(IFLA_VLAN_PROTOCOL, protocol.ether_type());
        }
    }
}

/// State of a VLAN link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VlanInfo {
    /// VLAN ID.
    pub id: u16,
    /// How frames are tagged; `None` for a protocol not known here.
    pub protocol: Option<VlanProtocol>,
}

impl VlanInfo {
    pub(super) fn decode(data: Attributes<'_>) -> VlanInfo {
        let mut info = VlanInfo::default();
        for attribute in data {
            match attribute.kind {
                IFLA_VLAN_ID => info.id = attribute.u16().unwrap_or(0),
                IFLA_VLAN_PROTOCOL => {
                    info.protocol = [VlanProtocol::Dot1Q, VlanProtocol::Dot1Ad]
                        .into_iter()
                        .find(|protocol| Some(protocol.ether_type()) == attribute.u16_be());
                }
                _ => {}
            }
        }
        info
    }
}
