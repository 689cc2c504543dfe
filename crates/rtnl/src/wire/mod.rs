//! Bytes on the socket: encoding of requests, reading of replies. Nothing here
//! touches a socket, so all of it is tested without a kernel.

pub(crate) mod attr;
pub(crate) mod builder;
pub(crate) mod constants;
pub(crate) mod message;

pub(crate) use attr::Attributes;
pub(crate) use builder::Builder;
pub(crate) use constants::*;
pub(crate) use message::{Message, Messages};

#[cfg(test)]
mod tests;
