//! Black-box tests: the built binary, driven as a runtime drives it, in hosts and
//! containers of the tests' own. One program, so that it is linked once.

mod chained;
mod common;
mod modes;
mod options;
mod shared;
