//! The daemon against the DHCP servers of the distribution. Packets are captured at the server and read by another
//! implementation, `dhcproto`.

mod common;
mod page;
mod rogue;
mod v4;
mod v6;
