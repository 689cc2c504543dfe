//! Black-box tests: the built binary, called as a runtime calls it, on hosts and in
//! containers of the test's own. They are one program, so that it is linked once.
#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

mod attach;
mod check;
mod common;
mod del;
mod input;
mod interop;
mod masquerade;
mod page;
mod rollback;
