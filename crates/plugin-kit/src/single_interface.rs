//! What plugins share whose attachment is a single interface in the container.

use crate::link_options::LinkOptions;
use crate::{Container, Ipam, addressing, check, link_options, names, sysctl, veth};
use crate::{Side, Undo};
use anyhow::{Context, anyhow, bail};
use cni_core::quote::quote;
use cni_core::types::NetConf;
use cni_core::{AddResult, Call, Code, Command, Error, Interface, json};
use rtnl::{Link, LinkChange, LinkSpec, Request};
use serde::de::DeserializeOwned;
use std::os::fd::AsFd;

/// The interface is the only one of a result.
const INTERFACE: usize = 0;

/// A configuration, decoded.
#[derive(Clone, Debug)]
pub struct Loaded<T> {
    /// The keys that every plugin has.
    pub common: NetConf,
    /// Settings of the link beyond upstream's.
    pub keys: LinkOptions,
    /// The plugin's own keys.
    pub own: T,
}

/// Decodes a configuration. An `ipam` or a `prevResult` of the wrong type is refused
/// even where it is not needed: it must not pass for none.
///
/// # Errors
/// When a value has the wrong type; the text is `what` and names the key.
pub fn load<T: DeserializeOwned>(call: &Call, what: &'static str) -> anyhow::Result<Loaded<T>> {
    match json::get(&call.conf, "prevResult") {
        None => {}
        Some(previous) if previous.is_object() => {}
        Some(_) => bail!("{what}: prevResult: expected an object"),
    }
    Ok(Loaded {
        common: call.config().context(what)?,
        keys: call.config().context(what)?,
        own: call.config().context(what)?,
    })
}

/// Creates the container's interface as `spec` says and returns it as the kernel
/// made it. The parent in `spec` is one of `side`.
///
/// The link is born in the container under its final name.
///
/// # Errors
/// When the kernel refuses. Nothing is left behind then, nor when `undo` runs.
pub fn create<'c>(
    container: &'c Container,
    side: &Side<'_>,
    mut spec: LinkSpec<'c>,
    undo: &mut Undo<'c>,
) -> anyhow::Result<Link> {
    spec.netns = Some(container.netns.as_fd());
    let kind = spec.kind.name();
    let name = spec.name.clone();
    match side.handle().request(Request::new_link(&spec)) {
        Ok(_) => undo.push("delete the interface", {
            let name = name.clone();
            move || veth::delete(container, &name)
        }),
        Err(e) if e.is_exists() => {
            if container.rtnl.link_by_name(&name).is_ok() {
                bail!(
                    "failed to create {kind}: {e}: container interface {} already exists in {}; \
                     delete the attachment first",
                    quote(&name),
                    container.netns.path().display()
                );
            }
            create_renamed(container, side, spec, undo)?;
        }
        Err(e) => return Err(anyhow!(e).context(format!("failed to create {kind}"))),
    }
    container
        .rtnl
        .link_by_name(&name)
        .with_context(|| format!("failed to refetch {kind} {}", quote(&name)))
}

/// The same by way of a passing name: older kernels (6.1, not 6.18) refuse one that
/// is in use where the request comes from, even if the link is born elsewhere.
fn create_renamed<'c>(
    container: &'c Container,
    side: &Side<'_>,
    mut spec: LinkSpec<'c>,
    undo: &mut Undo<'c>,
) -> anyhow::Result<()> {
    let kind = spec.kind.name();
    let name = spec.name;
    let up = spec.up;
    spec.name = names::random_veth()?;
    // Such kernels rename a link only while it is down.
    spec.up = false;
    side.handle()
        .request(Request::new_link(&spec))
        .with_context(|| format!("failed to create {kind}"))?;
    let passing = spec.name.clone();
    undo.push("delete the interface", move || {
        veth::delete(container, &passing)
    });
    let link = container
        .rtnl
        .link_by_name(&spec.name)
        .with_context(|| format!("failed to refetch {kind} {}", quote(&spec.name)))?;
    let rename = LinkChange {
        name: Some(name.clone()),
        ..LinkChange::default()
    };
    container
        .rtnl
        .request(Request::set_link(link.index, &rename))
        .with_context(|| format!("failed to rename {kind} to {}", quote(&name)))?;
    undo.push("delete the interface", {
        let name = name.clone();
        move || veth::delete(container, &name)
    });
    if up {
        set_up(container, &Link { name, ..link })?;
    }
    Ok(())
}

/// Brings a link of the container up.
///
/// # Errors
/// When the kernel refuses.
pub fn set_up(container: &Container, link: &Link) -> anyhow::Result<()> {
    let up = LinkChange {
        up: Some(true),
        ..LinkChange::default()
    };
    container
        .rtnl
        .request(Request::set_link(link.index, &up))
        .with_context(|| format!("failed to set {} UP", quote(&link.name)))?;
    Ok(())
}

/// Makes `link` the interface of `result`, and every address its own.
pub fn claim(call: &Call, link: &Link, result: &mut AddResult) {
    result.interfaces = vec![link_options::interface(call, link, call.sandbox())];
    for ip in &mut result.ips {
        ip.interface = Some(INTERFACE as i64);
    }
}

/// Has the kernel tell the neighbours of the interface's addresses when it comes
/// up. To be called before. A kernel without IPv6 lacks one of the two sysctls.
///
/// # Errors
/// When the namespace cannot be entered.
pub fn announce(container: &Container, name: &str) -> anyhow::Result<()> {
    container.run(|| {
        let _ = sysctl::ensure(&format!("net/ipv4/conf/{name}/arp_notify"), "1");
        let _ = sysctl::ensure(&format!("net/ipv6/conf/{name}/ndisc_notify"), "1");
    })?;
    Ok(())
}

/// Gives `link` the addresses and routes of a claimed `result`, and brings it up.
///
/// # Errors
/// At the first thing that the kernel refuses.
pub fn configure(container: &Container, link: &Link, result: &AddResult) -> anyhow::Result<()> {
    // The link reaches beyond the host, so duplicates are looked for.
    addressing::apply(container, link, result, INTERFACE, true)
}

/// DEL: releases the addresses, then deletes the interface. The order lets a DHCP
/// client say goodbye through it. Each is tried whatever became of the other, and
/// of the configuration nothing but `ipam` is looked at.
///
/// # Errors
/// Those of either, and of both in one text.
pub fn del(call: &Call) -> anyhow::Result<()> {
    let ipam = Ipam::of(call);
    if let Some(ipam) = &ipam {
        ipam.start(Command::Del);
    }
    let container = Container::open_for_del(call);
    let released = ipam.map_or(Ok(()), |ipam| ipam.del());
    let unplugged = container.and_then(|container| match container {
        Some(container) => veth::delete(&container, &call.if_name),
        None => Ok(()),
    });
    match (released, unplugged) {
        (Err(e), Err(also)) => Err(anyhow!(
            "{e:#}; deleting the interface failed too: {also:#}"
        )),
        (released, unplugged) => released.and(unplugged),
    }
}

/// GC: the interface goes with its namespace, only leases outlive it.
///
/// # Errors
/// The IPAM plugin's own.
pub fn gc(call: &Call) -> anyhow::Result<()> {
    Ipam::of(call).map_or(Ok(()), |ipam| ipam.gc())
}

/// STATUS: says that no ADD could succeed, and why.
pub fn not_available(why: impl std::fmt::Display) -> anyhow::Error {
    Error::new(Code::PLUGIN_NOT_AVAILABLE, format!("{why:#}")).into()
}

/// CHECK, with a plugin's own kind of link and words.
#[derive(Clone, Copy, Debug)]
pub struct InterfaceCheck {
    /// The kind that the kernel must name, if it names one.
    pub kind: Option<&'static str>,
    /// What some of the texts begin with.
    pub prefix: &'static str,
    /// Texts begin in lower case.
    pub lower_case: bool,
}

impl InterfaceCheck {
    /// Compares prevResult with the kernel: IPAM, the interface, what `own` looks
    /// at, addresses, routes.
    ///
    /// # Errors
    /// At the first thing that differs.
    pub fn check(
        &self,
        call: &Call,
        own: impl FnOnce(&Container, &Interface, &Link) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let container = Container::open(call)?;
        if let Some(ipam) = Ipam::of(call) {
            ipam.check()?;
        }
        let result = call
            .prev_result()?
            .with_context(|| self.say("Required prevResult missing"))?;
        let (number, recorded) =
            check::container_interface(call, &result).map_err(|e| self.spoken(&e))?;
        let link = self.find(&container, recorded)?;
        own(&container, recorded, &link).map_err(|e| self.spoken(&e))?;
        check::addresses_and_routes(&container, &link, &result, number)
    }

    /// The interface, up, of its kind, and with its recorded hardware address.
    fn find(&self, container: &Container, recorded: &Interface) -> anyhow::Result<Link> {
        let name = &recorded.name;
        let link = container.rtnl.link_by_name(name).map_err(|e| {
            let text = format!("Container Interface name in prevResult: {name} not found");
            match e.is_not_found() {
                true => anyhow!(self.say(&text)),
                false => anyhow!(e).context(self.say(&text)),
            }
        })?;
        if let Some(kind) = self.kind
            && !link.is_kind(kind)
        {
            let text = format!("Error: Container interface {name} not of type {kind}");
            bail!(self.in_case(&text));
        }
        let actual = link.mac_string();
        if !recorded.mac.is_empty() && !recorded.mac.eq_ignore_ascii_case(&actual) {
            bail!(self.say(&format!(
                "Interface {name} Mac {} doesn't match container Mac: {actual}",
                recorded.mac
            )));
        }
        if !link.is_up() {
            bail!(self.in_case(&format!("Interface {name} is down")));
        }
        Ok(link)
    }

    fn say(&self, text: &str) -> String {
        format!("{}{}", self.prefix, self.in_case(text))
    }

    /// An error of somebody else in this plugin's case.
    fn spoken(&self, error: &anyhow::Error) -> anyhow::Error {
        anyhow!(self.in_case(&format!("{error:#}")))
    }

    fn in_case(&self, text: &str) -> String {
        let mut characters = text.chars();
        match characters.next() {
            Some(first) if self.lower_case => {
                format!("{}{}", first.to_lowercase(), characters.as_str())
            }
            _ => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_have_their_own_words() {
        let vlan = InterfaceCheck {
            kind: Some("vlan"),
            prefix: "vlan: ",
            lower_case: false,
        };
        assert_eq!(vlan.say("Required"), "vlan: Required");
        assert_eq!(vlan.in_case("Error: x"), "Error: x");
        let macvlan = InterfaceCheck {
            kind: Some("macvlan"),
            prefix: "",
            lower_case: true,
        };
        assert_eq!(macvlan.say("Required"), "required");
        assert_eq!(macvlan.spoken(&anyhow!("Sandbox")).to_string(), "sandbox");
        assert_eq!(macvlan.say(""), "");
    }
}
