//! What all subsystems of nfnetlink share (`linux/netfilter/nfnetlink.h`).

use std::ops::Deref;
use std::os::fd::AsFd;

use rtnl::deferred;
use rtnl::netlink::Connection;

use crate::error::Error;

/// Netlink protocol of nfnetlink.
const NETLINK_NETFILTER: isize = 12;

/// A netlink socket for nfnetlink.
///
/// After any process in the namespace has deleted rules, closing a socket of this protocol
/// waits until a kernel worker has freed them (`nft_rcv_nl_event`), which takes an RCU grace
/// period, 8 to 20 ms. The changes are in force before. So a child process closes it.
pub(crate) struct Socket(Connection);

impl Socket {
    /// Opens a socket in the calling thread's network namespace.
    pub(crate) fn open() -> Result<Socket, Error> {
        Ok(Socket(Connection::open(NETLINK_NETFILTER)?))
    }
}

impl Deref for Socket {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.0
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        deferred::hold(self.0.as_fd());
    }
}

pub(crate) const NFPROTO_IPV4: u8 = 2;
pub(crate) const NFPROTO_IPV6: u8 = 10;

/// `sizeof(struct nfgenmsg)`.
pub(crate) const NFGENMSG_LEN: usize = 4;

/// Returns a `struct nfgenmsg`.
pub(crate) fn header(family: u8, resource: u16) -> [u8; NFGENMSG_LEN] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}
