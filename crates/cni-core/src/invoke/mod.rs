//! Runs other plugins: finds them, delegates a verb to them, and decodes their
//! failures.

mod delegate;
mod exec;
mod failure;
mod find;
#[cfg(test)]
mod tests;

pub use delegate::{Delegate, delegate, delegate_add, find, start};
pub use find::FindError;
