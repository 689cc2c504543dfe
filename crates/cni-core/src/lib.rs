//! What a CNI plugin is made of: the specification's types, the entry point,
//! the invocation of other plugins, and network namespaces.
//!
//! A plugin is a value that implements [`skel::Plugin`]; a process is one way to
//! run it. [`skel::main`] parses environment and standard input into one
//! [`skel::Call`], the verb returns a `Result`, and the entry point turns that
//! into the bytes and the exit code the specification asks for.

mod arena;
pub mod args;
pub mod cidr;
pub mod error;
pub mod invoke;
pub mod json;
pub mod ns;
pub mod quote;
pub mod skel;
pub mod types;
pub mod version;

pub use arena::Arena;
pub use cidr::Cidr;
pub use errno_text as errno;
pub use error::{Code, Error};
pub use skel::{Call, Command, Plugin};
pub use types::{AddResult, Dns, Interface, IpConfig, Route};
pub use version::Version;
