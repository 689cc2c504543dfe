//! Rules that every CNI plugin keeps, to be run against any plugin binary.
//!
//! A [`Subject`] says which plugin and with which configuration; a [`Rig`] is one host to test it on. Each rule
//! is a function of a rig that panics where the plugin breaks it. `tests/tests/conformance.rs` runs them all;
//! `Documentation/conformance.md` tells how to run them against a plugin of your own.
//!
//! The rules are the CNI specification's, and where that is silent, what plugins built on the reference library
//! do, because runtimes rely on it: order of tests, error codes, texts.

pub mod attachment;
pub mod environment;
pub mod input;
pub mod upkeep;
pub mod versions;

mod subject;

pub use subject::{Rig, Subject};
