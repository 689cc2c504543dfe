//! Black-box tests: the built binary, driven as a runtime drives it, in hosts and
//! containers of the tests' own. One program, so that it is linked once.

mod bad_input;
mod chain;
mod check;
mod common;
mod del;
mod gc;
mod interop;
mod options;
mod page;
mod rollback;
mod subnets;
mod verbs;
