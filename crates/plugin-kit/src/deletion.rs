//! Deletion of links. The kernel's part of it is left to a child process, see
//! [`rtnl::deferred`].

use crate::Container;
use anyhow::{Context, anyhow};
use cni_core::quote::quote;
use rtnl::Handle;
use rtnl::deferred::{DeletionSocket, LinkDeletion};

/// A deletion of the container's interface that is under way. A missing interface is no
/// error.
#[must_use = "the interface may exist until it is finished"]
pub struct Deletion<'c> {
    name: String,
    link: LinkDeletion<'c>,
}

impl<'c> Deletion<'c> {
    /// Begins to delete the container's interface `name`.
    ///
    /// # Errors
    /// When it cannot be looked up.
    pub fn begin(container: &'c Container, name: &str) -> anyhow::Result<Deletion<'c>> {
        let index = match container.rtnl.link_by_name(name) {
            Ok(link) => Some(link.index),
            Err(e) if e.is_not_found() => None,
            Err(e) => return Err(anyhow!(e).context(failed(name))),
        };
        Ok(Deletion {
            name: name.to_owned(),
            link: begin_inside(container, index.as_slice()),
        })
    }

    /// Waits until the interface is gone.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn finish(self) -> anyhow::Result<()> {
        finish(self.link).with_context(|| failed(&self.name))
    }
}

fn failed(name: &str) -> String {
    format!("failed to delete {}", quote(name))
}

/// Deletes the container's interface `name`; a missing one is not an error.
///
/// # Errors
/// When the kernel refuses.
pub fn delete(container: &Container, name: &str) -> anyhow::Result<()> {
    Deletion::begin(container, name)?.finish()
}

/// Deletes the link with the index `index` of the container; a missing one is not an error.
///
/// # Errors
/// When the kernel refuses.
pub fn delete_inside(container: &Container, index: u32) -> Result<(), rtnl::Error> {
    finish(begin_inside(container, &[index]))
}

fn begin_inside<'c>(container: &'c Container, indexes: &[u32]) -> LinkDeletion<'c> {
    let socket = container.run(DeletionSocket::open).ok();
    let socket = socket.and_then(Result::ok);
    LinkDeletion::start(&container.rtnl, socket, indexes)
}

/// Begins to delete links of the calling thread's namespace, in which `host` is.
pub fn begin_on_host<'h>(host: &'h Handle, indexes: &[u32]) -> LinkDeletion<'h> {
    LinkDeletion::start(host, DeletionSocket::open().ok(), indexes)
}

/// Like [`delete_on_host`], by name.
///
/// # Errors
/// As there, or when it cannot be looked up.
pub fn delete_on_host_by_name(host: &Handle, name: &str) -> Result<(), rtnl::Error> {
    match host.link_by_name(name) {
        Ok(link) => delete_on_host(host, link.index),
        Err(e) if e.is_not_found() => Ok(()),
        Err(e) => Err(e),
    }
}

/// Deletes the link with the index `index` of the calling thread's namespace, in which
/// `host` is; a missing one is not an error.
///
/// # Errors
/// When the kernel refuses.
pub fn delete_on_host(host: &Handle, index: u32) -> Result<(), rtnl::Error> {
    finish(begin_on_host(host, &[index]))
}

fn finish(deletion: LinkDeletion<'_>) -> Result<(), rtnl::Error> {
    deletion.finish().into_iter().collect()
}
