//! Owners of state records.

use cni_core::Call;
use cni_core::types::Attachment;
use cni_state::Owner;

/// Returns the attachment of `call` as the owner of a record.
#[must_use]
pub fn owner(call: &Call) -> Owner {
    Owner::new(&call.name, &call.container_id, &call.if_name)
}

/// Returns the valid attachments of `network`, from GC, as owners of records.
#[must_use]
pub fn owners(network: &str, valid: &[Attachment]) -> Vec<Owner> {
    let owner = |a: &Attachment| Owner::new(network, &a.container_id, &a.if_name);
    valid.iter().map(owner).collect()
}
