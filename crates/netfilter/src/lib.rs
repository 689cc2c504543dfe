//! Packet filters.
#![cfg(target_os = "linux")]

pub mod backend;
pub mod conntrack;
mod error;
pub mod firewalld;
pub mod iptables;
pub mod nft;
mod process;

pub use error::Error;
