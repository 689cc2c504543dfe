//! CHECK after each single piece of drift fails and names it.

use crate::common::{add, attached, config, vrf};
use serde_json::json;
use testkit::table::cases;
use testkit::{Node, merge};

#[test]
fn drift() {
    for case in cases(
        r#"
        link set eth0 nomaster => failed to find eth0 associated to vrf blue
        link set eth0 nomaster; link add red type vrf table 5; link set eth0 master red => failed to find eth0 associated to vrf blue
        link del eth0 => could not get link by name eth0: Link not found
        link del blue => failed to find VRF blue: Link not found
        link del blue; link add blue type bridge => Netlink blue is not a VRF
        link set blue down => VRF blue is down
        addr del 10.1.0.5/24 dev eth0 => Failed to match addr 10.1.0.5/24 on interface eth0
        -6 addr del fd00:1::5/64 dev eth0 => Failed to match addr fd00:1::5/64 on interface eth0
        route del default table 1 => Expected Route {Dst:{IP:0.0.0.0 Mask:00000000}
        -6 route del default table 1 => Expected Route {Dst:{IP::: Mask:00000000000000000000000000000000}
        route del 10.62.0.0/16 table 1 => Expected Route {Dst:{IP:10.62.0.0
        route del default table 1; route add default via 10.1.0.1 dev eth0 table main => failed to find the route to 0.0.0.0/0 in table 1 of vrf blue
        route del 10.1.0.0/24 table 1; route add 10.1.0.0/24 dev eth0 table main => failed to find the route to 10.1.0.0/24 in table 1 of vrf blue
        "#,
    ) {
        let (_host, container) = attached();
        let config = add(&container, json!({}));
        vrf().check(&container, &config).expect_ok();
        for command in &case.commands {
            container.ip(command);
        }
        vrf()
            .check(&container, &config)
            .expect_error(999)
            .mentions(&case.words);
    }
}

#[test]
fn the_configuration_and_the_previous_result() {
    let (_host, container) = attached();
    let config_of = add(&container, json!({"table": 5}));
    vrf().check(&container, &config_of).expect_ok();
    for case in cases(
        r#"
        {"table": 6} => VRF blue already exist with different routing table 5
        {"vrfname": "red"} => failed to find VRF red
        {"prevResult": null} => missing prevResult from earlier plugin
        "#,
    ) {
        vrf()
            .check(&container, &merge(config_of.clone(), &case.extra))
            .expect_error(999)
            .mentions(&case.words);
    }
    // What others add is ignored.
    container.ip("route add 10.90.0.0/16 dev eth0 table main");
    container.ip("addr add 10.9.0.9/24 dev eth0");
    vrf().check(&container, &config_of).expect_ok();
    let none = json!({"cniVersion": "1.1.0", "interfaces": [], "ips": []});
    let config = merge(config(json!({})), &json!({"prevResult": none}));
    vrf().check(&container, &config).expect_ok();
}
