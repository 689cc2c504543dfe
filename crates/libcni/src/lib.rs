//! Runs the networks of containers, for container runtimes: loads CNI network lists, calls
//! their plugins, and keeps the results of attachments in the cache that all runtimes share.
//!
//! | item | what it is |
//! |---|---|
//! | [`load_list`], [`conf_files`] | networks of a configuration directory |
//! | [`NetworkList`], [`PluginConf`] | a network, and the configuration of one of its plugins |
//! | [`Attachment`] | a container's end of a network: container ID, namespace, interface, arguments |
//! | [`Cni`] | the verbs: add, check, del, gc, status, validate |
//! | [`CachedAttachment`] | what the cache knows of an attachment |
//! | [`Error`] | one variant for each kind of failure; the texts are upstream's |
//!
//! ```no_run
//! use libcni::{Attachment, Cni, load_list};
//!
//! let list = load_list("/etc/cni/net.d".as_ref(), "mynet")?;
//! let cni = Cni::new(["/opt/cni/bin"]);
//! let attachment = Attachment::new("4f1c2a", "/run/netns/blue", "eth0");
//! if let Some(result) = cni.add(&list, &attachment)? {
//!     println!("{}", result.to_json()?);
//! }
//! cni.del(&list, &attachment)?;
//! # Ok::<(), libcni::Error>(())
//! ```
//!
//! # What it promises
//!
//! - Files, requests to plugins, results, error texts and cache are those of the reference
//!   library in Go ("upstream"), so that a runtime and an operator's tool may use different
//!   ones on the same host.
//! - Every call ends: a plugin has a [time limit](Cni::time_limit), and its output is
//!   bounded (8 MiB). One that exceeds them is killed with its process group.
//! - Cache files are private (0600 in 0700), written under another name and renamed; no link
//!   is followed. A damaged one counts as missing for DEL, which removes it.
//! - No threads, no signal handlers, no global state.
//!
//! # Differences from upstream
//!
//! - ADD looks for all plugins of the chain before it runs the first.
//! - GC returns an error when the cache cannot be listed.
//! - Errors of a configuration file end with its name.
//! - A cache file with the names of another attachment in it is not used and not removed:
//!   the network `a-b` with container `c` has the same file name as `a` with `b-c`.
//! - Integers of any size are passed on exactly.
//!
//! # Calling it from asynchronous code
//!
//! The calls block, for as long as a plugin runs. Asynchronous code runs them on a thread
//! that may block (`spawn_blocking` of tokio); `examples/from_async.rs` shows how without
//! any runtime. Cancelling is done by [`Cni::deadline`]: a plugin that is killed at any
//! moment leaves an attachment half-made, which DEL removes.

mod attach;
mod attachment;
mod cache;
mod cni;
mod discover;
mod error;
mod list;
mod network;
mod plugin;
mod request;
mod result;
mod trace;

pub use attachment::Attachment;
pub use cache::CachedAttachment;
pub use cni::Cni;
pub use cni_core;
pub use cni_core::types::Attachment as ValidAttachment;
pub use discover::{conf_files, load_list, load_plugin};
pub use error::Error;
pub use list::NetworkList;
pub use plugin::PluginConf;
pub use result::PluginResult;
pub use trace::TraceContext;
