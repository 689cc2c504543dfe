//! Rules that every CNI plugin follows, which can be run against any plugin binary.
//!
//! A [`Subject`] is a plugin with a configuration; a [`Rig`] is a host with the subject on it. Each rule is a
//! function of a rig that panics if the plugin breaks the rule. `tests/tests/conformance.rs` runs them all;
//! `Documentation/conformance.md` describes how to run them against your own plugin.
//!
//! The rules come from the CNI specification. Where it leaves something open (order of checks, error codes, message
//! texts), they demand what plugins built on the reference library do, because runtimes rely on it.

pub mod attachment;
pub mod environment;
pub mod input;
pub mod upkeep;
pub mod versions;

mod subject;

pub use subject::{Rig, Subject};
