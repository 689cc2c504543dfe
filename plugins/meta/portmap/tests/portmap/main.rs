//! Black-box tests: the built binary, driven as a runtime drives it, in hosts and
//! containers of the tests' own. One program, so that it is linked once.
#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

mod bad_input;
mod chained;
mod check;
mod collect;
mod common;
mod concurrency;
mod conditions;
mod del;
mod interop;
mod mark_chain;
mod matrix;
mod page;
mod processes;
mod rollback;
mod rules;
mod udp;
