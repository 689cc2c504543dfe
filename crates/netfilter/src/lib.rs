//! Packet filters.
#![cfg(target_os = "linux")]

mod error;
pub mod iptables;
pub mod nft;
mod process;

pub use error::Error;
