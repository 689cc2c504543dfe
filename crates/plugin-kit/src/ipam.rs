//! The IPAM plugin that an interface plugin delegates to.

use anyhow::anyhow;
use cni_core::invoke::{delegate_add, delegate_check, delegate_del, delegate_gc, delegate_status};
use cni_core::types::ResultError;
use cni_core::{AddResult, Call};

/// The IPAM plugin a configuration names.
///
/// Its errors are passed on as they are, so that its codes reach the runtime.
#[derive(Debug)]
pub struct Ipam<'a> {
    call: &'a Call,
    kind: String,
}

impl<'a> Ipam<'a> {
    /// The IPAM plugin of `ipam.type`; `None` when the configuration has none,
    /// which makes it a layer 2 attachment.
    pub fn of(call: &'a Call) -> Option<Self> {
        call.ipam_type().map(|kind| Ipam { call, kind })
    }

    /// Allocates. The result has at least one address.
    ///
    /// A failed allocation is not followed by a release: it may have failed
    /// because a living attachment of the same name holds the address, and a
    /// release would take it away from that one.
    ///
    /// # Errors
    /// The IPAM plugin's own, or a result that is unreadable or without addresses.
    /// In these two cases it has allocated, and the allocation is released.
    pub fn add(&self) -> anyhow::Result<AddResult> {
        let unusable = match delegate_add(self.call, &self.kind) {
            Ok(result) if !result.ips.is_empty() => return Ok(result),
            Ok(_) => anyhow!("IPAM plugin returned missing IP config"),
            Err(error) if error.is::<ResultError>() => error,
            Err(error) => return Err(error),
        };
        match self.del() {
            Ok(()) => Err(unusable),
            Err(also) => Err(anyhow!("{unusable:#}; releasing it failed too: {also:#}")),
        }
    }

    /// Releases.
    ///
    /// # Errors
    /// The IPAM plugin's own.
    pub fn del(&self) -> anyhow::Result<()> {
        delegate_del(self.call, &self.kind)
    }

    /// Checks the allocation.
    ///
    /// # Errors
    /// The IPAM plugin's own.
    pub fn check(&self) -> anyhow::Result<()> {
        delegate_check(self.call, &self.kind)
    }

    /// Releases what belongs to no living attachment.
    ///
    /// # Errors
    /// The IPAM plugin's own.
    pub fn gc(&self) -> anyhow::Result<()> {
        delegate_gc(self.call, &self.kind)
    }

    /// Whether an allocation could be served.
    ///
    /// # Errors
    /// The IPAM plugin's own.
    pub fn status(&self) -> anyhow::Result<()> {
        delegate_status(self.call, &self.kind)
    }
}
