//! Fault injection for tests.
//!
//! Modifying requests of the process are counted from 1, each message of a
//! batch by itself. `RTNL_FAIL_AT=<n>` makes the n-th fail with `EIO` without
//! being sent; `RTNL_KILL_AT=<n>` aborts the process there, without any undo.
//! `RTNL_COUNT=<file>` writes the number of requests so far to a file. For a deferred
//! completion, `RTNL_KILL_CHILD_AT=<n>` kills the child before its n-th step, and
//! `RTNL_KILL_PARENT_AT=<n>` the process at the n-th point of its wait for the child. Only
//! in builds with the feature `fault-injection`.

use std::sync::atomic::{AtomicU64, Ordering};

use nix::libc::EIO;

use crate::error::Error;

static COUNT: AtomicU64 = AtomicU64::new(0);

/// Counts one modifying request. Returns the error that it has to fail with, if any.
///
/// Other crates count their requests with it too, so that there is one numbering.
#[must_use]
pub fn injected_fault(what: &str) -> Option<Error> {
    let number = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
    if let Some(path) = std::env::var_os("RTNL_COUNT")
        && let Err(error) = std::fs::write(path, number.to_string())
    {
        return Some(Error::invalid(
            format!("cannot write RTNL_COUNT: {error}"),
            what,
        ));
    }
    let is_at =
        |variable: &str| std::env::var(variable).is_ok_and(|value| value.parse() == Ok(number));
    if is_at("RTNL_KILL_AT") {
        std::process::abort();
    }
    is_at("RTNL_FAIL_AT").then(|| Error::kernel(EIO, "injected".to_owned(), what))
}

/// The number in an environment variable, 0 if there is none.
pub(crate) fn number_of(variable: &str) -> u32 {
    let value = std::env::var(variable);
    value.ok().and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// Kills the process if `point` is the chosen one.
pub(crate) fn kill_parent_at(point: u32) {
    if number_of("RTNL_KILL_PARENT_AT") == point {
        std::process::abort();
    }
}
