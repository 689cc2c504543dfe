//! Changes of ADD to the bridge, which a failing ADD reverts on an existing bridge.

use crate::Config;
use crate::bridge::{container_ports, has_new_ports, ipv6_key, refuse_ra};
use anyhow::Context;
use cni_core::quote::quote;
use plugin_kit::{Undo, sysctl};
use rtnl::{Bridge, Handle, IFF_PROMISC, IFF_UP, KindInfo, Link, LinkChange, LinkKind, Request};

/// The changes that bring a bridge into the state that is configured.
#[derive(Clone, Copy)]
pub(crate) struct Changes {
    up: bool,
    promisc: bool,
    /// VLAN filtering is switched on.
    pub vlan_filtering: bool,
    /// Router advertisements are refused.
    pub refuse_ra: bool,
}

impl Changes {
    /// The changes to the flags of `bridge`.
    pub(crate) fn needed(bridge: &Link, config: &Config) -> Self {
        Changes {
            up: !bridge.is_up(),
            promisc: config.promisc_mode && bridge.flags & IFF_PROMISC == 0,
            vlan_filtering: false,
            refuse_ra: false,
        }
    }

    fn any(self) -> bool {
        self.up || self.promisc || self.vlan_filtering || self.refuse_ra
    }

    /// Applies the changes, and brings `bridge` up to date with them.
    ///
    /// # Errors
    /// When the kernel refuses. Some of them may have been applied.
    pub(crate) fn apply(self, host: &Handle, bridge: &mut Link) -> anyhow::Result<()> {
        if self.refuse_ra {
            refuse_ra(&bridge.name);
        }
        if self.vlan_filtering {
            host.request(set_vlan_filtering(bridge.index, true))
                .with_context(|| {
                    format!("could not set vlan filtering on {}", quote(&bridge.name))
                })?;
            if let KindInfo::Bridge(info) = &mut bridge.info {
                info.vlan_filtering = Some(true);
            }
        }
        if self.up || self.promisc {
            let change = LinkChange {
                up: Some(true),
                promisc: self.promisc.then_some(true),
                ..LinkChange::default()
            };
            host.request(Request::set_link(bridge.index, &change))
                .with_context(|| format!("could not set {} up", quote(&bridge.name)))?;
        }
        Ok(())
    }

    /// Registers the restoration of the existing bridge `bridge` for a failing ADD.
    ///
    /// # Errors
    /// When its ports cannot be listed.
    pub(crate) fn revert_on_failure<'a>(
        self,
        host: &'a Handle,
        bridge: &Link,
        undo: &mut Undo<'a>,
    ) -> anyhow::Result<()> {
        let mut before = Before {
            link: bridge.clone(),
            accept_ra: None,
            ports: Vec::new(),
        };
        if self.any() {
            let ports = container_ports(host, bridge.index)?;
            before.ports = ports.iter().map(|port| port.index).collect();
            // Read after the ports: a concurrent ADD changes the bridge before it adds its port. So either its port is
            // new, or its changes are in this state; in neither case are they reverted.
            if let Ok(link) = host.link_by_index(bridge.index) {
                before.link = link;
            }
            before.accept_ra = sysctl::get(&ipv6_key(&bridge.name, "accept_ra")).ok();
        }
        undo.push("restore the bridge", move || self.revert(host, before));
        Ok(())
    }

    /// Reverts the changes, unless the bridge has new container ports: their containers may
    /// rely on the changes.
    fn revert(self, host: &Handle, before: Before) -> anyhow::Result<()> {
        let now = match host.link_by_index(before.link.index) {
            Err(e) if e.is_not_found() => return Ok(()),
            found => found?,
        };
        let mut back = LinkChange::default();
        if self.any() && !has_new_ports(host, now.index, &before.ports)? {
            let set_now = now.flags & !before.link.flags;
            back.up = (set_now & IFF_UP != 0).then_some(false);
            back.promisc = (set_now & IFF_PROMISC != 0).then_some(false);
            if self.vlan_filtering && !filters_vlans(&before.link) {
                host.request(set_vlan_filtering(now.index, false))?;
            }
            if let Some(accept_ra) = before.accept_ra {
                sysctl::ensure(&ipv6_key(&now.name, "accept_ra"), &accept_ra)?;
            }
        }
        // The kernel clears the MAC address of a bridge that loses its last port.
        if now.mac.iter().all(|octet| *octet == 0) && now.mac != before.link.mac {
            back.mac = Some(before.link.mac);
        }
        if back.up.is_none() && back.promisc.is_none() && back.mac.is_none() {
            return Ok(());
        }
        keeping_ipv6_addresses(&now.name, || {
            host.request(Request::set_link(now.index, &back))?;
            Ok(())
        })
    }
}

/// The state of an existing bridge before ADD.
struct Before {
    link: Link,
    /// The sysctl; `None` if the kernel has no IPv6.
    accept_ra: Option<String>,
    /// Indexes of the ports that led to containers.
    ports: Vec<u32>,
}

fn filters_vlans(bridge: &Link) -> bool {
    matches!(&bridge.info, KindInfo::Bridge(info) if info.vlan_filtering == Some(true))
}

fn set_vlan_filtering(index: u32, on: bool) -> Request<'static> {
    let bridge = Bridge {
        vlan_filtering: Some(on),
        ..Bridge::default()
    };
    Request::change_kind(index, &LinkKind::Bridge(bridge))
}

/// Runs `f`, which may set the link down, and with it delete its IPv6 addresses.
fn keeping_ipv6_addresses(
    name: &str,
    f: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let key = ipv6_key(name, "keep_addr_on_down");
    let before = sysctl::get(&key);
    let _ = sysctl::ensure(&key, "1");
    let outcome = f();
    if let Ok(before) = before {
        sysctl::ensure(&key, &before)?;
    }
    outcome
}
