//! The owners of records, as `cni-state` knows them.

use cni_core::Call;
use cni_core::types::Attachment;
use cni_state::Owner;

/// Returns the attachment that `call` is about.
#[must_use]
pub fn owner(call: &Call) -> Owner {
    Owner::new(&call.name, &call.container_id, &call.if_name)
}

/// Returns the attachments of `network` that a GC names as valid.
#[must_use]
pub fn owners(network: &str, valid: &[Attachment]) -> Vec<Owner> {
    let owner = |a: &Attachment| Owner::new(network, &a.container_id, &a.if_name);
    valid.iter().map(owner).collect()
}
