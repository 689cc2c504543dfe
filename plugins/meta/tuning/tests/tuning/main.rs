//! Black-box tests: the built binary, driven as a runtime drives it, in hosts and
//! containers of the tests' own. One program, so that it is linked once.

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
