//! Black-box tests: the built binary, in containers of the tests' own.

mod page;
mod parsing;
mod verbs;
mod versions;
