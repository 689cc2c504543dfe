//! The addresses to route by source.

use cni_core::{AddResult, Call, Cidr};
use plugin_kit::chain;
use rtnl::{Family, RawRoute, RuleSpec};
use std::net::IpAddr;

/// An address of the interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// With the prefix length of its network.
    pub(crate) cidr: Cidr,
    /// The gateway for its packets.
    pub(crate) gateway: Option<IpAddr>,
}

impl Address {
    /// The distinct addresses of the container's interface in `result`, including those
    /// without an interface index or with one out of range.
    ///
    /// A gateway of the configuration is used for the addresses whose network contains
    /// it, or if there are none, for all addresses of its family.
    pub(crate) fn all(call: &Call, result: &AddResult, gateways: &[IpAddr]) -> Vec<Address> {
        let own = chain::own_interfaces(call, result);
        let count = result.interfaces.len();
        let mut all: Vec<Address> = Vec::new();
        for ip in &result.ips {
            let number = ip.interface.and_then(|number| usize::try_from(number).ok());
            let number = number.filter(|number| *number < count);
            let known = all
                .iter()
                .any(|known| known.cidr.addr() == ip.address.addr());
            if !known && number.is_none_or(|number| own.contains(&number)) {
                all.push(Address {
                    cidr: ip.address,
                    gateway: ip.gateway.filter(|gateway| !gateway.is_unspecified()),
                });
            }
        }
        for gateway in gateways {
            let near = all.iter().any(|address| address.cidr.contains(*gateway));
            for address in all
                .iter_mut()
                .filter(|a| a.family() == Family::of(*gateway))
            {
                if !near || address.cidr.contains(*gateway) {
                    address.gateway = Some(*gateway);
                }
            }
        }
        all
    }

    pub(crate) fn ip(&self) -> IpAddr {
        self.cidr.addr()
    }

    pub(crate) fn family(&self) -> Family {
        Family::of(self.ip())
    }

    /// The rule that makes its packets look up `table`.
    pub(crate) fn rule(&self, table: u32) -> RuleSpec {
        RuleSpec::from_address(self.ip(), table)
    }

    /// The routes of the main table that belong to the address: those whose source or
    /// gateway is in its network, those with neither, and those that belong to no address
    /// in `all`.
    pub(crate) fn routes<'r>(
        &self,
        all: &[Address],
        routes: &'r [RawRoute],
    ) -> impl Iterator<Item = &'r RawRoute> {
        routes.iter().filter(move |copy| {
            let is_of_family = |address: &&Address| address.family() == copy.route().family;
            is_of_family(&self)
                && (self.owns(copy)
                    || !all
                        .iter()
                        .filter(is_of_family)
                        .any(|address| address.owns(copy)))
        })
    }

    /// Whether the source or a gateway is in the network of the address, or there is
    /// neither.
    fn owns(&self, copy: &RawRoute) -> bool {
        let mut hints = copy
            .route()
            .src
            .into_iter()
            .chain(copy.gateways())
            .peekable();
        hints.peek().is_none() || hints.any(|hint| self.cidr.contains(hint))
    }
}
