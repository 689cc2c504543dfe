//! Black-box tests: the built binary, driven as a runtime drives it, in hosts and
//! containers of the tests' own. One program, so that it is linked once.

mod common;
mod default_master;
mod del;
mod hardware_address;
mod layer2;
mod modes;
mod options;
mod shared;
