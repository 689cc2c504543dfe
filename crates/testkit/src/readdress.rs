//! An address that is used again by another container.

use crate::{Container, Host, Node, Plugin};
use serde_json::Value;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How soon after ADD a neighbour must reach the new container. Without an announcement it would first have to give up
/// its cached entry, which takes the kernel 8 to 16 seconds.
const SOON: Duration = Duration::from_secs(5);

/// A container with `addresses` (those that `config` hands out) is deleted while `neighbour` has its hardware address in
/// the cache, and another container, with another hardware address, gets the addresses: `neighbour` reaches it at once.
///
/// # Panics
///
/// When it does not.
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
