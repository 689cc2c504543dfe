//! The plugin under test.

use serde_json::Value;
use testkit::single_interface::Subject;
use testkit::{Container, Host, Node, Run};

pub(crate) const TAP: Subject = Subject {
    name: "tap",
    needs: &[],
    keys: "{}",
    prefix: "",
    lower_case: false,
    router: None,
};

/// ADD of `eth0` on a host of its own.
#[track_caller]
pub(crate) fn added(config: &Value) -> (Host, Container, Run) {
    let host = Host::new();
    let container = host.container("c1");
    let run = TAP.plugin().add(&container, config).expect_ok();
    (host, container, run)
}

/// Creates a bridge `br0` in the container. With a hardware address of its own it does
/// not take that of a port.
pub(crate) fn make_bridge(container: &Container) {
    container.ip("link add br0 address 02:00:00:00:00:b0 up type bridge");
}

/// `eth0` of the container, see [`Node::link`].
#[track_caller]
pub(crate) fn eth0(container: &Container) -> Value {
    container.link("eth0").expect("eth0 in the container")
}
