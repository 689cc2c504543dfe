//! Options of bridge ports (`IFLA_BRPORT_*`, if_link.h).

use netlink_packet_route::AddressFamily;
use netlink_packet_route::link::LinkHeader;

use crate::request::Request;
use crate::wire::*;

const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_ISOLATED: u16 = 33;

/// State of a link as a bridge port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortInfo {
    /// Whether frames may leave by the port they came in.
    pub hairpin: bool,
    /// Whether frames to other isolated ports are dropped; `None` from kernels before
    /// 4.18.
    pub isolated: Option<bool>,
}

/// Changes to a bridge port, by [`Request::set_bridge_port`]; `None` leaves an
/// option as it is.
#[derive(Clone, Debug, Default)]
pub struct PortChange {
    /// Whether frames may leave by the port they came in.
    pub hairpin: Option<bool>,
    /// Whether frames to other isolated ports are dropped; ignored by kernels before
    /// 4.18.
    pub isolated: Option<bool>,
}

impl PortInfo {
    pub(crate) fn decode(data: Attributes<'_>) -> PortInfo {
        let mut port = PortInfo::default();
        for attribute in data {
            let value = attribute.u8().is_some_and(|value| value != 0);
            match attribute.kind {
                IFLA_BRPORT_MODE => port.hairpin = value,
                IFLA_BRPORT_ISOLATED => port.isolated = Some(value),
                _ => {}
            }
        }
        port
    }
}

impl<'fd> Request<'fd> {
    /// Changes options of the bridge port `index` (`RTM_SETLINK` of family
    /// bridge, `IFLA_PROTINFO`).
    ///
    /// Errors: `EINVAL` if the link is not a bridge port.
    #[must_use]
    pub fn set_bridge_port(index: u32, change: &PortChange) -> Request<'fd> {
        let mut body = bridge_body(index);
        body.nested(IFLA_PROTINFO, |port| {
            for (kind, value) in [
                (IFLA_BRPORT_MODE, change.hairpin),
                (IFLA_BRPORT_ISOLATED, change.isolated),
            ] {
                if let Some(value) = value {
                    port.u8(kind, value.into());
                }
            }
        });
        let what = format!("change options of bridge port {index}");
        Request::new(RTM_SETLINK, 0, body, what)
    }
}

pub(crate) fn bridge_body(index: u32) -> Builder {
    Builder::new(&LinkHeader {
        interface_family: AddressFamily::Bridge,
        index,
        ..LinkHeader::default()
    })
}
