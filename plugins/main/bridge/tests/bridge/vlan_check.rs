//! CHECK fails after each single drift of the VLANs, and names it.

use crate::common::{attached, bridge, dual, host_end};
use serde_json::{Value, json};
use testkit::{Container, Host, Node, Run, namespace, needs};

struct Attached {
    /// Where the commands run: it is the calling thread's.
    _host: Host,
    container: Container,
    run: Run,
    /// Placeholders in commands and messages, and what they stand for.
    names: Vec<(&'static str, String)>,
}

impl Attached {
    fn new(extra: Value) -> Attached {
        let host = Host::new();
        let (container, run) = attached(&host, "c1", &dual(extra));
        let mut names = vec![("VETH", host_end(&run))];
        if host.link("cni0.100").is_some() {
            let port = host.link_attribute("cni0.100", "/link");
            names.push(("PORT", port.as_str().unwrap().to_owned()));
            let mac = host.link_attribute("cni0.100", "/address");
            names.push(("MAC", mac.as_str().unwrap().to_owned()));
        }
        Attached {
            _host: host,
            container,
            run,
            names,
        }
    }

    fn named(&self, text: &str) -> String {
        let names = self.names.iter();
        names.fold(text.to_owned(), |text, (key, name)| text.replace(key, name))
    }

    /// CHECK fails after `commands`, and mentions `words`.
    #[track_caller]
    fn after(&self, commands: &[&str], words: &str) {
        for command in commands {
            namespace::run(&self.named(command));
        }
        let check = bridge().check(&self.container, &self.run.with_prev());
        check.expect_error(999).mentions(&self.named(words));
    }
}

/// Commands that cause drift, a part of CHECK's message, and commands that revert the drift
/// for the next one on the same host.
type Drift<'a> = (&'a [&'a str], &'a str, &'a [&'a str]);

#[track_caller]
fn each_is_named(keys: Value, drifts: &[Drift]) {
    let attached = Attached::new(keys);
    for (commands, words, restore) in drifts {
        attached.after(commands, words);
        for command in *restore {
            namespace::run(&attached.named(command));
        }
        if !restore.is_empty() {
            let check = bridge().check(&attached.container, &attached.run.with_prev());
            check.expect_ok();
        }
    }
}

#[test]
fn drift_of_the_port_is_named() {
    needs(&["bridge-vlan-filtering"]);
    let keys = json!({"vlan": 100, "vlanTrunk": [{"minID": 200, "maxID": 202}]});
    let native = "bridge vlan add dev VETH vid 100 pvid untagged";
    let drifts: &[Drift] = &[
        (
            &["bridge vlan del dev VETH vid 100"],
            "Interface VETH has no native vlan, configured is 100",
            &[native],
        ),
        (
            &["bridge vlan add dev VETH vid 101 pvid untagged"],
            "Interface VETH has the native vlan 101, configured is 100",
            &["bridge vlan del dev VETH vid 101", native],
        ),
        (
            &["bridge vlan add dev VETH vid 1 pvid untagged"],
            "Interface VETH has the native vlan 1, configured is 100",
            &["bridge vlan del dev VETH vid 1", native],
        ),
        (
            &["bridge vlan add dev VETH vid 100 untagged"],
            "Interface VETH has no native vlan, configured is 100",
            &[native],
        ),
        (
            &["bridge vlan add dev VETH vid 100 pvid"],
            "Interface VETH has the native vlan 100 tagged",
            &[native],
        ),
        (
            &["bridge vlan del dev VETH vid 201"],
            "Interface VETH is not in vlan 201 of its trunk",
            &["bridge vlan add dev VETH vid 201"],
        ),
        (
            &["bridge vlan add dev VETH vid 202 untagged"],
            "Interface VETH has vlan 202 of its trunk untagged",
            &["bridge vlan add dev VETH vid 202"],
        ),
        (
            &["bridge vlan add dev VETH vid 203"],
            "Interface VETH is in vlan 203, which is not configured",
            &["bridge vlan del dev VETH vid 203"],
        ),
        (
            &["ip link set cni0 type bridge vlan_filtering 0"],
            "Bridge interface cni0 does not filter by vlan",
            &["ip link set cni0 type bridge vlan_filtering 1"],
        ),
    ];
    each_is_named(keys, drifts);
}

#[test]
fn drift_of_the_gateway_is_named() {
    needs(&["bridge-vlan-filtering"]);
    let native = "bridge vlan add dev PORT vid 100 pvid untagged";
    let ipv4 = "ip addr add 10.1.0.1/24 dev cni0.100";
    let ipv6 = "ip addr add fd00:1::1/64 dev cni0.100 nodad";
    let drifts: &[Drift] = &[
        (
            &["ip addr del 10.1.0.1/24 dev cni0.100"],
            "gateway address 10.1.0.1/24 is not on vlan interface cni0.100",
            &[ipv4],
        ),
        (
            &["ip addr del fd00:1::1/64 dev cni0.100"],
            "gateway address fd00:1::1/64 is not on vlan interface cni0.100",
            &[ipv6],
        ),
        (
            &[
                "ip addr del 10.1.0.1/24 dev cni0.100",
                "ip addr add 10.1.0.1/24 dev cni0",
            ],
            "gateway address 10.1.0.1/24 is not on vlan interface cni0.100",
            &["ip addr del 10.1.0.1/24 dev cni0", ipv4],
        ),
        // The kernel deletes the IPv6 addresses of a link that is set down.
        (
            &["ip link set cni0.100 down"],
            "Interface cni0.100 is down",
            &["ip link set cni0.100 up", ipv6],
        ),
        (
            &["ip link set PORT down"],
            "Interface PORT is down",
            &["ip link set PORT up"],
        ),
        (
            &["bridge vlan del dev PORT vid 100"],
            "Interface PORT has no native vlan, configured is 100",
            &[native],
        ),
        (
            &["bridge vlan add dev PORT vid 7 pvid untagged"],
            "Interface PORT has the native vlan 7, configured is 100",
            &["bridge vlan del dev PORT vid 7", native],
        ),
        (
            &["bridge vlan add dev PORT vid 7"],
            "Interface PORT is in vlan 7, which is not configured",
            &["bridge vlan del dev PORT vid 7"],
        ),
        (
            &["ip link set PORT nomaster"],
            "Interface cni0.100 does not lead to bridge cni0: PORT is not its port",
            &[
                "ip link set PORT master cni0",
                "bridge vlan del dev PORT vid 1",
                native,
            ],
        ),
        (
            &["ip link set cni0.100 address 02:00:00:00:00:99"],
            "Interface cni0.100 Mac ",
            &["ip link set cni0.100 address MAC"],
        ),
        (
            &["ip link del cni0.100"],
            "Interface name cni0.100 not found",
            &[],
        ),
    ];
    each_is_named(json!({"vlan": 100, "isGateway": true}), drifts);
}

#[test]
fn differences_that_are_ignored() {
    needs(&["bridge-vlan-filtering"]);
    let attached = Attached::new(json!({"vlan": 100, "isGateway": true}));
    for command in [
        // Without gateway addresses the hardware address of a bridge follows its ports.
        "ip link set cni0 address 02:00:00:00:00:99",
        // Older releases of upstream leave ports in the default VLAN.
        "bridge vlan add dev VETH vid 1 untagged",
        "bridge vlan add dev cni0 vid 9 self",
    ] {
        namespace::run(&attached.named(command));
    }
    let check = bridge().check(&attached.container, &attached.run.with_prev());
    check.expect_ok();
    // Without `vlan` and `vlanTrunk` the VLANs of the port are not compared.
    let attached = Attached::new(json!({}));
    namespace::run(&attached.named("bridge vlan add dev VETH vid 9"));
    let check = bridge().check(&attached.container, &attached.run.with_prev());
    check.expect_ok();
}
