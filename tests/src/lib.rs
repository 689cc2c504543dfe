//! Shared code of the black-box tests that span plugins.
//!
//! | module | contents |
//! |---|---|
//! | [`networks`] | network configurations |
//! | [`chain`] | networks of several plugins, called as a runtime calls them |
//! | [`answer`] | assertions about the output of a plugin |
//! | [`reach`] | connections between nodes |
//! | [`state`] | state that plugins keep on the host |
//!
//! The tests are in `tests/tests`. They run the built binaries against the real kernel, on hosts that [`testkit`]
//! creates from namespaces.
//!
//! Like `testkit`, this code panics when an expectation is not met, which ends the test.
#![allow(
    clippy::unwrap_used,
    reason = "test support ends the test by panicking, see the crate docs"
)]

pub mod answer;
pub mod chain;
pub mod networks;
pub mod reach;
pub mod state;
