//! The wire format: encoding requests and decoding replies, without a socket.

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
