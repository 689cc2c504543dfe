//! nf_tables over netlink. `nft` is not executed, except for matches in the user's
//! own nft syntax ([`NftCommand`]).
//!
//! [`Table`], [`Chain`] and [`Set`] are plain values that name kernel objects. A
//! [`Rule`] is built from its chain. All of them go into a [`Batch`], which an
//! [`Nft`] socket commits. [`Nft`] also reads the kernel's rules.

mod answers;
mod batch;
mod client;
mod constants;
mod element;
mod expression;
mod field;
mod info;
mod matches;
mod message;
mod object;
mod read;
mod rule;
mod script;
mod set;
mod statements;
mod userdata;
mod value;
mod xt;

#[cfg(test)]
mod tests;

pub use batch::Batch;
pub use client::Nft;
pub use element::{Element, ElementInfo, Verdict};
pub use field::Field;
pub use info::{ChainInfo, RuleInfo, RuleView};
pub use matches::{CtState, CtStatus};
pub use object::{Base, Chain, ChainType, Family, Hook, Policy, Table};
pub use rule::Rule;
pub use script::{NftCommand, is_statement_part};
pub use set::Set;
pub use statements::NatFlags;
pub use userdata::COMMENT_MAX;
pub use value::{Prefix, Protocol, Type, Value};
