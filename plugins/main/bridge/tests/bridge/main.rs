//! Black-box tests: the built binary, called as a runtime calls it, on hosts and in
//! containers of the test's own. They are one program, so that it is linked once.
#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

mod addresses;
mod bad_input;
mod beyond;
mod bridges;
mod check;
mod collect;
mod common;
mod crash;
mod del;
mod detection;
mod gateway;
mod guard;
mod interop;
mod isolation;
mod layer2;
mod masquerade;
mod masquerade_end;
mod options;
mod page;
mod parsing;
mod rollback;
mod routes;
mod spoof_check;
mod versions;
mod vlan;
mod vlan_check;
mod vlan_gateway;
mod vlan_rollback;
