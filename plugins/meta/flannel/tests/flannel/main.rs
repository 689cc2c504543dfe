//! Black-box tests: the built binary, driven as a runtime drives it, in hosts and
//! containers of the tests' own. One program, so that it is linked once.

mod bad_input;
mod common;
mod gc;
mod interop;
mod page;
mod scripted;
mod state;
mod verbs;
