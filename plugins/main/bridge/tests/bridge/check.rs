//! CHECK fails after each single drift, and names it.

use crate::common::{attached, bridge, dual, host_end, layer2, make_veth};
use serde_json::{Value, json};
use testkit::{Container, Host, Node, Run, leases};

struct Attached {
    host: Host,
    container: Container,
    run: Run,
    veth: String,
}

impl Attached {
    fn new(extra: Value) -> Attached {
        let host = Host::new();
        let mut config = dual(extra);
        config["ipam"]["routes"] = json!([
            {"dst": "10.50.0.0/16", "priority": 50, "mtu": 1300, "advmss": 1200},
            {"dst": "10.51.0.0/16", "table": 100},
            {"dst": "fd00:50::/32"},
        ]);
        let (container, run) = attached(&host, "c1", &config);
        let veth = host_end(&run);
        Attached {
            host,
            container,
            run,
            veth,
        }
    }

    /// CHECK fails, and mentions `drift`.
    #[track_caller]
    fn fails(&self, drift: &str) {
        self.fails_with(&self.run.with_prev(), drift);
    }

    /// CHECK of `config` fails, and mentions `drift`.
    #[track_caller]
    fn fails_with(&self, config: &Value, drift: &str) {
        bridge()
            .check(&self.container, config)
            .expect_error(999)
            .mentions(drift);
    }
}

fn gateway() -> Attached {
    Attached::new(json!({"isDefaultGateway": true, "mtu": 1400, "hairpinMode": true}))
}

#[test]
fn drift_in_the_container_is_named() {
    for (command, words) in [
        (
            "addr del 10.1.0.2/24 dev eth0",
            "Failed to match addr 10.1.0.2/24 on interface eth0",
        ),
        (
            "addr del fd00:1::2/64 dev eth0",
            "Failed to match addr fd00:1::2/64 on interface eth0",
        ),
        (
            "route del 10.1.0.0/24 dev eth0",
            "Failed to find Gateway 10.1.0.1 for interface eth0: there is no route to 10.1.0.0/24",
        ),
        (
            "route del default",
            "Expected Route {Dst:{IP:0.0.0.0 Mask:00000000} GW:10.1.0.1 MTU:0 AdvMSS:0 Priority:0 Table:<nil> Scope:<nil>} not found in routing table",
        ),
        (
            "-6 route del default",
            "Expected Route {Dst:{IP::: Mask:00000000000000000000000000000000} GW:fd00:1::1",
        ),
        (
            "route replace default via 10.1.0.9",
            "the route to 0.0.0.0/0 has gateway 10.1.0.9",
        ),
        (
            "route change 10.50.0.0/16 via 10.1.0.1 metric 50 mtu 1200 advmss 1200",
            "the route to 10.50.0.0/16 has mtu 1200, not 1300",
        ),
        (
            "route change 10.50.0.0/16 via 10.1.0.1 metric 50 mtu 1300 advmss 1100",
            "the route to 10.50.0.0/16 has advmss 1100, not 1200",
        ),
        (
            "route del 10.51.0.0/16 table 100",
            "Expected Route {Dst:{IP:10.51.0.0 Mask:ffff0000}",
        ),
        (
            "-6 route del fd00:50::/32",
            "Expected Route {Dst:{IP:fd00:50:: ",
        ),
        (
            "link set eth0 address 02:00:00:00:00:99",
            "Interface eth0 Mac ",
        ),
        (
            "link set eth0 mtu 1300",
            "Error: Tuning configured MTU of eth0 is 1400, current value is 1300",
        ),
        ("link set eth0 down", "Interface eth0 is down"),
    ] {
        let attached = gateway();
        attached.container.ip(command);
        attached.fails(words);
    }
}

#[test]
fn a_route_with_another_metric() {
    let attached = gateway();
    attached.container.ip("route del 10.50.0.0/16");
    attached
        .container
        .ip("route add 10.50.0.0/16 via 10.1.0.1 metric 51");
    attached.fails("the route to 10.50.0.0/16 has metric 51, not 50");
}

#[test]
fn drift_on_the_host_is_named() {
    for (command, words) in [
        (
            "addr del 10.1.0.1/24 dev cni0",
            "gateway address 10.1.0.1/24 is not on bridge cni0",
        ),
        (
            "addr del fd00:1::1/64 dev cni0",
            "gateway address fd00:1::1/64 is not on bridge cni0",
        ),
        (
            "link set cni0 address 02:00:00:00:00:99",
            "Bridge interface cni0 Mac doesn't match: ",
        ),
        ("link set cni0 down", "Bridge interface cni0 is down"),
        ("link del cni0", "Interface name cni0 not found"),
        ("link set VETH down", "Interface VETH is down"),
        (
            "link set VETH mtu 1300",
            "Error: Tuning configured MTU of VETH is 1400, current value is 1300",
        ),
        (
            "link set VETH address 02:00:00:00:00:99",
            "Interface VETH Mac ",
        ),
        (
            "link set VETH nomaster",
            "CNI veth created for bridge cni0 was not found: VETH is not its port",
        ),
        (
            "link set VETH type bridge_slave hairpin off",
            "Interface VETH has hairpin mode false, configured is true",
        ),
        (
            "link set VETH down name vethother",
            "Interface name VETH not found",
        ),
    ] {
        let attached = gateway();
        attached.host.ip(&command.replace("VETH", &attached.veth));
        attached.fails(&words.replace("VETH", &attached.veth));
    }
}

#[test]
fn a_port_of_another_bridge() {
    let attached = gateway();
    attached.host.ip("link add other type bridge");
    attached
        .host
        .ip(&format!("link set {} master other", attached.veth));
    attached.fails("is not its port");
}

#[test]
fn another_kind_of_link_under_the_bridges_name() {
    let attached = gateway();
    attached.host.ip("link del cni0");
    make_veth(&attached.host, "cni0", "other");
    attached.fails("Interface cni0 does not have link type of bridge");
}

#[test]
fn another_kind_of_link_under_the_interfaces_name() {
    let attached = gateway();
    attached.container.ip("link del eth0");
    attached.fails("Interface name eth0 not found");
    attached.container.ip("link add eth0 type bridge");
    attached.fails("Error: Container interface eth0 not of type veth");
}

#[test]
fn another_pair_under_the_same_names() {
    let attached = gateway();
    attached.container.ip("link del eth0");
    make_veth(&attached.host, &attached.veth, "stray");
    attached
        .container
        .ip("link add eth0 type veth peer name stray");
    let mut config = attached.run.with_prev();
    config["mtu"] = Value::Null;
    config["prevResult"]["interfaces"][2]["mac"] = Value::Null;
    attached.container.ip("link set eth0 up");
    attached.fails_with(&config, "CNI veth created for bridge cni0 was not found");
}

#[test]
fn lost_promiscuous_mode() {
    let attached = Attached::new(json!({"promiscMode": true}));
    attached.host.ip("link set cni0 promisc off");
    attached.fails(
        "Bridge interface cni0 configured Promisc Mode true doesn't match current state: false",
    );
}

#[test]
fn options_that_are_not_configured_are_ignored() {
    let attached = Attached::new(json!({}));
    let veth = attached.veth.as_str();
    for command in [
        // As kubelet does with `hairpinMode: hairpin-veth`.
        format!("link set {veth} type bridge_slave hairpin on isolated on"),
        format!("link set {veth} mtu 1400"),
        "link set cni0 promisc on".to_owned(),
    ] {
        attached.host.ip(&command);
    }
    attached.container.ip("link set eth0 mtu 1400");
    let config = attached.run.with_prev();
    bridge().check(&attached.container, &config).expect_ok();
}

#[test]
fn a_lost_lease() {
    let attached = gateway();
    assert_eq!(leases("net"), ["10.1.0.2", "fd00:1::2"]);
    attached
        .host
        .command(&["rm", "/var/lib/cni/networks/net/10.1.0.2"]);
    attached.fails("host-local: Failed to find address added by container c1");
}

#[test]
fn a_prev_result_that_does_not_fit() {
    let attached = gateway();
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut config = attached.run.with_prev();
        change(&mut config["prevResult"]);
        config
    };
    let mut none = attached.run.with_prev();
    none.as_object_mut().unwrap().remove("prevResult");
    attached.fails_with(&none, "equired prevResult missing");
    attached.fails_with(
        &changed(&|prev| prev["ips"][0]["address"] = json!(5)),
        "could not parse prevResult: ",
    );
    attached.fails_with(
        &changed(&|prev| prev["interfaces"][2]["sandbox"] = json!("/run/netns/c2")),
        "Sandbox in prevResult /run/netns/c2 doesn't match configured netns: /run/netns/c1",
    );
    attached.fails_with(
        &changed(&|prev| prev["interfaces"][2]["name"] = json!("eth1")),
        "interface \"eth0\" of the container is not in prevResult",
    );
    attached.fails_with(
        &changed(&|prev| prev["interfaces"][0]["name"] = json!("cni1")),
        "CNI created bridge cni0 in host namespace was not found",
    );
    attached.fails_with(
        &changed(&|prev| prev["interfaces"][0]["sandbox"] = json!("/run/netns/c1")),
        "Interface cni0 should not be in sandbox",
    );
    attached.fails_with(
        &changed(&|prev| prev["interfaces"][1]["name"] = json!("veth0")),
        "Interface name veth0 not found",
    );
    attached.fails_with(
        &changed(&|prev| {
            let interfaces = prev["interfaces"].as_array_mut().unwrap();
            interfaces.remove(1);
            for ip in prev["ips"].as_array_mut().unwrap() {
                ip["interface"] = json!(1);
            }
        }),
        "CNI veth created for bridge cni0 was not found",
    );
}

#[test]
fn additions_by_others_are_ignored() {
    let attached = gateway();
    let mut config = attached.run.with_prev();
    let prev = &mut config["prevResult"];
    // As another implementation, or a later plugin of the chain, writes the result.
    for interface in prev["interfaces"].as_array_mut().unwrap() {
        interface["mac"] = Value::String(interface["mac"].as_str().unwrap().to_uppercase());
    }
    prev["interfaces"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "tun0", "sandbox": "/run/netns/c1", "mac": "02:00:00:00:00:01"}));
    prev["ips"]
        .as_array_mut()
        .unwrap()
        .push(json!({"address": "10.200.0.1/32", "interface": 3}));
    bridge().check(&attached.container, &config).expect_ok();
    // More addresses and routes than ADD made.
    attached.container.ip("addr add 10.77.0.1/24 dev eth0");
    attached.container.ip("route add 10.78.0.0/16 via 10.1.0.1");
    attached.host.ip("addr add 10.79.0.1/24 dev cni0");
    bridge().check(&attached.container, &config).expect_ok();
    // Routes moved to a table of their own, as policy routing does.
    attached.container.ip("route del 10.1.0.0/24 dev eth0");
    attached
        .container
        .ip("route add 10.1.0.0/24 dev eth0 table 200");
    bridge().check(&attached.container, &config).expect_ok();
}

#[test]
fn without_ipam_the_interface_is_checked() {
    let host = Host::new();
    let container = host.container("c1");
    let run = bridge().add(&container, &layer2(json!({}))).expect_ok();
    bridge().check(&container, &run.with_prev()).expect_ok();
    container.ip("link set eth0 down");
    bridge()
        .check(&container, &run.with_prev())
        .expect_error(999)
        .mentions("Interface eth0 is down");
}

#[test]
fn a_namespace_that_no_longer_exists() {
    let attached = gateway();
    attached.container.delete();
    attached.fails("failed to open netns \"/run/netns/c1\"");
}
