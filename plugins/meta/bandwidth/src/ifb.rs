//! The ifb device (intermediate functional ifb) of an attachment. The kernel queues
//! only packets that a link sends: packets received from the container are redirected
//! to the ifb and shaped there.

use anyhow::{Context, anyhow, bail};
use cni_core::Call;
use cni_core::types::Attachment;
use plugin_kit::failures::Failures;
use plugin_kit::{Undo, detailed, names};
use rtnl::{
    Filter, Handle, Link, LinkChange, LinkKind, LinkSpec, QdiscKind, QdiscSpec, Request, TcHandle,
    U32Filter, U32Key,
};

/// Longest name of a link in bytes (`IFNAMSIZ` without the final zero byte).
const NAME_LEN: usize = 15;
/// Longest alias of a link in bytes (`IFALIASZ` without the final zero byte).
const ALIAS_LEN: usize = 255;
const PREFIX: &str = "bwp";
/// First word of the aliases of this plugin.
const MARK: &str = "cni";
/// `ETH_P_ALL` of if_ether.h.
const ALL_PROTOCOLS: u16 = 3;

/// The name of an attachment's ifb, the same as upstream's.
pub(crate) fn name(network: &str, container_id: &str) -> String {
    names::of_attachment(PREFIX, network, container_id, NAME_LEN)
}

/// The attachment of an ifb according to its alias. Its name is a hash of network and
/// container, without the interface.
#[derive(Debug, PartialEq, Eq)]
struct Owner<'a> {
    network: &'a str,
    container_id: &'a str,
    if_name: &'a str,
}

impl<'a> Owner<'a> {
    fn of_call(call: &'a Call) -> Self {
        Owner {
            network: &call.name,
            container_id: &call.container_id,
            if_name: &call.if_name,
        }
    }

    /// `None` if the alias is not this plugin's.
    fn of_link(link: &'a Link) -> Option<Self> {
        let mut words = link.alias.split(' ');
        let [mark, network, container_id, if_name] = [(); 4].map(|()| words.next());
        (mark == Some(MARK) && words.next().is_none()).then_some(Owner {
            network: network?,
            container_id: container_id?,
            if_name: if_name?,
        })
    }

    /// The words cannot contain a space. `None` if the alias would be too long.
    fn alias(&self) -> Option<String> {
        let Owner {
            network,
            container_id,
            if_name,
        } = self;
        let alias = format!("{MARK} {network} {container_id} {if_name}");
        (alias.len() <= ALIAS_LEN).then_some(alias)
    }
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
        mtu: Some(veth.mtu),
        txqlen: Some(queue),
        ..LinkSpec::new(name.clone(), LinkKind::Ifb)
    };
    let echo = match host.request(Request::new_link(&spec)) {
        Ok(reply) => reply.link,
        Err(e) if e.is_exists() => {
            let of_whom = host.link_by_name(&name).ok();
            let of_whom = of_whom.as_ref().and_then(Owner::of_link);
            let of_whom = of_whom.map_or("an attachment", |owner| owner.if_name);
            return Err(detailed(
                format!("adding link: {e}"),
                format!(
                    "{name} shapes {of_whom} of this container on this network; only one of its \
                     interfaces can be shaped, delete the other attachment first"
                ),
            ));
        }
        Err(e) if e.is_unsupported() => {
            return Err(detailed(
                format!("adding link: {e}"),
                "egress shaping needs ifb devices: load the kernel module ifb (CONFIG_IFB)",
            ));
        }
        Err(e) => return Err(anyhow!(e).context("adding link")),
    };
    let by_name = name.clone();
    undo.push("delete the ifb", move || delete_link(host, &by_name));
    match echo {
        Some(link) => Ok(link),
        None => host
            .link_by_name(&name)
            .with_context(|| format!("get ifb device {name}")),
    }
}

/// Sets the ifb up and names its attachment in the alias.
///
/// # Errors
/// When the kernel refuses the request.
pub(crate) fn set_up(call: &Call, host: &Handle, link: &Link) -> anyhow::Result<()> {
    let change = LinkChange {
        up: Some(true),
        alias: Owner::of_call(call).alias(),
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

/// Deletes the ifb of the attachment, unless its alias names another interface of the
/// same container and network. Returns its index, 0 if there was none.
///
/// # Errors
/// When the kernel refuses the request.
pub(crate) fn delete(call: &Call, host: &Handle) -> anyhow::Result<u32> {
    let name = name(&call.name, &call.container_id);
    let link = match host.link_by_name(&name) {
        Ok(link) => link,
        Err(e) if e.is_not_found() => return Ok(0),
        Err(e) => return Err(anyhow!(e).context(format!("get ifb device {name}"))),
    };
    if Owner::of_link(&link).is_some_and(|owner| owner.if_name != call.if_name) {
        return Ok(0);
    }
    delete_link(host, &name)?;
    Ok(link.index)
}

/// Deletes the ifbs of this network's attachments that are not among `valid`. Those of
/// upstream have no alias and are left to DEL.
///
/// # Errors
/// The errors of all deletions that failed.
pub(crate) fn collect(call: &Call, host: &Handle, valid: &[Attachment]) -> anyhow::Result<()> {
    let mut failures = Failures::default();
    for link in host.links_by_kind("ifb")? {
        let Some(owner) = Owner::of_link(&link) else {
            continue;
        };
        let is_ours =
            owner.network == call.name && link.name == name(owner.network, owner.container_id);
        let is_valid = valid
            .iter()
            .any(|a| a.container_id == owner.container_id && a.if_name == owner.if_name);
        if is_ours && !is_valid {
            failures.add(delete_link(host, &link.name));
        }
    }
    failures.result()
}

fn delete_link(host: &Handle, name: &str) -> anyhow::Result<()> {
    match host.request(Request::del_link_by_name(name)) {
        Err(e) if !e.is_not_found() => {
            Err(anyhow!(e).context(format!("failed to delete ifb device {name}")))
        }
        _ => Ok(()),
    }
}

/// Whether the link `veth` has ingress filters and all of them redirect to the ifb
/// `index` or to a deleted one.
pub(crate) fn is_redirected(host: &Handle, veth: u32, index: u32) -> anyhow::Result<bool> {
    let filters = host.filters(veth, TcHandle::INGRESS_QDISC)?;
    let ours = |filter: &Filter| redirects(filter, index) || redirects(filter, 0);
    Ok(!filters.is_empty() && filters.iter().all(ours))
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
