//! The `dns` key of plugins whose own name service configuration goes before the
//! IPAM plugin's.

use cni_core::Dns;
use serde::Deserialize;

/// `dns` with "not given" and "given, but empty" kept apart: an empty list is
/// something given, and hides what IPAM says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct OwnDns {
    nameservers: Option<Vec<String>>,
    domain: String,
    search: Option<Vec<String>>,
    options: Option<Vec<String>>,
}

impl OwnDns {
    /// What replaces the IPAM result's name service as a whole; `None` when no
    /// member was given.
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
