//! VLANs of bridge ports (`IFLA_BRIDGE_*` in `IFLA_AF_SPEC`, if_bridge.h).

use super::port::bridge_body;
use crate::error::Error;
use crate::handle::Handle;
use crate::request::Request;
use crate::wire::attr::{u16_at, u32_at};
use crate::wire::*;

const IFLA_BRIDGE_FLAGS: u16 = 0;
const IFLA_BRIDGE_VLAN_INFO: u16 = 2;
const BRIDGE_FLAGS_MASTER: u16 = 1;
const BRIDGE_VLAN_INFO_PVID: u16 = 1 << 1;
const BRIDGE_VLAN_INFO_UNTAGGED: u16 = 1 << 2;
const BRIDGE_VLAN_INFO_RANGE_BEGIN: u16 = 1 << 3;
const BRIDGE_VLAN_INFO_RANGE_END: u16 = 1 << 4;

/// Membership of a bridge port, or of the bridge itself, in a range of VLANs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BridgeVlan {
    /// First VLAN ID of the range, 1 to 4094.
    pub first: u16,
    /// Last VLAN ID of the range; the same as `first` for one VLAN.
    pub last: u16,
    /// Whether received untagged frames belong to the VLAN (PVID); not for a range.
    pub pvid: bool,
    /// Whether frames of the VLAN leave untagged.
    pub untagged: bool,
}

impl BridgeVlan {
    /// One VLAN, tagged.
    #[must_use]
    pub fn tagged(id: u16) -> BridgeVlan {
        BridgeVlan {
            first: id,
            last: id,
            pvid: false,
            untagged: false,
        }
    }

    /// One VLAN for untagged frames in both directions.
    #[must_use]
    pub fn native(id: u16) -> BridgeVlan {
        BridgeVlan {
            pvid: true,
            untagged: true,
            ..BridgeVlan::tagged(id)
        }
    }

    /// The VLANs from `first` to `last`, tagged.
    #[must_use]
    pub fn range(first: u16, last: u16) -> BridgeVlan {
        BridgeVlan {
            last,
            ..BridgeVlan::tagged(first)
        }
    }
}

/// A VLAN that a bridge port is a member of, as listed by
/// [`Handle::bridge_vlans`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortVlan {
    /// Index of the port, or of the bridge itself.
    pub index: u32,
    /// VLAN ID.
    pub id: u16,
    /// Whether received untagged frames belong to the VLAN (PVID).
    pub pvid: bool,
    /// Whether frames of the VLAN leave untagged.
    pub untagged: bool,
}

impl<'fd> Request<'fd> {
    /// Makes the bridge port `index` a member of `vlans` (`RTM_SETLINK` of
    /// family bridge). Existing memberships get the new flags.
    ///
    /// Errors: `EINVAL` if the link is not a bridge port or an ID is out of range,
    /// `EOPNOTSUPP` from a kernel without bridge VLAN filtering.
    #[must_use]
    pub fn add_bridge_vlans(index: u32, vlans: &[BridgeVlan]) -> Request<'fd> {
        let what = format!("add VLANs to bridge port {index}");
        bridge_vlans(RTM_SETLINK, index, vlans, what)
    }

    /// Removes the bridge port `index` from `vlans` (`RTM_DELLINK` of family bridge).
    ///
    /// Errors: as [`Request::add_bridge_vlans`]; VLANs of which it is not a member are ignored.
    #[must_use]
    pub fn del_bridge_vlans(index: u32, vlans: &[BridgeVlan]) -> Request<'fd> {
        let what = format!("delete VLANs of bridge port {index}");
        bridge_vlans(RTM_DELLINK, index, vlans, what)
    }
}

fn bridge_vlans<'fd>(kind: u16, index: u32, vlans: &[BridgeVlan], what: String) -> Request<'fd> {
    let mut body = bridge_body(index);
    body.nested(IFLA_AF_SPEC, |spec| {
        spec.u16(IFLA_BRIDGE_FLAGS, BRIDGE_FLAGS_MASTER);
        for vlan in vlans {
            let mut flags = 0;
            if vlan.pvid {
                flags |= BRIDGE_VLAN_INFO_PVID;
            }
            if vlan.untagged {
                flags |= BRIDGE_VLAN_INFO_UNTAGGED;
            }
            if vlan.first == vlan.last {
                vlan_info(spec, flags, vlan.first);
            } else {
                vlan_info(spec, flags | BRIDGE_VLAN_INFO_RANGE_BEGIN, vlan.first);
                vlan_info(spec, flags | BRIDGE_VLAN_INFO_RANGE_END, vlan.last);
            }
        }
    });
    Request::new(kind, 0, body, what)
}

/// Writes a `struct bridge_vlan_info`.
fn vlan_info(spec: &mut Builder, flags: u16, id: u16) {
    let mut value = [0; 4];
    value[..2].copy_from_slice(&flags.to_ne_bytes());
    value[2..].copy_from_slice(&id.to_ne_bytes());
    spec.raw(IFLA_BRIDGE_VLAN_INFO, &value);
}

impl Handle {
    /// The VLANs that the bridge port (or bridge) `index` is a member of, in
    /// ascending order. The kernel dumps the ports of all bridges of the namespace for
    /// this.
    ///
    /// # Errors
    /// As [`Handle::addresses`].
    pub fn bridge_vlans(&self, index: u32) -> Result<Vec<PortVlan>, Error> {
        let mut body = bridge_body(0);
        body.u32(IFLA_EXT_MASK, RTEXT_FILTER_BRVLAN);
        let what = format!("list VLANs of bridge port {index}");
        let body = body
            .finish()
            .map_err(|problem| Error::invalid(problem.to_owned(), &what))?;
        self.connection()
            .dump(RTM_GETLINK, &body, &what, |message, vlans| {
                if message.kind == RTM_NEWLINK {
                    decode_vlans(message.body, index, vlans);
                }
            })
    }
}

pub(crate) fn decode_vlans(body: &[u8], wanted: u32, vlans: &mut Vec<PortVlan>) {
    if u32_at(body, 4) != Some(wanted) {
        return;
    }
    let specs = Attributes::after(body, IFINFOMSG_LEN).filter(|a| a.kind == IFLA_AF_SPEC);
    for spec in specs {
        for info in spec.nested().filter(|a| a.kind == IFLA_BRIDGE_VLAN_INFO) {
            let (Some(flags), Some(id)) = (u16_at(info.value, 0), u16_at(info.value, 2)) else {
                continue;
            };
            vlans.push(PortVlan {
                index: wanted,
                id,
                pvid: flags & BRIDGE_VLAN_INFO_PVID != 0,
                untagged: flags & BRIDGE_VLAN_INFO_UNTAGGED != 0,
            });
        }
    }
}
