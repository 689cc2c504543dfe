//! Black-box tests: the built binary as plugin and as daemon, with servers in namespaces of
//! their own.
#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

mod bad_input;
mod daemon;
mod interfaces;
mod lan;
mod leases;
mod options;
mod page;
mod peer;
mod restart;
mod scripted;
