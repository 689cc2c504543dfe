//! The `dns` key of plugins whose DNS configuration overrides that of the IPAM plugin.

use cni_core::Dns;
use serde::Deserialize;

/// The `dns` key. An empty list, unlike an absent one, overrides the DNS configuration of
/// the IPAM plugin.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct OwnDns {
    nameservers: Option<Vec<String>>,
    domain: String,
    search: Option<Vec<String>>,
    options: Option<Vec<String>>,
}

impl OwnDns {
    /// Returns the configuration that replaces that of the IPAM result; `None` if no member
    /// is set.
    pub fn given(self) -> Option<Dns> {
        let given = self.nameservers.is_some()
            || !self.domain.is_empty()
            || self.search.is_some()
            || self.options.is_some();
        given.then(|| Dns {
            nameservers: self.nameservers.unwrap_or_default(),
            domain: self.domain,
            search: self.search.unwrap_or_default(),
            options: self.options.unwrap_or_default(),
        })
    }
}
