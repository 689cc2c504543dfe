//! Black-box tests: the built binary, called as a runtime calls it, on hosts and in
//! containers of the test's own. They are one program, so that it is linked once.

mod common;
mod options;
mod shared;
