//! Black-box tests of the built binary in private hosts and containers. One program, so
//! that it is linked once.
#![allow(clippy::unwrap_used)]

mod bad_input;
mod check;
mod common;
mod del;
mod interop;
mod multipath;
mod page;
mod parsing;
mod rollback;
mod routes;
mod traffic;
mod versions;
mod without_ipv6;
