//! Clients of container runtimes on the same machine, over their Unix sockets.
//!
//! | type | what it asks |
//! |---|---|
//! | [`Docker`] | the Docker Engine API, which Podman serves, too: finds containers by label, waits for them, follows them |
//! | [`Cri`] | the Container Runtime Interface, `runtime.v1`, of containerd and CRI-O: lists, runs and stops pod sandboxes |
//!
//! Nothing here is asynchronous: each call drives a small executor on the calling thread until it returns. Each request
//! has a connection of its own and a time limit.
//!
//! ```no_run
//! use runtime_api::{Docker, Label};
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), runtime_api::Error> {
//! let docker = Docker::from_environment(Duration::from_secs(10))?;
//! let web: Label = "com.docker.compose.service=web".parse()?;
//! let container = docker.wait(&web, Duration::from_secs(60))?;
//! println!("{} is process {}", container.id, container.pid);
//! # Ok(())
//! # }
//! ```

mod connection;
mod cri;
mod docker;
mod error;

pub use cri::messages;
pub use cri::{Cri, Sandbox, SandboxStatus, Version};
pub use docker::{Container, Docker, Event, Label};
pub use error::Error;
