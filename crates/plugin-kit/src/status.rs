//! STATUS: probes of what ADD needs, which change nothing, and errors that say why no ADD
//! can succeed.

use crate::{Container, addressing, ipv6};
use anyhow::Context;
use cni_core::invoke::{self, FindError};
use cni_core::ns::Netns;
use cni_core::quote::quote;
use cni_core::{Call, Code, Error};
use netfilter::backend::Backend;
use rtnl::{Handle, Link};

/// Returns the error that no ADD can succeed (code 50), with the reason, and what to do in
/// the details as far as the error `why` has any.
pub fn not_available(why: impl Into<anyhow::Error>) -> anyhow::Error {
    let why = why.into();
    let mut details = String::new();
    let texts: Vec<String> = why
        .chain()
        .map(|cause| match cause.downcast_ref::<Error>() {
            Some(error) => {
                details.clone_from(&error.details);
                error.msg.clone()
            }
            None => cause.to_string(),
        })
        .collect();
    Error::new(Code::PLUGIN_NOT_AVAILABLE, texts.join(": "))
        .with_details(details)
        .into()
}

/// Like [`not_available`], with what to do in `way_out` unless `why` says it.
pub fn not_available_unless(why: impl Into<anyhow::Error>, way_out: &str) -> anyhow::Error {
    let mut error = Error::from_chain(&not_available(why));
    if error.details.is_empty() {
        way_out.clone_into(&mut error.details);
    }
    error.into()
}

/// Returns what to do about a packet filter that is not usable.
#[must_use]
pub fn way_out_of_filter(backend: Backend) -> &'static str {
    match backend {
        Backend::Iptables => {
            "install iptables and ip6tables, or choose nftables as the backend of the network"
        }
        Backend::Nftables => {
            "load the kernel module by \"modprobe nf_tables\", or choose iptables as the backend \
             of the network"
        }
    }
}

/// Checks that the kernel has links of all `kinds`.
///
/// # Errors
/// Code 50 for the first kind that it lacks.
pub fn require_link_kinds(host: &Handle, kinds: &[&str]) -> anyhow::Result<()> {
    for kind in kinds {
        if !host.has_link_kind(kind)? {
            let msg = format!("the kernel has no links of the kind {kind}");
            let way_out = format!(
                "install the kernel module and load it by \"modprobe rtnl-link-{kind}\", or use \
                 a kernel that has it"
            );
            let error = Error::new(Code::PLUGIN_NOT_AVAILABLE, msg);
            return Err(error.with_details(way_out).into());
        }
    }
    Ok(())
}

/// Checks that `master` is up: interfaces on a link that is down reach nobody.
///
/// # Errors
/// Code 51 if it is down.
pub(crate) fn require_up(master: &Link) -> Result<(), Error> {
    if master.is_up() {
        return Ok(());
    }
    let name = &master.name;
    let msg = format!("master {} is down", quote(name));
    let details = format!(
        "containers on it reach nobody, and new ones would not either; see \"ip link set {name} up\""
    );
    Err(Error::new(Code::LIMITED_CONNECTIVITY, msg).with_details(details))
}

/// Checks that the IPAM plugin `kind` is installed, and that the kernel has IPv6 if `ipam`
/// has IPv6 addresses.
///
/// # Errors
/// Code 50, with the reason.
pub(crate) fn require_ipam(call: &Call, kind: &str) -> anyhow::Result<()> {
    invoke::find(call, kind).map_err(|e| match e {
        FindError::NotFound { .. } => not_available_unless(
            e,
            "install the plugin into one of the directories of CNI_PATH",
        ),
        e => e.into(),
    })?;
    if ipv6::is_configured(&call.conf) && !addressing::has_ipv6() {
        let msg = "ipam has IPv6 addresses, and the kernel has no IPv6";
        let error = Error::new(Code::PLUGIN_NOT_AVAILABLE, msg);
        return Err(error.with_details(addressing::WITHOUT_IPV6).into());
    }
    Ok(())
}

/// Creates a namespace in which a plugin can try what it does in containers. It ends with
/// the returned value.
///
/// # Errors
/// When the kernel refuses.
pub fn trial_container() -> anyhow::Result<Container> {
    let netns = Netns::unnamed().context("failed to create a network namespace for probes")?;
    Container::of(netns)
}
