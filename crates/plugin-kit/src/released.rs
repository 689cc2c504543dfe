//! What other implementations of the plugins have left of attachments whose addresses GC has
//! released.

use crate::failures::Failures;
use crate::state;
use anyhow::Context;
use cni_core::types::{Interface, IpConfig};
use cni_core::{AddResult, Call, Cidr, Command};
use cni_state::{Owner, released};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

/// GC: calls `del` for each attachment of the network whose addresses GC of the IPAM plugin has
/// released (see [`released`]), as DEL is called when the namespace is gone, with the addresses
/// in `prevResult`. Does nothing if the runtime did not pass the valid attachments.
///
/// # Errors
/// Those of all calls of `del`.
pub fn del_each(
    call: &Call,
    mut del: impl FnMut(&Call) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let Some(valid) = call.valid_attachments()? else {
        return Ok(());
    };
    let valid = state::owners(&call.name, &valid);
    let mut gone: BTreeMap<Owner, Vec<IpAddr>> = BTreeMap::new();
    for (owner, address) in released::of_network(&call.name) {
        if !valid.contains(&owner) {
            gone.entry(owner).or_default().push(address);
        }
    }
    let mut failures = Failures::default();
    for (owner, addresses) in gone {
        let outcome = del_call(call, &owner, &addresses).and_then(|call| del(&call));
        failures.add(outcome.with_context(|| format!("container {}", owner.container_id)));
    }
    failures.result()
}

/// Returns the call of DEL of an attachment whose namespace is gone.
fn del_call(gc: &Call, owner: &Owner, addresses: &[IpAddr]) -> anyhow::Result<Call> {
    let mut call = Call {
        command: Command::Del,
        container_id: owner.container_id.clone(),
        if_name: owner.if_name.clone(),
        netns: PathBuf::new(),
        ..gc.clone()
    };
    let ip = |address: &IpAddr| IpConfig {
        interface: Some(0),
        ..IpConfig::new(Cidr::host(*address))
    };
    let result = AddResult {
        interfaces: vec![Interface {
            name: owner.if_name.clone(),
            // Any name: it is the container's, and there is none any more.
            sandbox: owner.container_id.clone(),
            ..Interface::default()
        }],
        ips: addresses.iter().map(ip).collect(),
        ..AddResult::default()
    };
    let result = result.to_value(call.version)?;
    if let Some(conf) = call.conf.as_object_mut() {
        conf.insert("prevResult".into(), result);
    }
    call.stdin = serde_json::to_vec(&call.conf)?;
    Ok(call)
}
