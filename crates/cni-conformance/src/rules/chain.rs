//! Chained plugins: `prevResult` in, `prevResult` out, and DEL in any order.

use serde_json::{Value, json};
use testkit::{Node, merge};

use super::support::{attach, attach_with, del, ip_in, ips, passes};
use crate::demand;
use crate::rig::Rig;
use crate::rule::{Only, Rule, must, runtime, should};
use crate::subject::Class;

const SPEC: &str = "spec 2: ADD, parameter prevResult";
const CHAINED: &[Only] = &[Only::Since("0.3.0"), Only::Classes(&[Class::Chained])];
const CHECKED: &[Only] = &[Only::Since("0.4.0"), Only::Classes(&[Class::Chained])];
const BY_ADDRESS: &[Only] = &[Only::Since("0.3.0"), Only::Plugins(&["portmap"])];

pub(crate) const RULES: &[Rule] = &[
    must(
        "chain.addresses-passed-on",
        SPEC,
        "The result of a chained plugin has the addresses of prevResult",
        addresses_passed_on,
    )
    .only(CHAINED),
    must(
        "chain.routes-passed-on",
        SPEC,
        "The result of a chained plugin has the routes of prevResult",
        routes_passed_on,
    )
    .only(CHAINED),
    must(
        "chain.dns-passed-on",
        SPEC,
        "The result of a chained plugin has the DNS settings of prevResult",
        dns_passed_on,
    )
    .only(CHAINED),
    must(
        "chain.interfaces-passed-on",
        SPEC,
        "The result has the interfaces of prevResult, in their order, and new ones behind them",
        interfaces_passed_on,
    )
    .only(CHAINED),
    must(
        "chain.foreign-interfaces",
        SPEC,
        "Interfaces in prevResult that exist nowhere are passed on",
        foreign_interfaces,
    )
    .only(CHAINED),
    should(
        "chain.interface-details",
        "spec 5: interfaces",
        "mtu, socketPath and pciID of interfaces are passed on",
        interface_details,
    )
    .only(&[Only::Since("1.1.0"), Only::Classes(&[Class::Chained])]),
    should(
        "chain.route-details",
        "spec 5: routes",
        "mtu, advmss, priority, table and scope of routes are passed on",
        route_details,
    )
    .only(&[Only::Since("1.1.0"), Only::Classes(&[Class::Chained])]),
    must(
        "chain.version-of-result",
        SPEC,
        "The result has the version of the configuration, whatever plugins are before",
        version_of_result,
    )
    .only(CHAINED),
    must(
        "chain.missing-prev-result",
        "spec 2: ADD",
        "ADD without prevResult fails and changes nothing",
        missing_prev_result,
    )
    .only(CHAINED),
    must(
        "chain.unknown-keys",
        SPEC,
        "Unknown keys in prevResult do no harm",
        unknown_keys,
    )
    .only(CHAINED),
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
        "chain.null-lists",
        "Go runtimes",
        "Lists of prevResult that are null count as empty",
        null_lists,
    )
    .only(CHAINED),
    runtime(
        "chain.addresses-of-others",
        "spec 5: ips.interface",
        "Addresses of other interfaces in prevResult get no rules",
        addresses_of_others,
    )
    .only(BY_ADDRESS),
    must(
        "chain.del-without-prev-result",
        "spec 2: DEL",
        "DEL without prevResult succeeds",
        del_without_prev_result,
    )
    .only(CHAINED),
    runtime(
        "chain.del-without-prev-result-is-complete",
        "kubelet",
        "DEL without prevResult leaves nothing on the host",
        del_without_is_complete,
    )
    .only(CHAINED),
    must(
        "chain.del-after-interface",
        "spec 2: DEL",
        "DEL succeeds after the interface is gone",
        del_after_interface,
    )
    .only(CHAINED),
    must(
        "chain.del-leaves-interface",
        "spec 3: deleting an attachment",
        "DEL leaves the interface of the plugins before it alone",
        del_leaves_interface,
    )
    .only(CHAINED),
    must(
        "chain.add-leaves-interface",
        "spec 3: adding an attachment",
        "ADD keeps name and addresses of the interface",
        add_leaves_interface,
    )
    .only(CHAINED),
    must(
        "chain.two-interfaces",
        "spec 3: lifecycle",
        "DEL of one interface of a container leaves the other alone",
        two_interfaces,
    )
    .only(CHECKED),
    must(
        "chain.add-again-after-del",
        "spec 3: lifecycle",
        "The same attachment can be added after DEL",
        add_again,
    )
    .only(CHECKED),
    must(
        "chain.loopback",
        SPEC,
        "Loopback passes prevResult on",
        loopback,
    )
    .only(&[Only::Since("0.3.0"), Only::Plugins(&["loopback"])]),
    must(
        "chain.loopback-addresses",
        "upstream loopback",
        "The result of loopback has the addresses of lo",
        loopback_addresses,
    )
    .only(&[Only::Since("0.3.0"), Only::Plugins(&["loopback"])]),
];

/// Runs ADD with `extra` merged into the prevResult, and returns the prevResult and the result.
#[track_caller]
fn passed(rig: &Rig, extra: &Value) -> (Value, Value) {
    let pod = rig.pod("c1");
    let mut config = pod.config(rig);
    config["prevResult"] = merge(config["prevResult"].clone(), extra);
    let prev = config["prevResult"].clone();
    (prev, attach(rig, pod, config).result)
}

/// Demands that a member of the result is that of prevResult.
#[track_caller]
fn same(rig: &Rig, member: &str, extra: &Value) {
    let (prev, result) = passed(rig, extra);
    assert_eq!(
        result[member], prev[member],
        "{member} of the result (left) and of prevResult"
    );
}

fn addresses_passed_on(rig: &Rig) {
    same(rig, "ips", &json!({}))
}

fn routes_passed_on(rig: &Rig) {
    same(rig, "routes", &json!({}))
}

fn dns_passed_on(rig: &Rig) {
    let dns = json!({"nameservers": ["192.0.2.53", "2001:db8::53"], "domain": "example.org",
                     "search": ["example.org", "example.net"], "options": ["ndots:2"]});
    same(rig, "dns", &json!({"dns": dns}))
}

/// The names and sandboxes of interfaces.
fn names(result: &Value) -> Vec<(&Value, &Value)> {
    let links = result["interfaces"].as_array().into_iter().flatten();
    links
        .map(|link| (&link["name"], &link["sandbox"]))
        .collect()
}

fn interfaces_passed_on(rig: &Rig) {
    let (prev, result) = passed(rig, &json!({}));
    let (before, after) = (names(&prev), names(&result));
    assert!(
        after.starts_with(&before),
        "interfaces {before:?} of prevResult, {after:?} of the result"
    );
}

fn foreign_interfaces(rig: &Rig) {
    let pod = rig.pod("c1");
    let mut config = pod.config(rig);
    let links = config["prevResult"]["interfaces"].as_array_mut();
    let other = json!({"name": "elsewhere0", "mac": "02:00:00:00:00:01"});
    links
        .into_iter()
        .for_each(|links| links.push(other.clone()));
    let attached = attach(rig, pod, config);
    let links = attached.result["interfaces"].as_array();
    let found = links.is_some_and(|links| links.get(2) == Some(&other));
    assert!(
        found,
        "{other} is not the third interface of {}",
        attached.result
    );
    del(rig, &attached);
}

fn interface_details(rig: &Rig) {
    let pod = rig.pod("c1");
    let mut config = pod.config(rig);
    let details = json!({"socketPath": "/run/vhost.sock", "pciID": "0000:00:1f.6"});
    let first = &mut config["prevResult"]["interfaces"][0];
    *first = merge(merge(first.clone(), &details), &json!({"mtu": 1500}));
    let expected = first.clone();
    let attached = attach(rig, pod, config);
    assert_eq!(
        attached.result["interfaces"][0], expected,
        "the first interface (left) and that of prevResult"
    );
}

fn route_details(rig: &Rig) {
    let route = json!({"dst": "198.51.100.0/24", "gw": "10.8.0.1", "mtu": 1300, "advmss": 1200,
                       "priority": 50, "table": 77, "scope": 0});
    same(rig, "routes", &json!({"routes": [route]}))
}

fn version_of_result(rig: &Rig) {
    for version in rig.versions_from("0.3.0") {
        let attached = rig.attach_in(&format!("c{version}"), version);
        assert_eq!(attached.result["cniVersion"], version);
    }
}

fn missing_prev_result(rig: &Rig) {
    let pod = rig.pod("c1");
    let before = rig.state();
    demand::error(rig.add(&pod.container, &rig.config()));
    rig.assert_back(&before);
}

fn unknown_keys(rig: &Rig) {
    let (_, result) = passed(
        rig,
        &json!({"vendor.example/key": {"a": [1, null]}, "code": 7}),
    );
    assert!(result["ips"].is_array(), "{result}");
}

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
    let attached = attach(rig, pod, config);
    assert_eq!(ips(&attached.result).len(), 1, "{}", attached.result);
    passes(rig, &attached);
    del(rig, &attached);
}

fn ipv4_only(rig: &Rig) {
    one_family(rig, '.')
}

fn ipv6_only(rig: &Rig) {
    one_family(rig, ':')
}

/// ADD works, or is refused and changes nothing.
fn accepted_or_refused(rig: &Rig, change: &Value) {
    let pod = rig.pod("c1");
    let mut config = pod.config(rig);
    config["prevResult"] = merge(config["prevResult"].clone(), change);
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

fn no_addresses(rig: &Rig) {
    accepted_or_refused(rig, &json!({"ips": [], "routes": []}))
}

fn null_lists(rig: &Rig) {
    let pod = rig.pod("c1");
    let mut config = pod.config(rig);
    config["prevResult"]["routes"] = Value::Null;
    config["prevResult"]["dns"] = Value::Null;
    del(rig, &attach(rig, pod, config));
}

fn addresses_of_others(rig: &Rig) {
    let pod = rig.pod("c1");
    let mut config = pod.config(rig);
    let list = config["prevResult"]["ips"].as_array_mut();
    // Interface 0 is the host's end.
    let other = json!({"address": "203.0.113.77/24", "interface": 0});
    list.into_iter()
        .for_each(|list| list.insert(0, other.clone()));
    let attached = attach(rig, pod, config);
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

fn del_without_prev_result(rig: &Rig) {
    let attached = rig.attach("c1");
    rig.del(attached.container(), &rig.config()).expect_ok();
}

fn del_without_is_complete(rig: &Rig) {
    rig.warmed_up();
    let pod = rig.pod("c1");
    let before = rig.state().without_node("c1");
    let config = pod.config(rig);
    let attached = attach(rig, pod, config);
    rig.del(attached.container(), &rig.config()).expect_ok();
    before.assert_same(&rig.state().without_node("c1"));
}

fn del_after_interface(rig: &Rig) {
    let attached = rig.attach("c1");
    ip_in(rig, &attached, "link del IF");
    del(rig, &attached);
    del(rig, &attached);
}

fn del_leaves_interface(rig: &Rig) {
    let attached = rig.attach("c1");
    let name = &rig.subject.if_name;
    let addresses = attached.container().addresses(name);
    del(rig, &attached);
    assert_eq!(
        attached.container().addresses(name),
        addresses,
        "addresses after DEL (left) and before"
    );
}

fn add_leaves_interface(rig: &Rig) {
    let pod = rig.pod("c1");
    let name = &rig.subject.if_name;
    let addresses = pod.container.addresses(name);
    let config = pod.config(rig);
    let attached = attach(rig, pod, config);
    assert_eq!(
        attached.container().addresses(name),
        addresses,
        "addresses after ADD (left) and before"
    );
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

fn add_again(rig: &Rig) {
    let attached = rig.attach("c1");
    del(rig, &attached);
    let config = attached.config.clone();
    let again = attach(rig, attached.pod, config);
    passes(rig, &again);
    del(rig, &again);
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
