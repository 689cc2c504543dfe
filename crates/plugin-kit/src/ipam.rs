//! Delegation to the IPAM plugin.

use crate::{Undo, addressing, status};
use anyhow::bail;
use cni_core::confine::Needs;
use cni_core::invoke;
use cni_core::{AddResult, Call, Code, Command, Error};

/// IPAM plugins of which no implementation looks at the interface.
const WITHOUT_INTERFACE: &[&str] = &["host-local", "static"];

/// Returns what an interface plugin needs: configuring networks, and its IPAM plugin.
#[must_use]
pub fn needs(call: &Call) -> Option<Needs> {
    match call.ipam_type() {
        Some(kind) => Needs::network().delegating(call, &kind),
        None => Some(Needs::network()),
    }
}

/// The IPAM plugin of a configuration.
///
/// Its errors are returned unchanged, so that its error codes reach the runtime.
#[derive(Debug)]
pub struct Ipam<'a> {
    call: &'a Call,
    kind: String,
}

impl<'a> Ipam<'a> {
    /// Returns the IPAM plugin `ipam.type`; `None` if the configuration has none, which
    /// makes it a layer 2 attachment.
    pub fn of(call: &'a Call) -> Option<Self> {
        call.ipam_type().map(|kind| Ipam { call, kind })
    }

    /// Returns the IPAM plugin of a network that needs one.
    ///
    /// # Errors
    /// When the configuration has none.
    pub fn required(call: &'a Call) -> Result<Self, Error> {
        Ipam::of(call).ok_or_else(|| {
            Error::new(Code::INTERNAL, "no plugin name provided")
                .with_details("the configuration needs an \"ipam\" object with a \"type\"")
        })
    }

    /// Returns whether the plugin may need the interface for DEL: a DHCP client sends its
    /// release through it.
    pub(crate) fn needs_interface(&self) -> bool {
        !WITHOUT_INTERFACE.contains(&self.kind.as_str())
    }

    /// Allocates addresses, and registers their release with `undo`. The result has at least
    /// one address, and none of a family that the kernel lacks.
    ///
    /// A failed allocation is not released: it may have failed because the attachment exists
    /// already and holds the address, which a release would free.
    ///
    /// # Errors
    /// The IPAM plugin's own, see [`invoke::delegate_add`], or an unusable result. `undo` releases
    /// that.
    pub fn add<'u>(&'u self, undo: &mut Undo<'u>) -> anyhow::Result<AddResult> {
        let result = invoke::delegate_add(self.call, &self.kind)?;
        undo.push("release the addresses", || self.del());
        if result.ips.is_empty() {
            bail!("IPAM plugin returned missing IP config");
        }
        for ip in &result.ips {
            addressing::require_ipv6(ip.address)?;
        }
        Ok(result)
    }

    /// Releases the addresses.
    ///
    /// # Errors
    /// The IPAM plugin's own.
    pub fn del(&self) -> anyhow::Result<()> {
        invoke::delegate(self.call, &self.kind, Command::Del)
    }

    /// Checks that the addresses are still allocated.
    ///
    /// # Errors
    /// The IPAM plugin's own.
    pub fn check(&self) -> anyhow::Result<()> {
        invoke::delegate(self.call, &self.kind, Command::Check)
    }

    /// Releases the addresses of attachments that are no longer valid.
    ///
    /// # Errors
    /// The IPAM plugin's own.
    pub fn gc(&self) -> anyhow::Result<()> {
        invoke::delegate(self.call, &self.kind, Command::Gc)
    }

    /// Checks whether an allocation would succeed.
    ///
    /// # Errors
    /// Code 50 if the plugin is not installed or the kernel lacks the addresses' family, else
    /// the IPAM plugin's own.
    pub fn status(&self) -> anyhow::Result<()> {
        status::require_ipam(self.call, &self.kind)?;
        invoke::delegate(self.call, &self.kind, Command::Status)
    }
}
