//! Chains of scripted plugins.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests end the test by panicking"
)]

mod add;
mod rig;
