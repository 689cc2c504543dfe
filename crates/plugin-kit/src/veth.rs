//! veth pairs between host and container.

use crate::link_options::LinkOptions;
use crate::{Container, MacAddress, Undo, deletion, host_link, names};
use anyhow::{Context, anyhow, bail};
use cni_core::Call;
use cni_core::quote::quote;
use rtnl::{Handle, Link, LinkKind, LinkSpec, PeerSpec, Reply, Request, Veth};
use std::os::fd::AsFd;

/// The properties of a new pair.
#[derive(Clone, Copy, Debug, Default)]
pub struct VethSpec<'a> {
    /// Name of the container's end.
    pub container_name: &'a str,
    /// Alias of the host's end, see [`host_link`].
    pub alias: &'a str,
    /// MTU in bytes of both ends; `None` leaves it to the kernel.
    pub mtu: Option<u32>,
    /// Hardware address of the container's end; `None` leaves it to the kernel.
    pub mac: Option<MacAddress>,
    /// Index of the bridge that becomes the master of the host's end.
    pub master: Option<u32>,
}

/// The state of both ends after creation.
#[derive(Debug)]
pub struct VethPair {
    /// The host's end. It is up, but has no carrier while the other end is down.
    pub host: Link,
    /// The container's end, which is down.
    pub container: Link,
}

/// Number of random names that are tried.
const NAME_ATTEMPTS: u32 = 10;

/// Checks that the container has no interface `name`.
///
/// # Errors
/// When it exists, or cannot be looked up.
pub fn refuse_existing(container: &Container, name: &str) -> anyhow::Result<()> {
    match container.rtnl.link_by_name(name) {
        Ok(_) => bail!(
            "container interface {} already exists in {}; delete the attachment first",
            quote(name),
            container.netns.path().display()
        ),
        Err(e) if e.is_not_found() => Ok(()),
        Err(e) => Err(anyhow!(e).context(format!("failed to look up {}", quote(name)))),
    }
}

/// Creates a pair in one datagram: the host's end up, on its bridge and with its alias, the
/// container's end in the container under its name. `undo` deletes it.
///
/// # Errors
/// When the kernel refuses. Nothing is left behind then.
pub fn create<'a>(
    host: &'a Handle,
    container: &Container,
    spec: &VethSpec<'_>,
    undo: &mut Undo<'a>,
) -> anyhow::Result<VethPair> {
    create_with(host, container, spec, LinkOptions::default(), undo)
}

/// Like [`create`], with `options` for both ends.
///
/// # Errors
/// As for [`create`].
pub fn create_with<'a>(
    host: &'a Handle,
    container: &Container,
    spec: &VethSpec<'_>,
    options: LinkOptions,
    undo: &mut Undo<'a>,
) -> anyhow::Result<VethPair> {
    let (host_name, created, named) = create_pair(host, container, spec, options)?;
    let name = host_name.clone();
    undo.push("delete the veth pair", move || {
        Ok(deletion::delete_on_host_by_name(host, &name)?)
    });
    named.with_context(|| format!("failed to set the alias of {}", quote(&host_name)))?;
    let host_end = match created.link {
        Some(link) => link,
        None => host
            .link_by_name(&host_name)
            .with_context(|| format!("failed to lookup {}", quote(&host_name)))?,
    };
    let container_end = container
        .rtnl
        .link_by_name(spec.container_name)
        .with_context(|| format!("failed to lookup {}", quote(spec.container_name)))?;
    Ok(VethPair {
        host: host_end,
        container: container_end,
    })
}

/// GC: deletes the pairs of the network's attachments that are not valid. Their namespaces
/// may live on, when ADD was interrupted.
///
/// # Errors
/// As [`host_link::collect`].
pub fn collect(call: &Call) -> anyhow::Result<()> {
    host_link::collect(call, "veth", names::VETH_PREFIX)
}

/// DEL: deletes the pair by its host's end if the container's namespace is not known or its path
/// is gone. The namespace may live on, for example in a process.
///
/// # Errors
/// As [`host_link::del`].
pub fn del_without(container: Option<&Container>, call: &Call) -> anyhow::Result<()> {
    match container {
        Some(_) => Ok(()),
        None => host_link::del(call, "veth"),
    }
}

/// Returns the name of the host's end, the answer to its creation, and whether it has its
/// alias.
fn create_pair(
    host: &Handle,
    container: &Container,
    spec: &VethSpec<'_>,
    options: LinkOptions,
) -> anyhow::Result<(String, Reply, Result<Reply, rtnl::Error>)> {
    for _ in 0..NAME_ATTEMPTS {
        let host_name = names::random_veth()?;
        let mut link = LinkSpec::new(host_name.clone(), LinkKind::Veth(Veth::default()));
        options.apply(&mut link);
        let peer = PeerSpec {
            name: spec.container_name.into(),
            netns: Some(container.netns.as_fd()),
            mtu: spec.mtu,
            mac: spec.mac.map(|mac| mac.0.to_vec()),
            txqlen: link.txqlen,
            num_tx_queues: link.num_tx_queues,
            num_rx_queues: link.num_rx_queues,
            gso_max_size: link.gso_max_size,
            gro_max_size: link.gro_max_size,
        };
        link.kind = LinkKind::Veth(Veth { peer });
        link.mtu = spec.mtu;
        link.master = spec.master;
        link.up = true;
        let alias = Request::set_alias(&host_name, spec.alias);
        let mut replies = host.batch(vec![Request::new_link(&link), alias]);
        // A batch returns one result per request.
        let (Some(named), Some(created)) = (replies.pop(), replies.pop()) else {
            bail!("failed to make veth pair: no answer");
        };
        match created {
            Ok(created) => return Ok((host_name, created, named)),
            // EEXIST does not tell which of the two names is in use. Only the random one can
            // be replaced.
            Err(e) if e.is_exists() && container.rtnl.link_by_name(spec.container_name).is_ok() => {
                bail!(
                    "container veth name ({}) peer provided ({}) already exists",
                    quote(spec.container_name),
                    quote(&host_name)
                );
            }
            Err(e) if e.is_exists() => {
                // Another link has the name, and the alias now: GC would delete it.
                host.request(Request::set_alias(&host_name, "")).ok();
            }
            Err(e) => return Err(anyhow!(e).context("failed to make veth pair")),
        }
    }
    bail!("failed to find a unique veth name")
}
