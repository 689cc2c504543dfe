//! Black-box tests: the built binary, driven as a runtime drives it, in hosts and
//! containers of the tests' own. One program, so that it is linked once.

mod bad_input;
mod check;
mod common;
mod default_master;
mod del;
mod in_container;
mod interop;
mod modes;
mod options;
mod page;
mod rollback;
mod status;
mod versions;
