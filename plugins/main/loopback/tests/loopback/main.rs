//! Black-box tests: the built binary, in containers of the tests' own.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on ends by panicking"
)]

mod page;
mod parsing;
mod verbs;
mod versions;
