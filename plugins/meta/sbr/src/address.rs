//! The addresses whose packets are to go their own way.

use cni_core::{AddResult, Call, Cidr};
use plugin_kit::chain;
use rtnl::{Family, RawRoute, RuleSpec};
use std::net::IpAddr;

/// An address of the interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// With the prefix length of its network.
    pub(crate) cidr: Cidr,
    /// The gateway that its packets are to take.
    pub(crate) gateway: Option<IpAddr>,
}

impl Address {
    /// Those of the container's interface in `result`, each once. One that says nothing
    /// of an interface, or names one that is not there, is taken for its, too.
    ///
    /// Of the gateways in the configuration, one is for the addresses whose network it
    /// is in; if it is in none, for all of its family.
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

    /// The rule that leads its packets to `table`.
    pub(crate) fn rule(&self, table: u32) -> RuleSpec {
        RuleSpec::from_address(self.ip(), table)
    }

    /// Which of `routes`, of the main table, are for its packets: those whose source or
    /// gateway is in its network, those that have neither, and those that no address in
    /// `all` would have otherwise.
    pub(crate) fn routes<'r>(
        &self,
        all: &[Address],
        routes: &'r [RawRoute],
    ) -> impl Iterator<Item = &'r RawRoute> {
        routes.iter().filter(move |copy| {
            let of_family = |address: &&Address| address.family() == copy.route().family;
            of_family(&self)
                && (self.claims(copy)
                    || !all
                        .iter()
                        .filter(of_family)
                        .any(|address| address.claims(copy)))
        })
    }

    fn claims(&self, copy: &RawRoute) -> bool {
        let mut hints = copy
            .route()
            .src
            .into_iter()
            .chain(copy.gateways())
            .peekable();
        hints.peek().is_none() || hints.any(|hint| self.cidr.contains(hint))
    }
}
