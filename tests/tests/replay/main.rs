//! Calls of runtimes that cannot be installed here, made as they make them: CRI-O, nerdctl, Nomad and Multus.
//!
//! All of them call plugins through upstream's library, so these tests do, too: it writes the configurations and the six
//! variables. What each runtime decides itself is repeated here: the network, the other variables of its environment, the
//! order of verbs, container ID, path of the namespace and names of interfaces, `CNI_ARGS`, and the values of capabilities
//! with their spelling, which is that of Go's fields in nerdctl and Nomad.
//!
//! The verbs that Debian's version of the library lacks, GC and STATUS, are called directly. That nerdctl and Nomad start
//! programs without any variable is a test of its own (`about.rs`).
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests end the test by panicking"
)]

mod caller;
mod crio;
mod multus;
mod nerdctl;
mod nomad;
