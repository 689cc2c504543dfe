//! macvlan: links with MAC addresses of their own on one parent
//! (`IFLA_MACVLAN_*`, if_link.h).

use crate::wire::{Attributes, Builder};

pub(super) const KIND: &str = "macvlan";
const IFLA_MACVLAN_MODE: u16 = 1;
const IFLA_MACVLAN_FLAGS: u16 = 2;
const IFLA_MACVLAN_BC_QUEUE_LEN: u16 = 7;

/// Options of a macvlan link; the parent is `LinkSpec::link`.
#[derive(Clone, Debug, Default)]
pub struct Macvlan {
    /// Mode; `None` is the kernel's default, VEPA.
    pub mode: Option<MacvlanMode>,
    /// `MACVLAN_FLAG_*`: 1 leaves the parent out of promiscuous mode in
    /// passthru mode, 2 keeps destination addresses from the broadcast list.
    pub flags: Option<u16>,
    /// Length of the broadcast queue in packets; Linux 5.11 and later.
    pub bc_queue_len: Option<u32>,
}

/// Switching between the macvlan links of one parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MacvlanMode {
    /// No link reaches another.
    Private,
    /// Links reach each other through an external switch (VEPA).
    Vepa,
    /// All links reach each other directly.
    Bridge,
    /// The one link takes over the parent.
    Passthru,
    /// Frames are accepted from listed source addresses only.
    Source,
}

impl MacvlanMode {
    /// The kernel's number, `MACVLAN_MODE_*`.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            MacvlanMode::Private => 1,
            MacvlanMode::Vepa => 2,
            MacvlanMode::Bridge => 4,
            MacvlanMode::Passthru => 8,
            MacvlanMode::Source => 16,
        }
    }

    fn from_number(number: u32) -> Option<MacvlanMode> {
        use MacvlanMode::{Bridge, Passthru, Private, Source, Vepa};
        [Private, Vepa, Bridge, Passthru, Source]
            .into_iter()
            .find(|mode| mode.number() == number)
    }
}

impl Macvlan {
    pub(super) fn encode(&self, data: &mut Builder) {
        data.opt_u32(IFLA_MACVLAN_MODE, self.mode.map(MacvlanMode::number));
        if let Some(flags) = self.flags {
            data.u16(IFLA_MACVLAN_FLAGS, flags);
        }
        data.opt_u32(IFLA_MACVLAN_BC_QUEUE_LEN, self.bc_queue_len);
    }
}

/// State of a macvlan link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MacvlanInfo {
    /// The mode; `None` for one not known here.
    pub mode: Option<MacvlanMode>,
    /// `MACVLAN_FLAG_*`.
    pub flags: u16,
    /// Requested length of the broadcast queue in packets.
    pub bc_queue_len: Option<u32>,
}

impl MacvlanInfo {
    pub(super) fn decode(data: Attributes<'_>) -> MacvlanInfo {
        let mut info = MacvlanInfo::default();
        for attribute in data {
            match attribute.kind {
                IFLA_MACVLAN_MODE => {
                    info.mode = attribute.u32().and_then(MacvlanMode::from_number);
                }
                IFLA_MACVLAN_FLAGS => info.flags = attribute.u16().unwrap_or(0),
                IFLA_MACVLAN_BC_QUEUE_LEN => info.bc_queue_len = attribute.u32(),
                _ => {}
            }
        }
        info
    }
}
