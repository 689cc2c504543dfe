//! Links (network interfaces) as the kernel reports them.

pub(crate) mod common;
pub(crate) mod kinds;
pub(crate) mod lookup;
pub(crate) mod port;
pub(crate) mod port_vlan;
pub(crate) mod spec;

pub use kinds::*;
pub use port::{PortChange, PortInfo};
pub use port_vlan::{BridgeVlan, PortVlan};
pub use spec::{LinkChange, LinkSpec};

use crate::wire::attr::{u16_at, u32_at};
use crate::wire::*;

/// `IFF_UP`: administratively up (if.h).
pub const IFF_UP: u32 = 0x1;
/// `IFF_LOOPBACK`: the loopback link (if.h).
pub const IFF_LOOPBACK: u32 = 0x8;
/// `IFF_PROMISC`: promiscuous mode was enabled by an administrator (if.h).
pub const IFF_PROMISC: u32 = 0x100;
/// `IFF_ALLMULTI`: all multicast frames are received (if.h).
pub const IFF_ALLMULTI: u32 = 0x200;

/// A link as the kernel reported it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Index, unique in its network namespace and never 0.
    pub index: u32,
    /// Name.
    pub name: String,
    /// `IFF_*` flags.
    pub flags: u32,
    /// Link layer type, `ARPHRD_*` of if_arp.h: 1 is Ethernet, 772 loopback.
    pub layer: u16,
    /// MTU in bytes.
    pub mtu: u32,
    /// Hardware address: 6 bytes for Ethernet, 20 for InfiniBand, none for a
    /// tunnel.
    pub mac: Vec<u8>,
    /// Index of the bridge, VRF or bond the link belongs to.
    pub master: Option<u32>,
    /// Index of the parent link or veth peer, in the namespace `link_netnsid` if that
    /// is set. 0 if the kernel does not report it.
    pub link: Option<u32>,
    /// Identifier of the namespace of `link`, if it is another one
    /// (`ip netns list-id`).
    pub link_netnsid: Option<i32>,
    /// Operational state.
    pub operstate: OperState,
    /// Kind, such as `veth` or `bridge`; `None` for hardware and loopback.
    pub kind: Option<String>,
    /// Information specific to the kind.
    pub info: KindInfo,
    /// State as a port, if the master is a bridge.
    pub port: Option<PortInfo>,
    /// Number of users of promiscuous mode.
    pub promiscuity: u32,
    /// Alias; empty if there is none.
    pub alias: String,
    /// Length of the transmit queue in packets.
    pub txqlen: u32,
    /// Number of transmit queues.
    pub num_tx_queues: u32,
    /// Number of receive queues.
    pub num_rx_queues: u32,
    /// Largest segmentation-offload packet sent, in bytes; 0 if not reported.
    pub gso_max_size: u32,
    /// Largest receive-offload packet built, in bytes; 0 if not reported.
    pub gro_max_size: u32,
}

/// Operational state of a link (RFC 2863, `IF_OPER_*`, if.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OperState {
    /// Not reported by the driver; also the state of the loopback link.
    #[default]
    Unknown,
    /// A component is missing.
    NotPresent,
    /// Down.
    Down,
    /// A lower link is down.
    LowerLayerDown,
    /// In test mode.
    Testing,
    /// Waiting for an external event such as authentication.
    Dormant,
    /// Ready to pass packets.
    Up,
}

impl OperState {
    fn from_number(number: u8) -> OperState {
        match number {
            1 => OperState::NotPresent,
            2 => OperState::Down,
            3 => OperState::LowerLayerDown,
            4 => OperState::Testing,
            5 => OperState::Dormant,
            6 => OperState::Up,
            _ => OperState::Unknown,
        }
    }

    /// The state in kebab case, for example `lower-layer-down`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            OperState::Unknown => "unknown",
            OperState::NotPresent => "not-present",
            OperState::Down => "down",
            OperState::LowerLayerDown => "lower-layer-down",
            OperState::Testing => "testing",
            OperState::Dormant => "dormant",
            OperState::Up => "up",
        }
    }
}

impl Link {
    /// Whether the link is administratively up (`IFF_UP`). `operstate` tells whether
    /// it can pass packets.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.flags & IFF_UP != 0
    }

    /// The hardware address as `02:00:5e:10:00:01`; empty if there is none.
    #[must_use]
    pub fn mac_string(&self) -> String {
        format_mac(&self.mac)
    }

    /// Whether the link is of the kind `kind`.
    #[must_use]
    pub fn is_kind(&self, kind: &str) -> bool {
        self.kind.as_deref() == Some(kind)
    }

    /// Reads the body of an `RTM_NEWLINK`: `struct ifinfomsg` and attributes.
    /// `None` for another family: a bridge reports its ports in messages of the same
    /// type with other attributes.
    pub(crate) fn decode(body: &[u8]) -> Option<Link> {
        if body.first() != Some(&AF_UNSPEC) {
            return None;
        }
        let mut link = Link {
            layer: u16_at(body, 2)?,
            index: u32_at(body, 4)?,
            flags: u32_at(body, 8)?,
            ..Link::default()
        };
        for attribute in Attributes::after(body, IFINFOMSG_LEN) {
            match attribute.kind {
                IFLA_IFNAME => link.name = attribute.text(),
                IFLA_ADDRESS => link.mac = attribute.value.to_vec(),
                IFLA_MTU => link.mtu = attribute.u32().unwrap_or(0),
                IFLA_LINK => link.link = attribute.u32(),
                IFLA_LINK_NETNSID => link.link_netnsid = attribute.i32(),
                IFLA_MASTER => link.master = attribute.u32(),
                IFLA_OPERSTATE => {
                    link.operstate = OperState::from_number(attribute.u8().unwrap_or(0));
                }
                IFLA_TXQLEN => link.txqlen = attribute.u32().unwrap_or(0),
                IFLA_IFALIAS => link.alias = attribute.text(),
                IFLA_PROMISCUITY => link.promiscuity = attribute.u32().unwrap_or(0),
                IFLA_NUM_TX_QUEUES => link.num_tx_queues = attribute.u32().unwrap_or(0),
                IFLA_NUM_RX_QUEUES => link.num_rx_queues = attribute.u32().unwrap_or(0),
                IFLA_GSO_MAX_SIZE => link.gso_max_size = attribute.u32().unwrap_or(0),
                IFLA_GRO_MAX_SIZE => link.gro_max_size = attribute.u32().unwrap_or(0),
                IFLA_LINKINFO => link.decode_info(attribute.nested()),
                _ => {}
            }
        }
        Some(link)
    }

    fn decode_info(&mut self, info: Attributes<'_>) {
        let mut kind = None;
        let mut data = Attributes::new(&[]);
        let mut port_kind = String::new();
        let mut port_data = None;
        for attribute in info {
            match attribute.kind {
                IFLA_INFO_KIND => kind = Some(attribute.text()),
                IFLA_INFO_DATA => data = attribute.nested(),
                IFLA_INFO_SLAVE_KIND => port_kind = attribute.text(),
                IFLA_INFO_SLAVE_DATA => port_data = Some(attribute.nested()),
                _ => {}
            }
        }
        self.info = KindInfo::decode(kind.as_deref().unwrap_or_default(), data);
        self.kind = kind;
        if port_kind == "bridge" {
            self.port = port_data.map(PortInfo::decode);
        }
    }
}

/// A hardware address as lower-case hexadecimal bytes with colons between.
fn format_mac(mac: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(mac.len() * 3);
    for byte in mac {
        if !text.is_empty() {
            text.push(':');
        }
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}
