//! Test support: temporary hosts and containers, and calls of plugin binaries.
//!
//! ```no_run
//! use testkit::{Host, Node, Plugin};
//! use serde_json::json;
//!
//! let host = Host::new();
//! let c1 = host.container("c1");
//! let before = host.snapshot();
//! let conf = json!({
//!     "cniVersion": "1.1.0", "name": "net", "type": "bridge", "bridge": "cni0", "isGateway": true,
//!     "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}]]}
//! });
//! let bridge = Plugin::new("bridge");
//! let result = bridge.add(&c1, &conf).expect_ok().json();
//! assert_eq!(result["ips"][0]["address"], "10.1.0.2/24");
//! c1.ping("10.1.0.1");
//! bridge.del(&c1, &conf).expect_ok();
//! host.command(&["ip", "link", "del", "cni0"]);
//! // compares links, addresses, routes, rules, filters and files
//! before.assert_same(&host.snapshot());
//! ```
//!
//! # One test, one host
//!
//! [`Host::new`] gives the *calling thread* a network namespace and a mount namespace of its own, with empty file
//! systems at `/run` and `/var/lib/cni`. Processes and threads that this thread starts afterwards are inside as well;
//! the rest of the test program and the machine are not affected. Tests can therefore run in parallel both under `cargo
//! test` (a thread per test) and under nextest (a process per test). The host ends with its last handle.
//!
//! # Kernel features
//!
//! A test that requires an optional kernel feature calls [`needs`] first. If the running kernel lacks the feature,
//! `cargo xtask test` runs the test in User Mode Linux.
//!
//! # Panics
//!
//! Whatever fails here ends the test with a message that names the operation and shows both sides in full. Therefore
//! the crate allows `expect` and `panic!`; the only shipped binary that depends on it is `cni-conformance`, which runs
//! each rule in a process of its own.
#![allow(
    clippy::unwrap_used,
    reason = "test support ends the test by panicking, see the crate docs"
)]

mod common_cases;
pub mod dhcp;
mod host;
mod inventory;
mod mounts;
pub mod namespace;
mod needs;
mod netlink;
mod node;
mod packets;
#[cfg(feature = "parsing")]
pub mod parsing;
mod plugin;
mod podman;
mod readdress;
mod run;
pub mod runtime;
mod service;
pub mod single_interface;
mod snapshot;

pub mod table;
#[cfg(feature = "trace")]
pub mod trace;
mod upstream;
mod user;

pub use common_cases::{
    SCRIPTED, ScriptedIpam, VERSIONS, dual_stack, examples, examples_work, fail_each_request,
    fail_each_request_of_first, leases, merge, state, wire,
};
pub use host::{Container, Host};
pub use needs::{
    DEFER, Deferred, EMULATED, FEATURES_FILE, KERNEL, UML, has, is_feature, needs, patience,
    physical_device,
};
pub use node::{Node, reach};
pub use packets::{Listener, default_route, filters, legacy_iptables, outside};
pub use plugin::{PEER_DIR, Plugin, SEARCH_PATH, bin_dir, peer_dir, tool};
pub use podman::Podman;
pub use readdress::reused_addresses_are_reachable;
pub use run::{ErrorReply, Invocation, Run, Running, run_all};
pub use service::Service;
pub use snapshot::Snapshot;
pub use upstream::UpstreamLibrary;
pub use user::{become_root, is_root};
