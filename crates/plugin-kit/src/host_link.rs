//! Links that stay on the host. An alias (`IFLA_IFALIAS`) names the attachment of each, so
//! that GC finds those of interrupted attachments, and `ip link` shows whose they are.

use crate::failures::Failures;
use crate::{deletion, state};
use anyhow::Context;
use cni_core::Call;
use cni_core::quote::quote;
use cni_state::{Owner, name_part};
use rtnl::{Handle, Link};

/// Beginning of all aliases.
const MARK: &str = "cni:";
/// Between network, container and interface. None of the parts contains it.
const SEPARATOR: char = '/';

/// Returns the alias of the links of an attachment:
/// `cni:<network>/<container ID>/<interface>`. Parts that are long or have unusual
/// characters are hashed, see [`name_part`], so that it has at most 222 bytes; the kernel
/// allows 255.
#[must_use]
pub fn of_owner(owner: &Owner) -> String {
    let own = [&owner.container_id, &owner.if_name].map(|part| name_part(part));
    format!("{}{}", of_network(&owner.network), own.join("/"))
}

/// Returns the beginning of the aliases of all attachments of `network`.
#[must_use]
pub fn of_network(network: &str) -> String {
    format!("{MARK}{}{SEPARATOR}", name_part(network))
}

/// Returns the interface of the container that the alias of `link` names; `None` if it has
/// no such alias.
#[must_use]
pub fn interface_of(link: &Link) -> Option<&str> {
    let mut parts = link.alias.strip_prefix(MARK)?.split(SEPARATOR);
    let (_network, _container_id) = (parts.next()?, parts.next()?);
    parts.next()
}

/// GC: deletes the links of the kind `kind` whose name begins with `prefix` and whose alias
/// names an attachment of the network of `call` that is not valid. Does nothing if the
/// runtime did not pass the valid attachments.
///
/// # Errors
/// Those of all links that could not be deleted.
pub fn collect(call: &Call, kind: &str, prefix: &str) -> anyhow::Result<()> {
    let Some(valid) = call.valid_attachments()? else {
        return Ok(());
    };
    let valid = state::owners(&call.name, &valid);
    let valid: Vec<String> = valid.iter().map(of_owner).collect();
    let network = of_network(&call.name);
    let host = Handle::open().context("failed to talk to the host's kernel")?;
    let mut stale = host.links_by_kind(kind)?;
    stale.retain(|link| {
        link.name.starts_with(prefix)
            && link.alias.starts_with(&network)
            && !valid.contains(&link.alias)
    });
    delete(&host, &stale)
}

/// DEL without the container's namespace, which may live on: deletes the attachment's links of
/// the kind `kind`, by alias. `prevResult` usually names them; otherwise all links are looked at.
///
/// # Errors
/// Those of all links that could not be deleted.
pub fn del(call: &Call, kind: &str) -> anyhow::Result<()> {
    let host = Handle::open().context("failed to talk to the host's kernel")?;
    let result = call.prev_result().ok().flatten().unwrap_or_default();
    let on_host = result.interfaces.iter().filter(|i| i.sandbox.is_empty());
    let named = on_host.filter_map(|interface| host.link_by_name(&interface.name).ok());
    let alias = of_owner(&state::owner(call));
    let is_own = |link: &Link| link.is_kind(kind) && link.alias == alias;
    let mut own: Vec<Link> = named.filter(is_own).collect();
    if own.is_empty() {
        own = host.links_by_kind(kind)?;
        own.retain(is_own);
    }
    delete(&host, &own)
}

fn delete(host: &Handle, links: &[Link]) -> anyhow::Result<()> {
    let indexes: Vec<u32> = links.iter().map(|link| link.index).collect();
    let outcomes = deletion::begin_on_host(host, &indexes).finish();
    let mut failures = Failures::default();
    for (link, outcome) in links.iter().zip(outcomes) {
        failures.add(outcome.with_context(|| format!("failed to delete {}", quote(&link.name))));
    }
    failures.result()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(alias: String) -> Link {
        Link {
            alias,
            ..Link::default()
        }
    }

    #[test]
    fn aliases_name_their_attachment() {
        let plain = of_owner(&Owner::new("net", "c1", "eth0"));
        assert_eq!(plain, "cni:net/c1/eth0");
        assert_eq!(interface_of(&link(plain)), Some("eth0"));
        let id = "c".repeat(300);
        let long = of_owner(&Owner::new(&"n".repeat(300), &id, "eth0"));
        assert!(long.len() <= 222 && long.ends_with("/eth0"), "{long}");
        assert!(long.starts_with(&of_network(&"n".repeat(300))));
        assert_ne!(
            of_owner(&Owner::new("a", "b/c", "d")),
            of_owner(&Owner::new("a/b", "c", "d"))
        );
    }

    #[test]
    fn other_aliases_name_none() {
        for alias in [
            "",
            "cni",
            "cni:",
            "cni:net",
            "cni:net/c1",
            "cni net c1 eth0",
            "eth0",
        ] {
            assert_eq!(interface_of(&link(alias.to_owned())), None, "{alias}");
        }
    }
}
