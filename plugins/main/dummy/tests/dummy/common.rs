//! What the tests share: configurations, and the host they run on.

use serde_json::{Value, json};
use testkit::{Host, Plugin, dual_stack, merge, needs};

/// The network `net` with IPv4 and IPv6 and default routes, with the keys of `extra`
/// added.
pub(crate) fn dual(extra: Value) -> Value {
    let base = json!({"cniVersion": "1.1.0", "name": "net", "type": "dummy", "ipam": dual_stack()});
    merge(base, &extra)
}

/// The plugin under test.
pub(crate) fn dummy() -> Plugin {
    Plugin::new("dummy")
}

/// A host, whose kernel must have dummy links.
pub(crate) fn host() -> Host {
    needs(&["dummy"]);
    Host::new()
}
