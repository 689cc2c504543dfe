//! Framework of CNI plugins: the specification's types, the entry point, delegation to
//! other plugins, and network namespaces.
//!
//! A plugin implements [`skel::Plugin`]. [`skel::main`] parses environment and standard
//! input into one [`skel::Call`] and runs the verb, whose `Result` becomes the output and
//! the exit code that the specification defines.

mod arena;
pub mod args;
pub mod cidr;
pub mod confine;
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
