//! Packet filters.
#![cfg(target_os = "linux")]

mod error;
pub mod nft;

pub use error::Error;
