//! Kinds of links, one file each: options and reported state (`IFLA_LINKINFO`,
//! if_link.h).

mod bridge;
mod ifb;
mod ipvlan;
mod macvlan;
mod tun;
mod veth;
mod vlan;
mod vrf;

pub use bridge::{Bridge, BridgeInfo};
pub use ipvlan::{Ipvlan, IpvlanFlag, IpvlanInfo, IpvlanMode};
pub use macvlan::{Macvlan, MacvlanInfo, MacvlanMode};
pub use tun::TunInfo;
pub use veth::{PeerSpec, Veth};
pub use vlan::{Vlan, VlanInfo, VlanProtocol};
pub use vrf::{Vrf, VrfInfo};

use crate::wire::{Attributes, Builder, IFLA_INFO_DATA, IFLA_INFO_KIND, IFLA_LINKINFO};

/// The kind of a link to be created, with the options of that kind.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LinkKind<'fd> {
    /// A pair of connected Ethernet links.
    Veth(Veth<'fd>),
    /// An Ethernet bridge.
    Bridge(Bridge),
    /// A link that drops all packets sent.
    Dummy,
    /// A link with a MAC address of its own on another link.
    Macvlan(Macvlan),
    /// A link that shares the MAC address of another link.
    Ipvlan(Ipvlan),
    /// One VLAN of another link.
    Vlan(Vlan),
    /// A virtual routing and forwarding domain.
    Vrf(Vrf),
    /// An intermediate functional block, for shaping packets received by another link.
    Ifb,
}

impl LinkKind<'_> {
    /// The kernel's name of the kind.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            LinkKind::Veth(_) => veth::KIND,
            LinkKind::Bridge(_) => bridge::KIND,
            LinkKind::Dummy => "dummy",
            LinkKind::Macvlan(_) => macvlan::KIND,
            LinkKind::Ipvlan(_) => ipvlan::KIND,
            LinkKind::Vlan(_) => vlan::KIND,
            LinkKind::Vrf(_) => vrf::KIND,
            LinkKind::Ifb => ifb::KIND,
        }
    }

    pub(crate) fn encode(&self, message: &mut Builder) {
        message.nested(IFLA_LINKINFO, |info| {
            info.text(IFLA_INFO_KIND, self.name());
            let mut data = |fill: &dyn Fn(&mut Builder)| info.nested(IFLA_INFO_DATA, fill);
            match self {
                LinkKind::Veth(veth) => data(&|data| veth.encode(data)),
                LinkKind::Bridge(bridge) => data(&|data| bridge.encode(data)),
                LinkKind::Macvlan(macvlan) => data(&|data| macvlan.encode(data)),
                LinkKind::Ipvlan(ipvlan) => data(&|data| ipvlan.encode(data)),
                LinkKind::Vlan(vlan) => data(&|data| vlan.encode(data)),
                LinkKind::Vrf(vrf) => data(&|data| vrf.encode(data)),
                LinkKind::Dummy | LinkKind::Ifb => {}
            }
        });
    }
}

/// Reported state of a link of a kind known here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum KindInfo {
    /// A kind without such information, or not known here.
    #[default]
    None,
    /// Of a bridge.
    Bridge(BridgeInfo),
    /// Of a macvlan (or macvtap) link.
    Macvlan(MacvlanInfo),
    /// Of an ipvlan link.
    Ipvlan(IpvlanInfo),
    /// Of a VLAN link.
    Vlan(VlanInfo),
    /// Of a VRF.
    Vrf(VrfInfo),
    /// Of a tun or tap link.
    Tun(TunInfo),
}

impl KindInfo {
    pub(crate) fn decode(kind: &str, data: Attributes<'_>) -> KindInfo {
        match kind {
            bridge::KIND => KindInfo::Bridge(BridgeInfo::decode(data)),
            macvlan::KIND | "macvtap" => KindInfo::Macvlan(MacvlanInfo::decode(data)),
            ipvlan::KIND => KindInfo::Ipvlan(IpvlanInfo::decode(data)),
            vlan::KIND => KindInfo::Vlan(VlanInfo::decode(data)),
            vrf::KIND => KindInfo::Vrf(VrfInfo::decode(data)),
            tun::KIND => KindInfo::Tun(TunInfo::decode(data)),
            _ => KindInfo::None,
        }
    }
}
