//! The ifb device (intermediate functional block) of an attachment. The kernel queues
//! only packets that a link sends: packets received from the container are redirected
//! to the ifb and shaped there.

use anyhow::{Context, anyhow, bail};
use cni_core::Call;
use plugin_kit::{MacAddress, Undo, deletion, detailed, host_link, names, state};
use rtnl::deferred::LinkDeletion;
use rtnl::{
    Filter, Handle, Link, LinkChange, LinkKind, LinkSpec, QdiscKind, QdiscSpec, Request, TcHandle,
    U32Filter, U32Key,
};

/// Longest name of a link in bytes (`IFNAMSIZ` without the final zero byte).
const NAME_LEN: usize = 15;
const PREFIX: &str = "bwp";
/// `ETH_P_ALL` of if_ether.h.
const ALL_PROTOCOLS: u16 = 3;

/// The name of an attachment's ifb, the same as upstream's.
pub(crate) fn name(network: &str, container_id: &str) -> String {
    names::of_attachment(PREFIX, network, container_id, NAME_LEN)
}

/// Creates the ifb for packets from `veth`. It stays down for now: replacing the qdisc of
/// a link that is up takes the kernel milliseconds.
///
/// # Errors
/// When the kernel refuses; nothing is left behind.
pub(crate) fn create<'h>(
    call: &Call,
    host: &'h Handle,
    veth: &Link,
    queue: u32,
    undo: &mut Undo<'h>,
) -> anyhow::Result<Link> {
    let name = name(&call.name, &call.container_id);
    let spec = LinkSpec {
        mac: recorded_mac(call, &name),
        mtu: Some(veth.mtu),
        txqlen: Some(queue),
        ..LinkSpec::new(name.clone(), LinkKind::Ifb)
    };
    // An ifb of another interface of the container keeps its alias.
    if let Ok(existing) = host.link_by_name(&name) {
        return Err(in_use(&existing));
    }
    let alias = Request::set_alias(&name, &host_link::of_owner(&state::owner(call)));
    let mut replies = host.batch(vec![Request::new_link(&spec), alias]);
    // A batch returns one result per request.
    let (Some(named), Some(created)) = (replies.pop(), replies.pop()) else {
        bail!("adding link: no answer");
    };
    let echo = match created {
        Ok(reply) => reply.link,
        Err(e) if e.is_unsupported() => {
            return Err(detailed(
                format!("adding link: {e}"),
                "egress shaping needs ifb devices: load the kernel module ifb (CONFIG_IFB)",
            ));
        }
        Err(e) => return Err(anyhow!(e).context("adding link")),
    };
    let by_name = name.clone();
    undo.push("delete the ifb", move || {
        deletion::delete_on_host_by_name(host, &by_name).with_context(|| failed(&by_name))
    });
    named.with_context(|| format!("failed to set the alias of {name}"))?;
    match echo {
        Some(link) => Ok(link),
        None => host
            .link_by_name(&name)
            .with_context(|| format!("get ifb device {name}")),
    }
}

/// Returns the MAC address of an ifb that an earlier ADD of this attachment returned, and that is put back: CHECK
/// compares it.
fn recorded_mac(call: &Call, name: &str) -> Option<Vec<u8>> {
    let result = call.prev_result().ok()??;
    let recorded = result.interfaces.iter().find(|i| i.name == name)?;
    let mac: MacAddress = recorded.mac.parse().ok()?;
    Some(mac.0.to_vec())
}

/// The error of ADD when the container has a shaped interface on this network already.
/// The message is that of the kernel, as upstream's.
fn in_use(existing: &Link) -> anyhow::Error {
    let if_name = host_link::interface_of(existing).unwrap_or("an interface");
    detailed(
        "adding link: file exists",
        format!(
            "{} shapes {if_name} of this container on this network; only one of its interfaces \
             can be shaped, delete the other attachment first",
            existing.name
        ),
    )
}

/// Sets the ifb up.
///
/// # Errors
/// When the kernel refuses the request.
pub(crate) fn set_up(host: &Handle, link: &Link) -> anyhow::Result<()> {
    let change = LinkChange {
        up: Some(true),
        ..LinkChange::default()
    };
    host.request(Request::set_link(link.index, &change))
        .with_context(|| format!("failed to set {} up", link.name))?;
    Ok(())
}

/// The filter that redirects all packets to the ifb `index`.
fn redirection(index: u32) -> U32Filter {
    U32Filter {
        parent: TcHandle::INGRESS_QDISC,
        protocol: ALL_PROTOCOLS,
        priority: 1,
        keys: vec![U32Key::default()],
        class: TcHandle::new(1, 1),
        redirect: Some(index),
    }
}

/// Redirects all packets received by `veth` to the ifb.
///
/// # Errors
/// When the kernel refuses; nothing is left behind.
pub(crate) fn redirect<'h>(
    host: &'h Handle,
    veth: &Link,
    ifb: &Link,
    undo: &mut Undo<'h>,
) -> anyhow::Result<()> {
    let ingress = QdiscSpec {
        handle: TcHandle::INGRESS_QDISC,
        parent: TcHandle::INGRESS,
        kind: QdiscKind::Ingress,
    };
    let index = veth.index;
    host.request(Request::add_qdisc(index, &ingress))
        .context("create ingress qdisc")?;
    undo.push("delete the ingress qdisc", move || {
        remove_redirection(host, index)
    });
    let filter = redirection(ifb.index);
    host.request(Request::add_u32_filter(index, &filter))
        .context("add filter")?;
    Ok(())
}

/// Whether a filter redirects all packets to the ifb `index`; index 0 stands for a
/// deleted one.
fn redirects(filter: &Filter, index: u32) -> bool {
    let everything = filter.filter.keys.iter().all(|key| key.mask == 0);
    everything && filter.filter.protocol == ALL_PROTOCOLS && filter.filter.redirect == Some(index)
}

/// Checks the ifb and the redirection to it. Returns the ifb.
///
/// # Errors
/// Names the first difference.
pub(crate) fn check(call: &Call, host: &Handle, veth: &Link) -> anyhow::Result<Link> {
    let name = name(&call.name, &call.container_id);
    let link = host
        .link_by_name(&name)
        .map_err(|e| detailed(format!("get ifb device: {e}"), name.as_str()))?;
    if !link.is_kind("ifb") {
        bail!("link {name} is not an ifb");
    }
    if !link.is_up() {
        bail!("ifb device {name} is down");
    }
    let qdisc = host.qdisc(veth.index, TcHandle::INGRESS)?;
    if qdisc.is_none_or(|qdisc| qdisc.kind != "ingress" && qdisc.kind != "clsact") {
        bail!("link {} has no ingress qdisc to redirect from", veth.name);
    }
    let filters = host.filters(veth.index, TcHandle::INGRESS_QDISC)?;
    if !filters.iter().any(|filter| redirects(filter, link.index)) {
        bail!("link {} has no filter that redirects to {name}", veth.name);
    }
    Ok(link)
}

/// Returns the index of the attachment's ifb for its deletion; `None` if there is none, or
/// its alias names another interface of the same container and network.
///
/// # Errors
/// When it cannot be looked up.
pub(crate) fn find(call: &Call, host: &Handle) -> anyhow::Result<Option<u32>> {
    let name = name(&call.name, &call.container_id);
    let own = host_link::of_owner(&state::owner(call));
    match host.link_by_name(&name) {
        Ok(link) if host_link::interface_of(&link).is_some() && link.alias != own => Ok(None),
        Ok(link) => Ok(Some(link.index)),
        Err(e) if e.is_not_found() => Ok(None),
        Err(e) => Err(anyhow!(e).context(format!("get ifb device {name}"))),
    }
}

/// Waits until the attachment's ifb is gone.
///
/// # Errors
/// When the kernel refuses.
pub(crate) fn finish(deletion: LinkDeletion<'_>, call: &Call) -> anyhow::Result<()> {
    let outcome: Result<(), rtnl::Error> = deletion.finish().into_iter().collect();
    outcome.with_context(|| failed(&name(&call.name, &call.container_id)))
}

/// GC: deletes the ifbs of this network's attachments that are not valid, by alias. Those of
/// upstream have none.
///
/// # Errors
/// The errors of all deletions that failed.
pub(crate) fn collect(call: &Call) -> anyhow::Result<()> {
    host_link::collect(call, "ifb", PREFIX)
}

fn failed(name: &str) -> String {
    format!("failed to delete ifb device {name}")
}

/// Whether the link `veth` has an ingress qdisc whose filters all redirect to the ifb `index`
/// or to a deleted one. One without filters, which has no effect, is what an ADD leaves that is
/// killed before it adds the filter.
pub(crate) fn is_redirected(host: &Handle, veth: u32, index: u32) -> anyhow::Result<bool> {
    let filters = host.filters(veth, TcHandle::INGRESS_QDISC)?;
    if filters.is_empty() {
        let qdisc = host.qdisc(veth, TcHandle::INGRESS)?;
        return Ok(qdisc.is_some_and(|qdisc| qdisc.kind == "ingress"));
    }
    let ours = |filter: &Filter| redirects(filter, index) || redirects(filter, 0);
    Ok(filters.iter().all(ours))
}

/// Deletes the ingress qdisc of the link `veth` with its filters.
///
/// # Errors
/// When the kernel refuses the request.
pub(crate) fn remove_redirection(host: &Handle, veth: u32) -> anyhow::Result<()> {
    let ingress = Request::del_qdisc(veth, TcHandle::INGRESS_QDISC, TcHandle::INGRESS);
    match host.request(ingress) {
        Err(e) if !e.is_not_found() => {
            Err(anyhow!(e).context(format!("failed to delete the ingress qdisc of link {veth}")))
        }
        _ => Ok(()),
    }
}
