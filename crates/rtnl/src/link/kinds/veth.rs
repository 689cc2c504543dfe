//! veth: a pair of connected Ethernet links (veth.h).

use std::os::fd::BorrowedFd;

use crate::link::common::{CommonAttributes, header};
use crate::wire::Builder;
use crate::wire::builder::header_bytes;

pub(super) const KIND: &str = "veth";
const VETH_INFO_PEER: u16 = 1;

/// A veth pair. [`LinkSpec`](crate::LinkSpec) describes one end, `peer` the other.
#[derive(Clone, Debug, Default)]
pub struct Veth<'fd> {
    /// The peer.
    pub peer: PeerSpec<'fd>,
}

/// The peer of a veth link, created in the same request.
///
/// The kernel ignores a master of the peer, and fails with `ENOTCONN` if the peer is to
/// be up. Let [`LinkSpec`](crate::LinkSpec) describe the end that joins a bridge, and
/// set the peer up with a separate request in its namespace.
#[derive(Clone, Debug, Default)]
pub struct PeerSpec<'fd> {
    /// Name, at most 15 bytes; empty lets the kernel choose.
    pub name: String,
    /// The network namespace to create the peer in; `None` is that of the socket.
    pub netns: Option<BorrowedFd<'fd>>,
    /// MAC address; `None` is a random one.
    pub mac: Option<Vec<u8>>,
    /// MTU in bytes; `None` is 1500.
    pub mtu: Option<u32>,
    /// Length of the transmit queue in packets; `None` is the kernel's 1000.
    pub txqlen: Option<u32>,
    /// Number of transmit queues.
    pub num_tx_queues: Option<u32>,
    /// Number of receive queues.
    pub num_rx_queues: Option<u32>,
    /// Largest segmentation-offload packet sent, in bytes.
    pub gso_max_size: Option<u32>,
    /// Largest receive-offload packet built, in bytes.
    pub gro_max_size: Option<u32>,
}

impl Veth<'_> {
    pub(super) fn encode(&self, data: &mut Builder) {
        let peer = &self.peer;
        data.nested_after(VETH_INFO_PEER, &header_bytes(&header(0)), |attributes| {
            CommonAttributes {
                name: &peer.name,
                netns: peer.netns,
                mac: peer.mac.as_deref(),
                mtu: peer.mtu,
                txqlen: peer.txqlen,
                num_tx_queues: peer.num_tx_queues,
                num_rx_queues: peer.num_rx_queues,
                gso_max_size: peer.gso_max_size,
                gro_max_size: peer.gro_max_size,
            }
            .encode(attributes);
        });
    }
}
