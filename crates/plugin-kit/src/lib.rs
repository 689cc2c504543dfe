//! Shared code of the plugins: delegation to IPAM, addressing of an interface, veth pairs,
//! masquerade, sysctls, checks of prevResult, and the undo of a failed ADD.

pub mod addressing;
pub mod chain;
pub mod check;
pub mod deletion;
pub mod dns;
pub mod failures;
mod filter_record;
pub mod forwarding;
pub mod host_link;
pub mod ipam;
pub mod ipv6;
pub mod link_options;
pub mod mac;
pub mod masquerade;
pub mod names;
pub mod parent;
pub mod released;
pub mod single_interface;
pub mod state;
pub mod status;
pub mod sysctl;
pub mod undo;
pub mod veth;
pub mod wait;

pub use filter_record::FilterRecord;
pub use ipam::Ipam;
pub use mac::MacAddress;
pub use masquerade::Masquerade;
pub use parent::Side;
pub use undo::Undo;

use anyhow::Context;
use cni_core::ns::{Netns, NsError};
use cni_core::quote::quote;
use cni_core::{Call, Code, Error, Version};
use rtnl::Handle;
use std::os::unix::ffi::OsStrExt;

/// The container's namespace, open, with a netlink socket in it.
pub struct Container {
    /// The namespace.
    pub netns: Netns,
    /// A netlink socket in it, which can be used from any namespace.
    pub rtnl: Handle,
    /// The plugin's own namespace.
    home: Netns,
}

impl Container {
    /// Opens the namespace of `call`.
    ///
    /// # Errors
    /// When `CNI_NETNS` is not a network namespace, with the reason.
    pub fn open(call: &Call) -> anyhow::Result<Self> {
        let opened = call.open_netns().map_err(anyhow::Error::from);
        opened
            .and_then(Self::of)
            .with_context(|| failed_to_open(call))
    }

    /// Opens the namespace of `call` for DEL: `None` if `CNI_NETNS` is empty or the namespace
    /// is gone, see [`NsError::is_gone`].
    ///
    /// # Errors
    /// When there is a namespace at `CNI_NETNS` that cannot be opened.
    pub fn open_for_del(call: &Call) -> anyhow::Result<Option<Self>> {
        if call.netns.as_os_str().is_empty() {
            return Ok(None);
        }
        let is_gone = |e: &anyhow::Error| e.downcast_ref().is_some_and(NsError::is_gone);
        match Self::open(call) {
            Err(e) if is_gone(&e) => Ok(None),
            opened => opened.map(Some),
        }
    }

    /// Opens a netlink socket in `netns`.
    ///
    /// # Errors
    /// When it cannot be entered, or the socket cannot be opened.
    pub fn of(netns: Netns) -> anyhow::Result<Self> {
        let home = Netns::current()?;
        let rtnl = netns.run_from(&home, Handle::open)??;
        Ok(Container { netns, rtnl, home })
    }

    /// Runs `f` in the container's namespace on the calling thread, and returns to the
    /// plugin's own, see [`Netns::run`].
    ///
    /// # Errors
    /// When the namespace cannot be entered. `f` is not called then.
    pub fn run<T>(&self, f: impl FnOnce() -> T) -> Result<T, NsError> {
        self.netns.run_from(&self.home, f)
    }
}

/// Returns an error with upstream's message, which programs match, and further details.
pub fn detailed(msg: impl Into<String>, details: impl Into<String>) -> anyhow::Error {
    let error = Error::new(Code::INTERNAL, msg);
    error.with_details(details).into()
}

fn failed_to_open(call: &Call) -> String {
    format!(
        "failed to open netns {}",
        quote(call.netns.as_os_str().as_bytes())
    )
}

/// Refuses an attachment without addresses if the configured version cannot express its
/// result, before anything is changed: results of 0.2.0 and older need an address.
///
/// # Errors
/// The error of encoding the result.
pub fn refuse_inexpressible(call: &Call, has_ipam: bool) -> Result<(), Error> {
    if has_ipam || call.version >= Version::V0_3_0 {
        return Ok(());
    }
    Err(
        Error::new(Code::INTERNAL, "cannot convert: no valid IP addresses").with_details(format!(
            "a result of version {} needs an address, and this network has no ipam; \
         set cniVersion to 0.3.0 or newer",
            call.version
        )),
    )
}
