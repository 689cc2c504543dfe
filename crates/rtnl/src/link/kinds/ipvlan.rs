//! ipvlan: links that share their parent's MAC address (`IFLA_IPVLAN_*`,
//! if_link.h).

use crate::wire::{Attributes, Builder};

pub(super) const KIND: &str = "ipvlan";
const IFLA_IPVLAN_MODE: u16 = 1;
const IFLA_IPVLAN_FLAGS: u16 = 2;

/// Options of an ipvlan link; the parent is `LinkSpec::link`.
#[derive(Clone, Debug, Default)]
pub struct Ipvlan {
    /// Layer of switching; `None` is the kernel's default, L3.
    pub mode: Option<IpvlanMode>,
    /// Isolation; `None` is the kernel's default, bridge.
    pub flag: Option<IpvlanFlag>,
}

/// On which layer the parent switches between its ipvlan links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpvlanMode {
    /// Layer 2: neighbour discovery and broadcasts work.
    L2,
    /// Layer 3: the parent's namespace routes.
    L3,
    /// Layer 3 with the parent's netfilter hooks.
    L3s,
}

/// Isolation between the ipvlan links of one parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpvlanFlag {
    /// All links reach each other directly.
    Bridge,
    /// No link reaches another.
    Private,
    /// Links reach each other through an external switch (VEPA).
    Vepa,
}

impl IpvlanMode {
    /// The kernel's number, `IPVLAN_MODE_*`.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            IpvlanMode::L2 => 0,
            IpvlanMode::L3 => 1,
            IpvlanMode::L3s => 2,
        }
    }
}

impl IpvlanFlag {
    /// The kernel's number, `IPVLAN_F_*`.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            IpvlanFlag::Bridge => 0,
            IpvlanFlag::Private => 1,
            IpvlanFlag::Vepa => 2,
        }
    }
}

impl Ipvlan {
    pub(super) fn encode(&self, data: &mut Builder) {
        if let Some(mode) = self.mode {
            data.u16(IFLA_IPVLAN_MODE, mode.number());
        }
        if let Some(flag) = self.flag {
            data.u16(IFLA_IPVLAN_FLAGS, flag.number());
        }
    }
}

/// State of an ipvlan link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IpvlanInfo {
    /// The mode; `None` for one not known here.
    pub mode: Option<IpvlanMode>,
    /// Isolation; `None` for a combination not known here.
    pub flag: Option<IpvlanFlag>,
}

impl IpvlanInfo {
    pub(super) fn decode(data: Attributes<'_>) -> IpvlanInfo {
        let mut info = IpvlanInfo::default();
        for attribute in data {
            match attribute.kind {
                IFLA_IPVLAN_MODE => {
                    let modes = [IpvlanMode::L2, IpvlanMode::L3, IpvlanMode::L3s];
                    info.mode = modes
                        .into_iter()
                        .find(|mode| Some(mode.number()) == attribute.u16());
                }
                IFLA_IPVLAN_FLAGS => {
                    let flags = [IpvlanFlag::Bridge, IpvlanFlag::Private, IpvlanFlag::Vepa];
                    info.flag = flags
                        .into_iter()
                        .find(|flag| Some(flag.number()) == attribute.u16());
                }
                _ => {}
            }
        }
        info
    }
}
