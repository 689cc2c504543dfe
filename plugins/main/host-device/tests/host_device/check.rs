//! CHECK after each single piece of drift fails and names it.

use crate::common::{device, dual, host_with_device, plugin};
use serde_json::json;
use testkit::table::cases;
use testkit::{Container, Host, Node, Run};

fn attached() -> (Host, Container, Container, Run) {
    let (host, outside) = host_with_device();
    let container = host.container("c1");
    let run = plugin().add(&container, &dual(json!({}))).expect_ok();
    plugin().check(&container, &run.with_prev()).expect_ok();
    (host, outside, container, run)
}

#[test]
fn each_drift_is_named() {
    for case in cases(
        r#"
        addr del 10.1.0.10/24 dev eth0 => Failed to match addr 10.1.0.10/24 on interface eth0
        addr del fd00:1::10/64 dev eth0 => Failed to match addr fd00:1::10/64 on interface eth0
        route del default => Expected Route {Dst:{IP:0.0.0.0 Mask:00000000}
        -6 route del default => Expected Route {Dst:{IP:::
        link set eth0 address 02:00:00:00:00:99 => Interface eth0 Mac 02:00:00:00:00:d0 doesn't match container Mac: 02:00:00:00:00:99
        link set eth0 down => Interface eth0 is down
        link del eth0 => Container Interface name in prevResult: eth0 not found
        "#,
    ) {
        let (_host, _outside, container, run) = attached();
        container.ip(&case.commands[0]);
        plugin()
            .check(&container, &run.with_prev())
            .expect_error(999)
            .mentions(&case.words);
    }
    let (_host, _outside, container, run) = attached();
    container.command(&["ip", "link", "set", "eth0", "alias", ""]);
    plugin()
        .check(&container, &run.with_prev())
        .expect_error(999)
        .mentions("Interface eth0 has no alias");
}

#[test]
fn prev_result() {
    let (_host, _outside, container, run) = attached();
    let check = |config| plugin().check(&container, &config).expect_error(999);
    let mut config = run.with_prev();
    config["prevResult"]["interfaces"][0]["sandbox"] = "/run/netns/other".into();
    check(config).mentions(
        "Sandbox in prevResult /run/netns/other doesn't match configured netns: /run/netns/c1",
    );
    check(device(json!({}))).mentions("Required prevResult missing");
    let mut config = run.with_prev();
    config["device"] = "".into();
    check(config).mentions("specify either");
}
