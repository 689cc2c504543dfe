//! Files that plugins keep on the host: private with any umask, safe from other users, found with names of any length.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, also in its helper functions"
)]

mod chains;
mod intruder;
mod names;
mod umask;
