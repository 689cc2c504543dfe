//! Common steps of macvlan, ipvlan and vlan, whose interface has a master.

use super::{Loaded, may_be_of_upstream};
use crate::link_options::{LinkOptions, Mtu};
use crate::{Container, Side, parent, status};
use cni_core::types::Dns;
use cni_core::{Call, Interface};
use rtnl::{Handle, Link, LinkKind, LinkSpec};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Settings of an interface on a master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnMaster {
    /// Name of the master; empty selects the link of the default route.
    pub master: String,
    /// Whether the master is in the container.
    pub link_in_container: bool,
    /// MTU of the interface.
    pub mtu: Mtu,
    /// Link options that upstream does not have.
    pub options: LinkOptions,
    /// DNS configuration of the result; that of IPAM is ignored.
    pub dns: Dns,
}

/// The keys of the configuration.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Keys {
    master: String,
    link_in_container: bool,
    mtu: Mtu,
}

impl OnMaster {
    /// Decodes the shared keys of a configuration, and the plugin's own as `T`.
    ///
    /// # Errors
    /// As [`super::load`].
    pub fn load<T: DeserializeOwned>(call: &Call) -> anyhow::Result<(OnMaster, T)> {
        const FAILED: &str = "failed to load netconf";
        let Loaded {
            common,
            options,
            own: keys,
        } = super::load::<Keys>(call, FAILED)?;
        let settings = OnMaster {
            master: keys.master,
            link_in_container: keys.link_in_container,
            mtu: keys.mtu,
            options,
            dns: common.dns,
        };
        Ok((settings, super::decode(call, FAILED)?))
    }

    /// Returns the namespace of the master.
    ///
    /// # Errors
    /// As [`Side::open`].
    pub fn side<'c>(&self, container: &'c Container) -> anyhow::Result<Side<'c>> {
        Side::open(container, self.link_in_container)
    }

    /// Returns the specification of the interface of `call` on the link `master` of `side`,
    /// or on the link of the default route if the name is empty.
    ///
    /// # Errors
    /// When there is no such master, or the MTU exceeds the master's.
    pub fn spec<'fd>(
        &self,
        call: &Call,
        kind: LinkKind<'fd>,
        side: &Side<'_>,
        master: &str,
    ) -> anyhow::Result<LinkSpec<'fd>> {
        let master = parent::find(side.handle(), master)?;
        let mut spec = LinkSpec::new(call.if_name.clone(), kind);
        spec.link = Some(master.index);
        spec.mtu = self.mtu.on(side.handle(), &master)?;
        self.options.apply(&mut spec);
        Ok(spec)
    }

    /// Compares `link`, which is `recorded` in prevResult, with the settings.
    ///
    /// # Errors
    /// The first difference.
    pub fn check(
        &self,
        container: &Container,
        recorded: &Interface,
        link: &Link,
    ) -> anyhow::Result<()> {
        self.mtu.check(recorded, link)?;
        if !may_be_of_upstream(recorded) {
            self.options.check(link)?;
        }
        self.side(container)?.check(link, &self.master)
    }

    /// STATUS: checks that the kernel has links of the kind `kind`, and that the host has the
    /// master, that it is `usable` and up, and that its MTU is not below the configured one.
    /// A master in a container cannot be checked.
    ///
    /// # Errors
    /// Code 50 with the reason, or 51 if the master is down.
    pub fn probe(
        &self,
        kind: &str,
        usable: impl FnOnce(&Link) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let host = Handle::open()?;
        status::require_link_kinds(&host, &[kind])?;
        if self.link_in_container {
            return Ok(());
        }
        let find = || {
            let master = parent::find(&host, &self.master)?;
            usable(&master)?;
            anyhow::Ok(master)
        };
        let no_master = "set \"master\" to a link of the host, see \"ip link\"";
        let no_mtu = "lower \"mtu\", or raise the MTU of the master";
        let master = find().map_err(|e| status::not_available_unless(e, no_master))?;
        let mtu = self.mtu.on(&host, &master);
        mtu.map_err(|e| status::not_available_unless(e, no_mtu))?;
        Ok(status::require_up(&master)?)
    }
}
