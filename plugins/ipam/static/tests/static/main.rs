//! Black-box tests: the built binary, driven as an interface plugin drives it.
#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

mod answers;
mod check;
mod common;
mod page;
