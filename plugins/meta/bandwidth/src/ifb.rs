//! The intermediate functional block: a link that packets from the container pass
//! through on their way, and wait at. Arriving packets cannot be made to wait
//! otherwise.

use anyhow::{Context, anyhow, bail};
use cni_core::Call;
use cni_core::types::Attachment;
use plugin_kit::{Undo, detailed, names};
use rtnl::{
    Filter, Handle, Link, LinkChange, LinkKind, LinkSpec, QdiscKind, QdiscSpec, Request, TcHandle,
    U32Filter, U32Key,
};

/// Longest name of a link, without its end (`IFNAMSIZ` - 1).
const NAME_LEN: usize = 15;
/// Longest alias of a link (`IFALIASZ` - 1).
const ALIAS_LEN: usize = 255;
const PREFIX: &str = "bwp";
/// First word of an alias that this plugin has given.
const MARK: &str = "cni";
/// `ETH_P_ALL` of if_ether.h.
const ALL_PROTOCOLS: u16 = 3;

/// The name of the block of an attachment.
pub(crate) fn name(network: &str, container_id: &str) -> String {
    names::of_attachment(PREFIX, network, container_id, NAME_LEN)
}

/// Whose block a link is, as its alias tells: the name cannot be read backwards, and
/// does not have the interface in it.
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

    /// `None` if somebody else has made the link.
    fn of_link(link: &'a Link) -> Option<Self> {
        let mut words = link.alias.split(' ');
        let [mark, network, container_id, if_name] = [(); 4].map(|()| words.next());
        (mark == Some(MARK) && words.next().is_none()).then_some(Owner {
            network: network?,
            container_id: container_id?,
            if_name: if_name?,
        })
    }

    /// None of the words can have a blank in it.
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

/// Makes the block for packets that come from `veth`. It is down: the kernel takes
/// milliseconds to give a link that is up another queue.
///
/// # Errors
/// When the kernel refuses. Nothing is left behind then, nor when `undo` runs.
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
    undo.push("delete the ifb", move || delete(host, &by_name));
    match echo {
        Some(link) => Ok(link),
        None => host
            .link_by_name(&name)
            .with_context(|| format!("get ifb device {name}")),
    }
}

/// Sets the block up and writes down whose it is.
///
/// # Errors
/// When the kernel refuses.
pub(crate) fn open(call: &Call, host: &Handle, link: &Link) -> anyhow::Result<()> {
    let change = LinkChange {
        up: Some(true),
        alias: Owner::of_call(call).alias(),
        ..LinkChange::default()
    };
    host.request(Request::set_link(link.index, &change))
        .with_context(|| format!("failed to set {} up", link.name))?;
    Ok(())
}

/// The filter that sends all that comes from `veth` through the block `index`.
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

/// Sends all that comes from `veth` through the block.
///
/// # Errors
/// When the kernel refuses. Nothing is left behind then, nor when `undo` runs.
pub(crate) fn redirect<'h>(
    host: &'h Handle,
    veth: &Link,
    block: &Link,
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
    let filter = redirection(block.index);
    host.request(Request::add_u32_filter(index, &filter))
        .context("add filter")?;
    Ok(())
}

/// Whether a filter sends all that arrives through the block `index`; 0 is one that is
/// gone.
fn redirects(filter: &Filter, index: u32) -> bool {
    let everything = filter.filter.keys.iter().all(|key| key.mask == 0);
    everything && filter.filter.protocol == ALL_PROTOCOLS && filter.filter.redirect == Some(index)
}

/// Compares with what `veth` and the host have; gives the block.
///
/// # Errors
/// At the first thing that differs; the text names it.
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

/// Deletes the block of the attachment, unless it is marked as that of another
/// interface of the same container and network. Gives its index; 0 if there was none.
///
/// # Errors
/// When the kernel refuses.
pub(crate) fn delete_own(call: &Call, host: &Handle) -> anyhow::Result<u32> {
    let name = name(&call.name, &call.container_id);
    let link = match host.link_by_name(&name) {
        Ok(link) => link,
        Err(e) if e.is_not_found() => return Ok(0),
        Err(e) => return Err(anyhow!(e).context(format!("get ifb device {name}"))),
    };
    if Owner::of_link(&link).is_some_and(|owner| owner.if_name != call.if_name) {
        return Ok(0);
    }
    delete(host, &name)?;
    Ok(link.index)
}

/// Deletes the blocks of this network's attachments that are not among `valid`. One
/// that upstream has made does not tell whose it is, and stays for DEL.
///
/// # Errors
/// When the kernel refuses; the rest is gone through all the same.
pub(crate) fn collect(call: &Call, host: &Handle, valid: &[Attachment]) -> anyhow::Result<()> {
    let mut outcome = Ok(());
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
            outcome = delete(host, &link.name).and(outcome);
        }
    }
    outcome
}

fn delete(host: &Handle, name: &str) -> anyhow::Result<()> {
    match host.request(Request::del_link_by_name(name)) {
        Err(e) if !e.is_not_found() => {
            Err(anyhow!(e).context(format!("failed to delete ifb device {name}")))
        }
        _ => Ok(()),
    }
}

/// Whether all that the link `veth` does to arriving packets is to send them through
/// the block `index`, which may be gone.
pub(crate) fn is_redirected(host: &Handle, veth: u32, index: u32) -> anyhow::Result<bool> {
    let filters = host.filters(veth, TcHandle::INGRESS_QDISC)?;
    let ours = |filter: &Filter| redirects(filter, index) || redirects(filter, 0);
    Ok(!filters.is_empty() && filters.iter().all(ours))
}

/// Lets packets that arrive at the link `veth` go their way again. A link that is gone
/// has none.
///
/// # Errors
/// When the kernel refuses.
pub(crate) fn remove_redirection(host: &Handle, veth: u32) -> anyhow::Result<()> {
    let ingress = Request::del_qdisc(veth, TcHandle::INGRESS_QDISC, TcHandle::INGRESS);
    match host.request(ingress) {
        Err(e) if !e.is_not_found() => {
            Err(anyhow!(e).context(format!("failed to delete the ingress qdisc of link {veth}")))
        }
        _ => Ok(()),
    }
}
