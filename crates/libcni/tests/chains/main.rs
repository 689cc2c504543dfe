//! Chains of scripted plugins.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests end the test by panicking"
)]

mod add;
mod cache;
mod example;
mod load;
mod plugins;
mod rig;
mod upstream;
mod verbs;
