//! Chained plugins: addresses of one family or none, interfaces of others, and DEL in any order.

use serde_json::{Value, json};
use testkit::{Container, Node, merge};

use super::support::{attach_with, del, ip_in, ips, passes};
use crate::demand;
use crate::rig::Rig;
use crate::rule::{Only, Rule, must, runtime};
use crate::subject::Class;

const SPEC: &str = "spec 2: ADD";
const CHAINED: &[Only] = &[Only::Since("0.3.0"), Only::Classes(&[Class::Chained])];
const CHECKED: &[Only] = &[Only::Since("0.4.0"), Only::Classes(&[Class::Chained])];
const BY_ADDRESS: &[Only] = &[Only::Since("0.3.0"), Only::Plugins(&["portmap"])];

pub(crate) const RULES: &[Rule] = &[
    must(
        "chain.ipv4-only",
        SPEC,
        "A prevResult with IPv4 addresses only works",
        ipv4_only,
    )
    .only(CHECKED),
    must(
        "chain.ipv6-only",
        SPEC,
        "A prevResult with IPv6 addresses only works",
        ipv6_only,
    )
    .only(CHECKED),
    runtime(
        "chain.no-addresses",
        "containerd, Multus",
        "A prevResult without addresses works, or is refused and nothing changed",
        no_addresses,
    )
    .only(CHAINED),
    runtime(
        "chain.addresses-of-others",
        "spec 5: Success",
        "Addresses of other interfaces in prevResult get no rules",
        addresses_of_others,
    )
    .only(BY_ADDRESS),
    must(
        "chain.del-after-interface",
        "spec 2: DEL",
        "DEL succeeds after the interface is gone",
        del_after_interface,
    )
    .only(CHAINED),
    must(
        "chain.del-leaves-interface",
        "spec 3: Deleting an attachment",
        "DEL leaves the interface of the plugins before it alone",
        del_leaves_interface,
    )
    .only(CHAINED),
    must(
        "chain.add-leaves-interface",
        "spec 3: Adding an attachment",
        "ADD keeps name and addresses of the interface",
        add_leaves_interface,
    )
    .only(CHAINED),
    must(
        "chain.two-interfaces",
        "spec 3: Lifecycle & Ordering",
        "DEL of one interface of a container leaves the other alone",
        two_interfaces,
    )
    .only(CHECKED),
    must(
        "chain.loopback",
        SPEC,
        "Loopback passes prevResult on",
        loopback,
    )
    .only(&[Only::Since("0.3.0"), Only::Plugins(&["loopback"])]),
    runtime(
        "chain.loopback-addresses",
        "reference loopback",
        "The result of loopback has the addresses of lo",
        loopback_addresses,
    )
    .only(&[Only::Since("0.3.0"), Only::Plugins(&["loopback"])]),
];

/// ADD, CHECK and DEL with a prevResult of one family.
fn one_family(rig: &Rig, mark: char) {
    let pod = rig.pod("c1");
    let mut config = pod.config(rig);
    for (list, member) in [("ips", "address"), ("routes", "dst")] {
        let items = config["prevResult"][list].as_array_mut();
        let of_family = |item: &Value| {
            item[member]
                .as_str()
                .is_some_and(|text| text.contains(mark))
        };
        items.into_iter().for_each(|items| items.retain(of_family));
    }
    let attached = rig.attach_pod(pod, config);
    assert_eq!(ips(&attached.result).len(), 1, "{}", attached.result);
    passes(rig, &attached);
    del(rig, &attached);
}

fn ipv4_only(rig: &Rig) {
    one_family(rig, '.');
}

fn ipv6_only(rig: &Rig) {
    one_family(rig, ':');
}

fn no_addresses(rig: &Rig) {
    let pod = rig.pod("c1");
    let mut config = pod.config(rig);
    for list in ["ips", "routes"] {
        config["prevResult"][list] = json!([]);
    }
    // Chains that all containers share may be there from the first call on.
    rig.del(&pod.container, &config).expect_ok();
    let before = rig.state();
    let run = rig.add(&pod.container, &config);
    if run.is_ok() {
        rig.del(&pod.container, &run.with_prev()).expect_ok();
    } else {
        demand::error(run);
        rig.assert_back(&before);
    }
}

fn addresses_of_others(rig: &Rig) {
    let pod = rig.pod("c1");
    let mut config = pod.config(rig);
    let list = config["prevResult"]["ips"].as_array_mut();
    // Interface 0 is the host's end.
    let other = json!({"address": "203.0.113.77/24", "interface": 0});
    list.into_iter()
        .for_each(|list| list.insert(0, other.clone()));
    let attached = rig.attach_pod(pod, config);
    let rules = testkit::filters(&rig.host).join("\n");
    assert!(
        !rules.contains("203.0.113.77"),
        "an address of the host is in\n{rules}"
    );
    let own = ips(&attached.result).into_iter().nth(1).unwrap_or_default();
    assert!(
        rules.contains(&own),
        "{own} of the container is not in\n{rules}"
    );
}

fn del_after_interface(rig: &Rig) {
    let attached = rig.attach("c1");
    ip_in(rig, &attached, "link del IF");
    del(rig, &attached);
    del(rig, &attached);
}

/// Demands that the interface has the same addresses after `f`.
#[track_caller]
fn keeps_addresses(rig: &Rig, container: &Container, f: impl FnOnce()) {
    let addresses = || container.addresses(&rig.subject.if_name);
    let before = addresses();
    f();
    assert_eq!(addresses(), before, "addresses after (left) and before");
}

fn del_leaves_interface(rig: &Rig) {
    let attached = rig.attach("c1");
    keeps_addresses(rig, attached.container(), || del(rig, &attached));
}

fn add_leaves_interface(rig: &Rig) {
    let pod = rig.pod("c1");
    keeps_addresses(rig, &pod.container, || {
        demand::success(super::call(rig, "ADD", &pod).run());
    });
}

fn two_interfaces(rig: &Rig) {
    let attached = rig.attach("c1");
    let container = attached.container();
    rig.host
        .ip("link add other type veth peer name net1 netns c1");
    rig.host.ip("link set other up");
    for command in ["addr add 10.9.0.2/24 dev net1", "link set net1 up"] {
        container.ip(command);
    }
    let prev = json!({
        "cniVersion": rig.newest(),
        "interfaces": [{"name": "other"}, {"name": "net1", "sandbox": container.netns()}],
        "ips": [{"address": "10.9.0.2/24", "gateway": "10.9.0.1", "interface": 1}],
    });
    let mut config = merge(
        rig.config(),
        &json!({"name": "other-network", "prevResult": prev}),
    );
    if rig.subject.plugin == "tuning" {
        // A sysctl of the interface, since DEL of the other one may restore those of the container.
        config["sysctl"] = json!({"net.ipv4.conf.net1.arp_filter": "1"});
    }
    let run = rig.call("ADD", container, &config).ifname("net1").run();
    let config = run.expect_ok().with_prev();
    let other = |verb: &str| rig.call(verb, container, &config).ifname("net1").run();
    other("CHECK").expect_ok();
    del(rig, &attached);
    other("CHECK").expect_ok();
    other("DEL").expect_ok();
}

fn loopback(rig: &Rig) {
    let prev = json!({"cniVersion": rig.newest(), "interfaces": [{"name": "eth0"}],
                      "ips": [{"address": "192.0.2.7/24", "interface": 0}], "dns": {"domain": "example.org"}});
    let attached = attach_with(rig, "c1", &json!({"prevResult": prev}));
    for member in ["interfaces", "ips", "dns"] {
        assert_eq!(
            attached.result[member], prev[member],
            "{member} of the result (left) and of prevResult"
        );
    }
}

fn loopback_addresses(rig: &Rig) {
    let attached = rig.attach("c1");
    let ips = ips(&attached.result);
    assert!(
        ips.iter().any(|ip| ip == "127.0.0.1"),
        "{}",
        attached.result
    );
}
