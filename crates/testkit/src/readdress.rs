//! Reuse of an address by another container.

use crate::{Container, Host, Node, Plugin};
use serde_json::Value;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// The time within which a neighbour must reach the new container after ADD. Without an announcement the kernel keeps
/// the old neighbour entry for 8 to 16 seconds.
const SOON: Duration = Duration::from_secs(5);

/// Deletes a container with `addresses` (those that `config` allocates) while `neighbour` has its hardware address in
/// the neighbour table. Another container with another hardware address gets the addresses, and `neighbour` must reach
/// it at once.
///
/// # Panics
///
/// When `neighbour` does not reach it.
#[track_caller]
pub fn reused_addresses_are_reachable(
    host: &Host,
    neighbour: &impl Node,
    plugin: &Plugin,
    config: &Value,
    addresses: &[&str],
) {
    let add = |name: &str| -> (Container, Value) {
        let container = host.container(name);
        plugin.add(&container, config).expect_ok();
        let mac = container.link_attribute("eth0", "/address");
        for address in addresses {
            assert!(
                container
                    .addresses("eth0")
                    .iter()
                    .any(|own| own.starts_with(&format!("{address}/"))),
                "{name} lacks {address}"
            );
        }
        (container, mac)
    };
    let (first, old_mac) = add("first");
    for address in addresses {
        let address: IpAddr = address.parse().expect("an address");
        assert!(neighbour.can_reach(address, SOON), "{address} before");
    }
    plugin.del(&first, config).expect_ok();
    let (_second, new_mac) = add("second");
    assert_ne!(old_mac, new_mac);
    for address in addresses {
        let address: IpAddr = address.parse().expect("an address");
        let start = Instant::now();
        assert!(
            neighbour.can_reach(address, SOON),
            "{} does not reach {address} within {:?}; its neighbours:\n{}",
            neighbour.label(),
            start.elapsed(),
            neighbour.command(&["ip", "neigh"])
        );
    }
}
