//! The bridge in the container that the tap becomes a port of.

use crate::Config;
use anyhow::{Context, bail};
use cni_core::quote::quote;
use plugin_kit::Container;
use rtnl::Link;

/// Finds the configured bridge; `None` when none is configured.
pub(crate) fn find(container: &Container, config: &Config) -> anyhow::Result<Option<Link>> {
    let Some(name) = &config.bridge else {
        return Ok(None);
    };
    let failed = || format!("failed to get bridge {name}");
    let link = container.rtnl.link_by_name(name).with_context(failed)?;
    if !link.is_kind("bridge") {
        bail!(
            "{}: {} already exists but is not a bridge",
            failed(),
            quote(name)
        );
    }
    Ok(Some(link))
}
