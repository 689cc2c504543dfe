//! Finds other plugins, delegates verbs to them, and decodes their errors.

mod alarm;
mod delegate;
mod exec;
mod failure;
mod find;
mod in_process;
#[cfg(test)]
mod tests;

pub(crate) use delegate::in_this_process;
pub use delegate::{delegate, delegate_add, find, time_limit};
pub use exec::{run, start_error};
pub use find::{FindError, find_in_path};
