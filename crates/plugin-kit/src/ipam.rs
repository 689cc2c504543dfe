//! The IPAM plugin that an interface plugin delegates to.

use crate::{Undo, addressing};
use anyhow::bail;
use cni_core::invoke::{self, Delegate};
use cni_core::{AddResult, Call, Code, Command, Error};
use std::cell::RefCell;

/// IPAM plugins that read their configuration before they do anything, in all their
/// implementations.
const WAIT_FOR_CONFIG: &[&str] = &["host-local", "static", "dhcp"];

/// The IPAM plugin a configuration names.
///
/// Its errors are passed on as they are, so that its codes reach the runtime.
#[derive(Debug)]
pub struct Ipam<'a> {
    call: &'a Call,
    kind: String,
    /// Started ahead for this verb.
    ready: RefCell<Option<(Command, Delegate<'a>)>>,
}

impl<'a> Ipam<'a> {
    /// The IPAM plugin of `ipam.type`; `None` when the configuration has none,
    /// which makes it a layer 2 attachment.
    pub fn of(call: &'a Call) -> Option<Self> {
        call.ipam_type().map(|kind| Ipam {
            call,
            kind,
            ready: RefCell::new(None),
        })
    }

    /// The IPAM plugin of a network that cannot do without one.
    ///
    /// # Errors
    /// When the configuration has none.
    pub fn required(call: &'a Call) -> Result<Self, Error> {
        Ipam::of(call).ok_or_else(|| {
            Error::new(Code::INTERNAL, "no plugin name provided")
                .with_details("the configuration needs an \"ipam\" object with a \"type\"")
        })
    }

    /// Starts the process for `verb` ahead of time. It gets its configuration only when the
    /// verb is called, and does nothing before; if that never happens it is killed.
    ///
    /// Plugins that may not wait are started when they are called, and so are those that
    /// could not be started: the call reports why.
    pub fn start(&self, verb: Command) {
        if WAIT_FOR_CONFIG.contains(&self.kind.as_str()) {
            let started = invoke::start(self.call, &self.kind, verb);
            *self.ready.borrow_mut() = started.ok().map(|delegate| (verb, delegate));
        }
    }

    fn delegate(&self, verb: Command) -> anyhow::Result<Delegate<'a>> {
        match self.ready.take() {
            Some((ready, delegate)) if ready == verb => Ok(delegate),
            _ => invoke::start(self.call, &self.kind, verb),
        }
    }

    /// Allocates, and registers the release with `undo`. The result has at least one
    /// address, and none of a family that the kernel lacks.
    ///
    /// A failed allocation is not followed by a release: it may have failed because a
    /// running attachment of the same name holds the address, which a release would free.
    ///
    /// # Errors
    /// The IPAM plugin's own, see [`Delegate::add`], or a result that cannot be used, which
    /// is released.
    pub fn add<'u>(&'u self, undo: &mut Undo<'u>) -> anyhow::Result<AddResult> {
        let result = self.delegate(Command::Add)?.add()?;
        undo.push("release the addresses", || self.del());
        if result.ips.is_empty() {
            bail!("IPAM plugin returned missing IP config");
        }
        for ip in &result.ips {
            addressing::require_ipv6(ip.address)?;
        }
        Ok(result)
    }

    /// Releases the allocation.
    ///
    /// # Errors
    /// The IPAM plugin's own.
    pub fn del(&self) -> anyhow::Result<()> {
        self.delegate(Command::Del)?.finish()
    }

    /// Checks the allocation.
    ///
    /// # Errors
    /// The IPAM plugin's own.
    pub fn check(&self) -> anyhow::Result<()> {
        invoke::delegate(self.call, &self.kind, Command::Check)
    }

    /// Releases the allocations of attachments that are not valid.
    ///
    /// # Errors
    /// The IPAM plugin's own.
    pub fn gc(&self) -> anyhow::Result<()> {
        invoke::delegate(self.call, &self.kind, Command::Gc)
    }

    /// Checks whether an allocation would succeed.
    ///
    /// # Errors
    /// The IPAM plugin's own.
    pub fn status(&self) -> anyhow::Result<()> {
        invoke::delegate(self.call, &self.kind, Command::Status)
    }
}
