//! Black-box tests of the built binary in private hosts and containers. One program, so
//! that it is linked once.

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
