//! Black-box tests that span plugins: what they share.
//!
//! | part | what it holds |
//! |---|---|
//! | [`conformance`] | rules that every CNI plugin keeps, to be run against any plugin binary |
//! | [`networks`] | the configurations the tests use |
//! | [`chain`] | networks of several plugins |
//! | [`answer`] | demands on what a plugin printed |
//! | [`state`] | what plugins keep on the host |
//!
//! The tests themselves are in `tests/tests`. They run the built binaries against the real kernel, on hosts
//! that [`testkit`] makes of namespaces.
//!
//! Like `testkit`, everything here ends the test by panicking when something is not as it should be.
#![allow(
    clippy::unwrap_used,
    reason = "test support ends the test by panicking, see the crate docs"
)]

pub mod answer;
pub mod chain;
pub mod conformance;
pub mod networks;
pub mod state;
