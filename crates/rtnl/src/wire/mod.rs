//! Bytes on the socket: encoding of requests, reading of replies. Nothing here
//! touches a socket, so all of it is tested without a kernel.

pub(crate) mod attr;
pub(crate) mod builder;
pub(crate) mod constants;
pub(crate) mod message;

pub use attr::{Attribute, Attributes};
pub use builder::Builder;
pub(crate) use constants::*;
pub use message::{Message, Messages, Outcome};

#[cfg(test)]
mod tests;
