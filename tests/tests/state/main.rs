//! Files on the host: private whatever the umask, safe from other users, found whatever their names' lengths.
#![allow(
    clippy::unwrap_used,
    reason = "a test ends by panicking, in its helpers as well"
)]

mod chains;
mod intruder;
mod names;
mod umask;
