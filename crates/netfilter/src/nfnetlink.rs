//! What all subsystems of nfnetlink share (`linux/netfilter/nfnetlink.h`).

/// Netlink protocol of nfnetlink.
pub(crate) const NETLINK_NETFILTER: isize = 12;

pub(crate) const NFPROTO_IPV4: u8 = 2;
pub(crate) const NFPROTO_IPV6: u8 = 10;

/// `sizeof(struct nfgenmsg)`.
pub(crate) const NFGENMSG_LEN: usize = 4;

/// Returns a `struct nfgenmsg`.
pub(crate) fn header(family: u8, resource: u16) -> [u8; NFGENMSG_LEN] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}
