//! Black-box tests of the built binary in private hosts and containers. One program, so
//! that it is linked once.

#![allow(clippy::unwrap_used)]

mod allowlist;
mod announcement;
mod backup;
mod bad_input;
mod check;
mod common;
mod interop;
mod page;
mod parsing;
mod rollback;
mod verbs;
mod versions;
