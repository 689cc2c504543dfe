//! Black-box tests: the built binary, driven as a runtime drives it, in hosts and
//! containers of the tests' own. One program, so that it is linked once.

mod check;
mod common;
mod options;
mod page;
mod verbs;
