//! Black-box tests: the built binary, driven as an interface plugin drives it, each test
//! with a state directory of its own. One program, so that it is linked once.

mod adversity;
mod common;
mod interop;
mod page;
mod verbs;
