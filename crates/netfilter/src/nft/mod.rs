//! nf_tables, spoken natively: no `nft` is executed, or needed.
//!
//! [`Table`], [`Chain`] and [`Set`] are plain values that name kernel objects; a
//! [`Rule`] is built from its chain, and all of them go into a [`Batch`]. An
//! [`Nft`] commits batches and reads what there is.

mod batch;
mod client;
mod constants;
mod expression;
mod object;
mod read;
mod rule;
mod set;
mod userdata;
mod value;

#[cfg(test)]
mod tests;

pub use batch::Batch;
pub use client::Nft;
pub use object::{Base, Chain, ChainType, Family, Hook, Policy, Table};
pub use read::{ChainInfo, RuleInfo, RuleView};
pub use rule::{CtState, CtStatus, NatFlags, Rule};
pub use set::{Element, ElementInfo, Set, Verdict, merge_networks};
pub use userdata::COMMENT_MAX;
pub use value::{Field, Prefix, Protocol, Type, Value};
