//! CHECK: compares prevResult and the configuration with the kernel's state.
//!
//! Only what the configuration asks for is compared, and on a pod that upstream added
//! only what all of upstream's releases set.

use crate::vlan::{self, PortVlans};
use crate::{Config, filters, repair, vlan_gateway};
use anyhow::{Context, anyhow, bail};
use cni_core::quote::quote;
use cni_core::{AddResult, Call, Interface, IpConfig};
use plugin_kit::{Container, FilterRecord, Ipam, check};
use rtnl::{Handle, Link};

/// Compares part by part, and fails at the first difference.
pub(crate) fn run(call: &Call) -> anyhow::Result<()> {
    let config = Config::load(call)?;
    if config.repair {
        repair::run(call, &config)?;
    }
    let container = Container::open(call)?;
    if let Some(ipam) = Ipam::of(call) {
        ipam.check()?;
    }
    let result = check::required_prev_result(call)?;
    let (number, recorded) = check::container_interface(call, &result)?;
    let host = Handle::open()?;
    let attachment = Attachment {
        config: &config,
        host: &host,
        result: &result,
        ips: ips_of(&result, number),
    };
    let bridge = attachment.bridge()?;
    let inside = attachment.container_end(&container, recorded)?;
    let port = attachment.host_end(recorded, &inside, &bridge)?;
    let of_upstream = check::is_pair_of_upstream(&port);
    attachment.port_options(&port, of_upstream)?;
    if !of_upstream {
        config.link_options.check(&inside)?;
        config.link_options.check(&port)?;
    }
    let record = FilterRecord::of(call);
    let vlans = Vlans {
        host: &host,
        bridge: &bridge,
        must_filter: !of_upstream && !vlan::was_unfiltered(&record),
        of_upstream,
    };
    if let Some(wanted) = &config.vlans {
        vlans.compare(&port, wanted)?;
    }
    check::addresses_and_routes(&container, &inside, &result, number)?;
    if config.is_gateway && !attachment.ips.is_empty() {
        let carrier = attachment.vlan_gateway(&vlans)?;
        attachment.gateway_addresses(carrier.as_ref().unwrap_or(&bridge))?;
    }
    filters::check(call, &config, &attachment.ips, &port, &inside, of_upstream)
}

/// The addresses of the result's interface `number`.
pub(crate) fn ips_of(result: &AddResult, number: usize) -> Vec<&IpConfig> {
    let number = i64::try_from(number).ok();
    let ips = result.ips.iter();
    ips.filter(|ip| ip.interface == number).collect()
}

/// What is compared: the configuration and the result of ADD.
struct Attachment<'a> {
    config: &'a Config,
    host: &'a Handle,
    result: &'a AddResult,
    /// The addresses of the container's interface.
    ips: Vec<&'a IpConfig>,
}

impl Attachment<'_> {
    fn bridge(&self) -> anyhow::Result<Link> {
        let config = self.config;
        let link = lookup(self.host, &config.bridge)?;
        if !link.is_kind("bridge") {
            bail!("Interface {} does not have link type of bridge", link.name);
        }
        let mut recorded = self.result.interfaces.iter();
        let recorded = recorded.find(|i| i.name == link.name).with_context(|| {
            format!(
                "CNI created bridge {} in host namespace was not found",
                link.name
            )
        })?;
        if !recorded.sandbox.is_empty() {
            bail!("Interface {} should not be in sandbox", recorded.name);
        }
        // A bridge without gateway addresses takes the MAC address of one of its ports.
        let has_gateways = config.is_gateway && !self.ips.is_empty();
        let in_vlan = config
            .vlans
            .as_ref()
            .and_then(|v| v.gateway_name(&link.name));
        let actual = link.mac_string();
        if has_gateways
            && in_vlan.is_none()
            && !recorded.mac.is_empty()
            && !recorded.mac.eq_ignore_ascii_case(&actual)
        {
            bail!(
                "Bridge interface {} Mac doesn't match: {} was recorded, it has {actual}",
                link.name,
                recorded.mac
            );
        }
        if !link.is_up() {
            bail!("Bridge interface {} is down", link.name);
        }
        // A packet capture makes a bridge promiscuous too, so only the lack is drift.
        if config.promisc_mode && link.promiscuity == 0 {
            bail!(
                "Bridge interface {} configured Promisc Mode true doesn't match current state: false",
                link.name
            );
        }
        Ok(link)
    }

    fn container_end(&self, container: &Container, recorded: &Interface) -> anyhow::Result<Link> {
        let link = lookup(&container.rtnl, &recorded.name)?;
        if !link.is_kind("veth") {
            bail!("Error: Container interface {} not of type veth", link.name);
        }
        check::mac(recorded, &link)?;
        if !self.config.disable_container_interface && !link.is_up() {
            bail!("Interface {} is down", link.name);
        }
        self.config.mtu.check(recorded, &link)?;
        Ok(link)
    }

    /// The host's end is the recorded veth whose peer is the container's end.
    fn host_end(
        &self,
        container: &Interface,
        inside: &Link,
        bridge: &Link,
    ) -> anyhow::Result<Link> {
        let recorded =
            self.result.interfaces.iter().filter(|i| {
                i.sandbox.is_empty() && i.name != bridge.name && i.name != container.name
            });
        for interface in recorded {
            let link = lookup(self.host, &interface.name)?;
            let is_peer = link.is_kind("veth")
                && link.link == Some(inside.index)
                && inside.link == Some(link.index);
            if !is_peer {
                continue;
            }
            check::mac(interface, &link)?;
            self.config.mtu.check(interface, &link)?;
            if !link.is_up() {
                bail!("Interface {} is down", link.name);
            }
            if link.master != Some(bridge.index) {
                bail!(
                    "CNI veth created for bridge {} was not found: {} is not its port",
                    bridge.name,
                    link.name
                );
            }
            return Ok(link);
        }
        bail!("CNI veth created for bridge {} was not found", bridge.name)
    }

    /// The options of the port. Upstream's older releases do not know `portIsolation`.
    fn port_options(&self, link: &Link, of_upstream: bool) -> anyhow::Result<()> {
        let Some(port) = &link.port else {
            return Ok(());
        };
        // Kernels that do not report isolation do not have it.
        let isolated = port.isolated.unwrap_or(false);
        let isolation = self.config.port_isolation && !of_upstream;
        for (what, present, wanted) in [
            ("hairpin mode", port.hairpin, self.config.hairpin_mode),
            ("port isolation", isolated, isolation),
        ] {
            if wanted && !present {
                bail!(
                    "Interface {} has {what} false, configured is true",
                    link.name
                );
            }
        }
        Ok(())
    }

    /// The host's interface in the container's VLAN; `None` where it is the bridge itself.
    fn vlan_gateway(&self, vlans: &Vlans<'_>) -> anyhow::Result<Option<Link>> {
        let Some(wanted) = &self.config.vlans else {
            return Ok(None);
        };
        let Some(name) = wanted.gateway_name(&vlans.bridge.name) else {
            return Ok(None);
        };
        let link = lookup(self.host, &name)?;
        let mut recorded = self.result.interfaces.iter();
        if let Some(recorded) = recorded.find(|i| i.sandbox.is_empty() && i.name == name) {
            check::mac(recorded, &link)?;
        }
        if !link.is_up() {
            bail!("Interface {name} is down");
        }
        if let Some(port) = vlan_gateway::other_end(self.host, &link)? {
            if port.master != Some(vlans.bridge.index) {
                bail!(
                    "Interface {name} does not lead to bridge {}: {} is not its port",
                    vlans.bridge.name,
                    port.name
                );
            }
            if !port.is_up() {
                bail!("Interface {} is down", port.name);
            }
            vlans.compare(&port, &wanted.of_gateway())?;
        }
        Ok(Some(link))
    }

    fn gateway_addresses(&self, carrier: &Link) -> anyhow::Result<()> {
        let present = self
            .host
            .addresses(carrier.index, None)
            .context("could not get list of IP addresses")?;
        for ip in &self.ips {
            let Some(gateway) = ip.gateway else { continue };
            let prefix = ip.address.prefix();
            let mut present = present.iter();
            if !present.any(|a| a.addr == gateway && a.prefix == prefix) {
                let kind = match carrier.is_kind("bridge") {
                    true => "bridge",
                    false => "vlan interface",
                };
                bail!(
                    "gateway address {gateway}/{prefix} is not on {kind} {}",
                    carrier.name
                );
            }
        }
        Ok(())
    }
}

/// How the VLANs of ports are compared.
struct Vlans<'a> {
    host: &'a Handle,
    bridge: &'a Link,
    /// The bridge filtered by VLAN when ADD returned.
    must_filter: bool,
    of_upstream: bool,
}

impl Vlans<'_> {
    /// The VLANs of `port`, and whether the bridge filters by VLAN.
    fn compare(&self, port: &Link, wanted: &PortVlans) -> anyhow::Result<()> {
        if self.must_filter && !vlan::is_filtering(self.bridge) {
            bail!(
                "Bridge interface {} does not filter by vlan",
                self.bridge.name
            );
        }
        let present = self
            .host
            .bridge_vlans(port.index)
            .with_context(|| format!("failed to list the vlans of {}", quote(&port.name)))?;
        match wanted.difference(self.bridge, &present, self.of_upstream) {
            Some(difference) => bail!("Interface {} {difference}", port.name),
            None => Ok(()),
        }
    }
}

fn lookup(handle: &Handle, name: &str) -> anyhow::Result<Link> {
    handle
        .link_by_name(name)
        .map_err(|e| match e.is_not_found() {
            true => anyhow!("Interface name {name} not found"),
            false => anyhow!(e).context(format!("failed to lookup {}", quote(name))),
        })
}
