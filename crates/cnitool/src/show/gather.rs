//! Puts together what the cache and the kernel know of attachments.

use std::path::PathBuf;

use anyhow::Result;
use cni_core::AddResult;
use cni_state::Owner;
use libcni::{CachedAttachment, Cni};
use plugin_kit::host_link;
use serde_json::Value;

use super::filters::{self, Filters};
use super::links::{Containers, HostLinks};
use super::model::{Attachment, Port, Report};
use crate::{cached, environment};

/// Which attachments to report, and where their caches are.
pub(super) struct Selection<'a> {
    /// Names of networks; empty for all.
    pub(super) networks: &'a [String],
    pub(super) cache_dirs: &'a [PathBuf],
}

/// Returns the report.
///
/// # Errors
///
/// When a cache or the links of the host cannot be read.
pub(super) fn report(selection: &Selection<'_>) -> Result<Report> {
    let is_wanted = |network: &str| {
        selection.networks.is_empty() || selection.networks.iter().any(|name| name == network)
    };
    let mut cached = Vec::new();
    for dir in selection.cache_dirs {
        let cni = Cni::new(environment::plugin_dirs()).cache_dir(dir);
        cached.extend(cni.cached_attachments("")?);
    }
    let aliases: Vec<String> = cached.iter().map(alias).collect();
    cached.retain(|cached| is_wanted(&cached.network));
    cached.sort_by_key(|cached| {
        let attachment = &cached.attachment;
        (
            cached.network.clone(),
            attachment.container_id.clone(),
            attachment.if_name.clone(),
        )
    });
    let host = HostLinks::read()?;
    let mut report = Report::default();
    let filters = Filters::read(&mut report.problems);
    let mut containers = Containers::default();
    for cached in &cached {
        let attachment = attachment(cached, &host, &mut containers, &filters);
        report.attachments.push(attachment);
    }
    report.problems.extend(containers.problems);
    let prefixes: Vec<String> = selection
        .networks
        .iter()
        .map(|name| host_link::of_network(name))
        .collect();
    let is_of_wanted = |alias: &str| {
        prefixes.is_empty() || prefixes.iter().any(|prefix| alias.starts_with(prefix))
    };
    report.orphans = host.select(|link| {
        host_link::interface_of(link).is_some()
            && is_of_wanted(&link.alias)
            && !aliases.contains(&link.alias)
    });
    Ok(report)
}

fn attachment(
    cached: &CachedAttachment,
    host: &HostLinks,
    containers: &mut Containers,
    filters: &Filters,
) -> Attachment {
    let made = &cached.attachment;
    let netns = cached::netns(cached).display().to_string();
    let (state, found) = host.find(containers, &netns, &made.if_name);
    let ips = cached.result.as_ref().map(recorded).unwrap_or_default();
    let current = found
        .interface
        .as_ref()
        .map(|interface| &interface.addresses);
    let addresses = current.into_iter().flatten().chain(&ips);
    let rules = filters.of(&filters::Owner {
        network: &cached.network,
        container_id: &made.container_id,
        if_name: &made.if_name,
        addresses: addresses
            .map(|address| address.split('/').next().unwrap_or_default())
            .collect(),
    });
    // Of a container that is gone, links may be left.
    let by_alias = || {
        let alias = alias(cached);
        host.select(|link| link.alias == alias).into_iter().next()
    };
    Attachment {
        network: cached.network.clone(),
        container_id: made.container_id.clone(),
        if_name: made.if_name.clone(),
        netns,
        state,
        ips,
        host_link: found.host_link.or_else(by_alias),
        interface: found.interface,
        ports: made
            .capability_args
            .get("portMappings")
            .map(ports)
            .unwrap_or_default(),
        rules,
        shaping: found.shaping,
    }
}

/// The alias of the attachment's links on the host.
fn alias(cached: &CachedAttachment) -> String {
    let attachment = &cached.attachment;
    host_link::of_owner(&Owner::new(
        &cached.network,
        &attachment.container_id,
        &attachment.if_name,
    ))
}

/// The addresses in a cached result, in whichever version it is.
fn recorded(result: &Value) -> Vec<String> {
    let version = result["cniVersion"].as_str().unwrap_or_default();
    let decoded = AddResult::decode(version, result).unwrap_or_default();
    decoded
        .ips
        .iter()
        .map(|ip| ip.address.to_string())
        .collect()
}

/// The port mappings that a runtime passed; those that are invalid are left out.
fn ports(mappings: &Value) -> Vec<Port> {
    let mappings = mappings.as_array().into_iter().flatten();
    let ports = mappings.filter_map(|mapping| serde_json::from_value(mapping.clone()).ok());
    ports
        .map(|port: Port| Port {
            protocol: match port.protocol.is_empty() {
                true => "tcp".into(),
                false => port.protocol.to_lowercase(),
            },
            ..port
        })
        .collect()
}
