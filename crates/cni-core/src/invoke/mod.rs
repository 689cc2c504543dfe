//! Running other plugins: finding them, executing them, understanding their
//! failures, and delegating a verb to one of them.

mod delegate;
mod exec;
mod failure;
mod find;
#[cfg(test)]
mod tests;

pub use delegate::{delegate_add, delegate_check, delegate_del, delegate_gc, delegate_status};
pub use exec::{Invocation, TraceContext};
pub use find::{FindError, find_in_path, split_path};
