//! Black-box tests: the built binary, driven as a runtime drives it, in hosts and
//! containers of the tests' own. One program, so that it is linked once.
#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

mod attach;
mod check;
mod common;
mod frames;
mod input;
mod shared;
