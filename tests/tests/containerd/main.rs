//! Pods of containerd, which calls the plugins when the CRI runs and stops their sandboxes.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests end the test by panicking"
)]

mod containers;
mod crowd;
mod damage;
mod failures;
mod life;
mod peer;
mod pods;
mod restarts;
