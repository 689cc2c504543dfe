//! DHCPv4 (RFC 2131): messages, options, leases and the client.

pub(crate) mod arp;
pub(crate) mod client;
mod driven;
pub(crate) mod lease;
pub(crate) mod message;
pub(crate) mod options;
mod outgoing;
pub(crate) mod packet;
#[cfg(test)]
mod tests;

pub(crate) use client::V4Client;
pub(crate) use lease::Lease;
