//! Black-box tests: the built binary, driven as a runtime drives it, in hosts and
//! containers of the tests' own. One program, so that it is linked once.
#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

mod addresses;
mod check;
mod common;
mod concurrency;
mod del;
mod firewalld;
mod gc;
mod input;
mod interop;
mod objects;
mod packets;
mod page;
mod rollback;
