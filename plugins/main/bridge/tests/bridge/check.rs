//! CHECK after each single piece of drift fails and names it.

use crate::common::{bridge, dual, host_end, layer2, leases, make_veth, run_on};
use serde_json::{Value, json};
use testkit::{Container, Host, Node, Run};

struct Attached {
    host: Host,
    container: Container,
    run: Run,
    veth: String,
}

impl Attached {
    fn new(extra: Value) -> Attached {
        let host = Host::new();
        let container = host.container("c1");
        let mut config = dual(extra);
        config["ipam"]["routes"] = json!([
            {"dst": "10.50.0.0/16", "priority": 50, "mtu": 1300, "advmss": 1200},
            {"dst": "10.51.0.0/16", "table": 100},
            {"dst": "fd00:50::/32"},
        ]);
        let run = bridge().add(&container, &config).expect_ok();
        let veth = host_end(&run);
        bridge().check(&container, &run.with_prev()).expect_ok();
        Attached {
            host,
            container,
            run,
            veth,
        }
    }

    #[track_caller]
    fn names(&self, drift: &str) {
        self.with(&self.run.with_prev(), drift);
    }

    #[track_caller]
    fn with(&self, config: &Value, drift: &str) {
        bridge()
            .check(&self.container, config)
            .expect_error(999)
            .mentions(drift);
    }
}

fn gateway() -> Attached {
    Attached::new(json!({"isDefaultGateway": true, "mtu": 1400, "hairpinMode": true}))
}

/// Whose drift it is, the command that makes it, and the words CHECK has for it.
type Drift<'a> = (bool, &'a str, &'a str);

const IN_CONTAINER: bool = true;
const ON_HOST: bool = false;

#[test]
fn in_the_container() {
    let drifts: &[Drift] = &[
        (
            IN_CONTAINER,
            "addr del 10.1.0.2/24 dev eth0",
            "Failed to match addr 10.1.0.2/24 on interface eth0",
        ),
        (
            IN_CONTAINER,
            "addr del fd00:1::2/64 dev eth0",
            "Failed to match addr fd00:1::2/64 on interface eth0",
        ),
        (
            IN_CONTAINER,
            "route del 10.1.0.0/24 dev eth0",
            "Failed to find Gateway 10.1.0.1 for interface eth0: there is no route to 10.1.0.0/24",
        ),
        (
            IN_CONTAINER,
            "route del default",
            "Expected Route {Dst:{IP:0.0.0.0 Mask:00000000} GW:10.1.0.1 MTU:0 AdvMSS:0 Priority:0 Table:<nil> Scope:<nil>} not found in routing table",
        ),
        (
            IN_CONTAINER,
            "-6 route del default",
            "Expected Route {Dst:{IP::: Mask:00000000000000000000000000000000} GW:fd00:1::1",
        ),
        (
            IN_CONTAINER,
            "route replace default via 10.1.0.9",
            "the route to 0.0.0.0/0 has gateway 10.1.0.9",
        ),
        (
            IN_CONTAINER,
            "route change 10.50.0.0/16 via 10.1.0.1 metric 50 mtu 1200 advmss 1200",
            "the route to 10.50.0.0/16 has mtu 1200, not 1300",
        ),
        (
            IN_CONTAINER,
            "route change 10.50.0.0/16 via 10.1.0.1 metric 50 mtu 1300 advmss 1100",
            "the route to 10.50.0.0/16 has advmss 1100, not 1200",
        ),
        (
            IN_CONTAINER,
            "route del 10.51.0.0/16 table 100",
            "Expected Route {Dst:{IP:10.51.0.0 Mask:ffff0000}",
        ),
        (
            IN_CONTAINER,
            "-6 route del fd00:50::/32",
            "Expected Route {Dst:{IP:fd00:50:: ",
        ),
        (
            IN_CONTAINER,
            "link set eth0 address 02:00:00:00:00:99",
            "Interface eth0 Mac ",
        ),
        (
            IN_CONTAINER,
            "link set eth0 mtu 1300",
            "Error: Tuning configured MTU of eth0 is 1400, current value is 1300",
        ),
        (IN_CONTAINER, "link set eth0 down", "Interface eth0 is down"),
    ];
    for (_, command, words) in drifts {
        let attached = gateway();
        let argv: Vec<&str> = std::iter::once("ip").chain(command.split(' ')).collect();
        attached.container.command(&argv);
        attached.names(words);
    }
}

#[test]
fn a_route_with_another_metric() {
    let attached = gateway();
    attached
        .container
        .command(&["ip", "route", "del", "10.50.0.0/16"]);
    let other = [
        "ip",
        "route",
        "add",
        "10.50.0.0/16",
        "via",
        "10.1.0.1",
        "metric",
        "51",
    ];
    attached.container.command(&other);
    attached.names("the route to 10.50.0.0/16 has metric 51, not 50");
}

#[test]
fn on_the_host() {
    let drifts: &[Drift] = &[
        (
            ON_HOST,
            "addr del 10.1.0.1/24 dev cni0",
            "gateway address 10.1.0.1/24 is not on bridge cni0",
        ),
        (
            ON_HOST,
            "addr del fd00:1::1/64 dev cni0",
            "gateway address fd00:1::1/64 is not on bridge cni0",
        ),
        (
            ON_HOST,
            "link set cni0 address 02:00:00:00:00:99",
            "Bridge interface cni0 Mac doesn't match: ",
        ),
        (
            ON_HOST,
            "link set cni0 down",
            "Bridge interface cni0 is down",
        ),
        (ON_HOST, "link del cni0", "Interface name cni0 not found"),
        (ON_HOST, "link set VETH down", "Interface VETH is down"),
        (
            ON_HOST,
            "link set VETH mtu 1300",
            "Error: Tuning configured MTU of VETH is 1400, current value is 1300",
        ),
        (
            ON_HOST,
            "link set VETH address 02:00:00:00:00:99",
            "Interface VETH Mac ",
        ),
        (
            ON_HOST,
            "link set VETH nomaster",
            "CNI veth created for bridge cni0 was not found: VETH is not its port",
        ),
        (
            ON_HOST,
            "link set VETH type bridge_slave hairpin off",
            "Interface VETH has hairpin mode false, configured is true",
        ),
        (
            ON_HOST,
            "link set VETH down name vethother",
            "Interface name VETH not found",
        ),
    ];
    for (_, command, words) in drifts {
        let attached = gateway();
        let command = command.replace("VETH", &attached.veth);
        let argv: Vec<&str> = std::iter::once("ip").chain(command.split(' ')).collect();
        attached.host.command(&argv);
        attached.names(&words.replace("VETH", &attached.veth));
    }
}

#[test]
fn a_port_of_another_bridge() {
    let attached = gateway();
    attached
        .host
        .command(&["ip", "link", "add", "other", "type", "bridge"]);
    attached
        .host
        .command(&["ip", "link", "set", &attached.veth, "master", "other"]);
    attached.names("is not its port");
}

#[test]
fn something_else_under_the_bridges_name() {
    let attached = gateway();
    attached.host.command(&["ip", "link", "del", "cni0"]);
    make_veth(&attached.host, "cni0", "other");
    attached.names("Interface cni0 does not have link type of bridge");
}

#[test]
fn something_else_under_the_containers_interfaces_name() {
    let attached = gateway();
    attached.container.command(&["ip", "link", "del", "eth0"]);
    attached.names("Interface name eth0 not found");
    attached
        .container
        .command(&["ip", "link", "add", "eth0", "type", "bridge"]);
    attached.names("Error: Container interface eth0 not of type veth");
}

#[test]
fn another_pair_under_the_same_names() {
    let attached = gateway();
    attached.container.command(&["ip", "link", "del", "eth0"]);
    let pair = |node: &dyn Fn(&[&str]), name: &str| {
        node(&[
            "ip", "link", "add", name, "type", "veth", "peer", "name", "stray",
        ]);
    };
    pair(&|argv| drop(attached.host.command(argv)), &attached.veth);
    pair(&|argv| drop(attached.container.command(argv)), "eth0");
    let mut config = attached.run.with_prev();
    config["mtu"] = Value::Null;
    config["prevResult"]["interfaces"][2]["mac"] = Value::Null;
    attached
        .container
        .command(&["ip", "link", "set", "eth0", "up"]);
    attached.with(&config, "CNI veth created for bridge cni0 was not found");
}

#[test]
fn promiscuous_mode_lost() {
    let attached = Attached::new(json!({"promiscMode": true}));
    attached
        .host
        .command(&["ip", "link", "set", "cni0", "promisc", "off"]);
    attached.names(
        "Bridge interface cni0 configured Promisc Mode true doesn't match current state: false",
    );
}

#[test]
fn what_the_configuration_does_not_ask_for() {
    let attached = Attached::new(json!({}));
    let veth = attached.veth.as_str();
    for command in [
        // As kubelet does with `hairpinMode: hairpin-veth`.
        format!("ip link set {veth} type bridge_slave hairpin on isolated on"),
        format!("ip link set {veth} mtu 1400"),
        "ip link set cni0 promisc on".to_owned(),
    ] {
        run_on(&attached.host, &command);
    }
    run_on(&attached.container, "ip link set eth0 mtu 1400");
    let config = attached.run.with_prev();
    bridge().check(&attached.container, &config).expect_ok();
}

#[test]
fn a_lease_lost() {
    let attached = gateway();
    assert_eq!(leases(), ["10.1.0.2", "fd00:1::2"]);
    attached
        .host
        .command(&["rm", "/var/lib/cni/networks/net/10.1.0.2"]);
    attached.names("host-local: Failed to find address added by container c1");
}

#[test]
fn what_prev_result_says() {
    let attached = gateway();
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut config = attached.run.with_prev();
        change(&mut config["prevResult"]);
        config
    };
    let mut none = attached.run.with_prev();
    none.as_object_mut().unwrap().remove("prevResult");
    attached.with(&none, "equired prevResult missing");
    attached.with(
        &changed(&|prev| prev["ips"][0]["address"] = json!(5)),
        "could not parse prevResult: ",
    );
    attached.with(
        &changed(&|prev| prev["interfaces"][2]["sandbox"] = json!("/run/netns/c2")),
        "Sandbox in prevResult /run/netns/c2 doesn't match configured netns: /run/netns/c1",
    );
    attached.with(
        &changed(&|prev| prev["interfaces"][2]["name"] = json!("eth1")),
        "interface \"eth0\" of the container is not in prevResult",
    );
    attached.with(
        &changed(&|prev| prev["interfaces"][0]["name"] = json!("cni1")),
        "CNI created bridge cni0 in host namespace was not found",
    );
    attached.with(
        &changed(&|prev| prev["interfaces"][0]["sandbox"] = json!("/run/netns/c1")),
        "Interface cni0 should not be in sandbox",
    );
    attached.with(
        &changed(&|prev| prev["interfaces"][1]["name"] = json!("veth0")),
        "Interface name veth0 not found",
    );
    attached.with(
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
fn what_it_does_not_mind() {
    let attached = gateway();
    let mut config = attached.run.with_prev();
    let prev = &mut config["prevResult"];
    // Written by somebody else, or by a later plugin of the chain.
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
    attached
        .container
        .command(&["ip", "addr", "add", "10.77.0.1/24", "dev", "eth0"]);
    attached
        .container
        .command(&["ip", "route", "add", "10.78.0.0/16", "via", "10.1.0.1"]);
    attached
        .host
        .command(&["ip", "addr", "add", "10.79.0.1/24", "dev", "cni0"]);
    bridge().check(&attached.container, &config).expect_ok();
    // Routes moved to a table of their own, as policy routing does.
    attached
        .container
        .command(&["ip", "route", "del", "10.1.0.0/24", "dev", "eth0"]);
    let moved = [
        "ip",
        "route",
        "add",
        "10.1.0.0/24",
        "dev",
        "eth0",
        "table",
        "200",
    ];
    attached.container.command(&moved);
    bridge().check(&attached.container, &config).expect_ok();
}

#[test]
fn without_ipam_none_is_asked() {
    let host = Host::new();
    let container = host.container("c1");
    let run = bridge().add(&container, &layer2(json!({}))).expect_ok();
    bridge().check(&container, &run.with_prev()).expect_ok();
    container.command(&["ip", "link", "set", "eth0", "down"]);
    bridge()
        .check(&container, &run.with_prev())
        .expect_error(999)
        .mentions("Interface eth0 is down");
}

#[test]
fn a_namespace_that_is_gone() {
    let attached = gateway();
    attached.container.delete();
    attached.names("failed to open netns \"/run/netns/c1\"");
}
