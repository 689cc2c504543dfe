//! CHECK of plugins that create a single interface.

use crate::{Container, Ipam, check};
use anyhow::{Context, anyhow, bail};
use cni_core::{Call, Interface};
use rtnl::Link;

/// The kind of link that CHECK of a plugin expects, and the form of its messages, which is
/// upstream's.
#[derive(Clone, Copy, Debug)]
pub struct InterfaceCheck {
    /// The link's `IFLA_INFO_KIND`; `None` accepts any.
    pub kind: Option<&'static str>,
    /// Prefix of some messages.
    pub prefix: &'static str,
    /// Whether messages begin in lower case.
    pub lower_case: bool,
}

impl InterfaceCheck {
    /// Runs CHECK of the IPAM plugin, and compares prevResult with the kernel's state: the
    /// interface, the plugin's own properties by `compare`, addresses, and routes.
    ///
    /// # Errors
    /// The first difference.
    pub fn run(
        &self,
        call: &Call,
        compare: impl FnOnce(&Container, &Interface, &Link) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let container = Container::open(call)?;
        if let Some(ipam) = Ipam::of(call) {
            ipam.check()?;
        }
        let result = call
            .prev_result()?
            .with_context(|| self.prefixed("Required prevResult missing"))?;
        let (number, recorded) =
            check::container_interface(call, &result).map_err(|e| self.reworded(&e))?;
        let link = self.find(&container, recorded)?;
        compare(&container, recorded, &link).map_err(|e| self.reworded(&e))?;
        check::addresses_and_routes(&container, &link, &result, number)
    }

    /// Returns the interface, which must be up, of the plugin's kind, and have the recorded
    /// MAC address.
    fn find(&self, container: &Container, recorded: &Interface) -> anyhow::Result<Link> {
        let name = &recorded.name;
        let link = container.rtnl.link_by_name(name).map_err(|e| {
            let text = format!("Container Interface name in prevResult: {name} not found");
            match e.is_not_found() {
                true => anyhow!(self.prefixed(&text)),
                false => anyhow!(e).context(self.prefixed(&text)),
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
            bail!(self.prefixed(&format!(
                "Interface {name} Mac {} doesn't match container Mac: {actual}",
                recorded.mac
            )));
        }
        if !link.is_up() {
            bail!(self.in_case(&format!("Interface {name} is down")));
        }
        Ok(link)
    }

    fn prefixed(&self, text: &str) -> String {
        format!("{}{}", self.prefix, self.in_case(text))
    }

    /// Returns an error of a shared function in the plugin's case.
    fn reworded(&self, error: &anyhow::Error) -> anyhow::Error {
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

/// Returns whether upstream's ADD may have created the recorded interface. Upstream never
/// records an MTU; this project's ADD does from result version 1.1.0 on. CHECK of such an
/// interface does not compare what upstream's ADD ignores.
#[must_use]
pub fn may_be_of_upstream(recorded: &Interface) -> bool {
    recorded.mtu == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_the_plugins_prefix_and_case() {
        let vlan = InterfaceCheck {
            kind: Some("vlan"),
            prefix: "vlan: ",
            lower_case: false,
        };
        assert_eq!(vlan.prefixed("Required"), "vlan: Required");
        assert_eq!(vlan.in_case("Error: x"), "Error: x");
        let macvlan = InterfaceCheck {
            kind: Some("macvlan"),
            prefix: "",
            lower_case: true,
        };
        assert_eq!(macvlan.prefixed("Required"), "required");
        assert_eq!(macvlan.reworded(&anyhow!("Sandbox")).to_string(), "sandbox");
        assert_eq!(macvlan.prefixed(""), "");
    }
}
