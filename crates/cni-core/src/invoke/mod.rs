//! Running other plugins: finding them, executing them, understanding their
//! failures, and delegating a verb to one of them.

mod delegate;
mod exec;
mod failure;
mod find;
#[cfg(test)]
mod tests;

pub use delegate::{
    Delegate, delegate_add, delegate_check, delegate_del, delegate_gc, delegate_status, start,
};
pub use exec::{Invocation, Started, TraceContext};
pub use find::{FindError, find_in_path, split_path};
