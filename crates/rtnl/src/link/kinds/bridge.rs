//! bridge: an Ethernet bridge (`IFLA_BR_*`, if_link.h).

use crate::wire::{Attributes, Builder};

pub(super) const KIND: &str = "bridge";
const IFLA_BR_AGEING_TIME: u16 = 4;
const IFLA_BR_VLAN_FILTERING: u16 = 7;
const IFLA_BR_VLAN_DEFAULT_PVID: u16 = 39;

/// Options of a bridge to be created; `None` leaves the kernel's default.
#[derive(Clone, Debug, Default)]
pub struct Bridge {
    /// Whether ports filter by VLAN; the default is no.
    pub vlan_filtering: Option<bool>,
    /// The VLAN new ports belong to, untagged; 0 is none, the default 1.
    pub vlan_default_pvid: Option<u16>,
    /// Ageing time of learned addresses, in hundredths of a second.
    pub ageing_time: Option<u32>,
}

impl Bridge {
    pub(super) fn encode(&self, data: &mut Builder) {
        if let Some(filtering) = self.vlan_filtering {
            data.u8(IFLA_BR_VLAN_FILTERING, filtering.into());
        }
        if let Some(pvid) = self.vlan_default_pvid {
            data.u16(IFLA_BR_VLAN_DEFAULT_PVID, pvid);
        }
        data.opt_u32(IFLA_BR_AGEING_TIME, self.ageing_time);
    }
}

/// State of a bridge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BridgeInfo {
    /// Whether ports filter by VLAN; `None` from a kernel without that option.
    pub vlan_filtering: Option<bool>,
    /// The VLAN new ports belong to; 0 is none.
    pub vlan_default_pvid: Option<u16>,
}

impl BridgeInfo {
    pub(super) fn decode(data: Attributes<'_>) -> BridgeInfo {
        let mut info = BridgeInfo::default();
        for attribute in data {
            match attribute.kind {
                IFLA_BR_VLAN_FILTERING => {
                    info.vlan_filtering = attribute.u8().map(|value| value != 0);
                }
                IFLA_BR_VLAN_DEFAULT_PVID => info.vlan_default_pvid = attribute.u16(),
                _ => {}
            }
        }
        info
    }
}
