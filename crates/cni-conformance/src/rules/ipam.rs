//! Allocation of addresses.

use serde_json::{Value, json};
use testkit::merge;

use super::support::{add_second, attach_with, cidr, del, del_second, ip, ips, is_intact};
use crate::demand;
use crate::rig::{Attached, Rig};
use crate::rule::{Only, Rule, must, runtime};

const SPEC: &str = "spec 5: Success";
const UPSTREAM: &str = "reference host-local";
const HOST_LOCAL: &[Only] = &[Only::Since("0.3.0"), Only::Plugins(&["host-local"])];
const STATIC: &[Only] = &[Only::Since("0.3.0"), Only::Plugins(&["static"])];
const BOTH: &[Only] = &[
    Only::Since("0.3.0"),
    Only::Plugins(&["host-local", "static"]),
];

pub(crate) const RULES: &[Rule] = &[
    must(
        "ipam.without-namespace",
        SPEC,
        "An IPAM plugin does not require that the interface exists",
        without_interface,
    )
    .only(BOTH),
    must(
        "ipam.prev-result-ignored",
        SPEC,
        "A prevResult in the configuration is ignored",
        prev_result,
    )
    .only(BOTH),
    runtime(
        "ipam.routes",
        UPSTREAM,
        "The configured routes are in the result, in their order",
        routes,
    )
    .only(BOTH),
    runtime(
        "ipam.dns-of-static",
        "reference static",
        "The configured DNS settings are in the result",
        dns_of_static,
    )
    .only(STATIC),
    runtime(
        "ipam.resolv-conf",
        UPSTREAM,
        "The settings of the file resolvConf are in the result",
        resolv_conf,
    )
    .only(HOST_LOCAL),
    runtime(
        "ipam.gateway",
        UPSTREAM,
        "The gateway is the first address of the subnet, and is not allocated",
        gateway,
    )
    .only(HOST_LOCAL),
    runtime(
        "ipam.configured-gateway",
        UPSTREAM,
        "A configured gateway is not allocated",
        configured_gateway,
    )
    .only(HOST_LOCAL),
    runtime(
        "ipam.network-and-broadcast",
        UPSTREAM,
        "Network and broadcast address are not allocated",
        network_and_broadcast,
    )
    .only(HOST_LOCAL),
    runtime(
        "ipam.range",
        UPSTREAM,
        "Addresses are between rangeStart and rangeEnd",
        range,
    )
    .only(HOST_LOCAL),
    runtime(
        "ipam.several-ranges",
        UPSTREAM,
        "When the first range of a set is used up, the next one follows",
        several_ranges,
    )
    .only(HOST_LOCAL),
    runtime(
        "ipam.exhausted",
        UPSTREAM,
        "ADD fails when no address is free",
        exhausted,
    )
    .only(HOST_LOCAL),
    runtime(
        "ipam.released",
        UPSTREAM,
        "DEL releases the address for others",
        released,
    )
    .only(HOST_LOCAL),
    runtime(
        "ipam.not-reused-at-once",
        UPSTREAM,
        "A released address is not allocated again before others",
        not_reused,
    )
    .only(HOST_LOCAL),
    runtime(
        "ipam.duplicate",
        UPSTREAM,
        "A second address for the same attachment is refused",
        duplicate,
    )
    .only(HOST_LOCAL),
    runtime(
        "ipam.second-interface",
        UPSTREAM,
        "Another interface of the container gets another address",
        second_interface,
    )
    .only(HOST_LOCAL),
    runtime(
        "ipam.other-network",
        UPSTREAM,
        "Networks allocate independently of each other",
        other_network,
    )
    .only(HOST_LOCAL),
    runtime(
        "ipam.files",
        "reference host-local, mixed use",
        "The reservation is a file named like the address, with container and interface",
        files,
    )
    .only(HOST_LOCAL),
    runtime(
        "ipam.static",
        "reference static",
        "The configured addresses and gateways are in the result",
        static_addresses,
    )
    .only(STATIC),
    runtime(
        "ipam.static-of-arguments",
        "reference static",
        "IP and GATEWAY in CNI_ARGS are in the result",
        static_of_arguments,
    )
    .only(STATIC),
    runtime(
        "ipam.static-of-runtime",
        "Multus",
        "runtimeConfig.ips replace the configured addresses",
        static_of_runtime,
    )
    .only(STATIC),
    runtime(
        "ipam.static-check",
        "reference static",
        "CHECK of static succeeds with the result of a main plugin",
        static_check,
    )
    .only(&[Only::Since("0.4.0"), Only::Plugins(&["static"])]),
];

/// The keys of a range of 10.7.1.0/24.
fn of_range(keys: &Value) -> Value {
    let range = merge(json!({"subnet": "10.7.1.0/24"}), keys);
    json!({"ipam": {"type": "host-local", "ranges": [[range]]}})
}

fn without_interface(rig: &Rig) {
    let pod = rig.pod("c1");
    let call = rig
        .call("ADD", &pod.container, &pod.config(rig))
        .ifname("nowhere0");
    demand::result(&call.run());
}

fn prev_result(rig: &Rig) {
    let prev = json!({"cniVersion": rig.newest(), "interfaces": [{"name": "x"}], "ips": [{"address": "192.0.2.7/24"}]});
    let attached = attach_with(rig, "c1", &json!({"prevResult": prev}));
    assert!(
        !ips(&attached.result).contains(&"192.0.2.7".to_owned()),
        "{}",
        attached.result
    );
}

fn routes(rig: &Rig) {
    let list = json!([{"dst": "198.51.100.0/24", "gw": "10.7.0.9"}, {"dst": "::/0"}, {"dst": "0.0.0.0/0"}]);
    let mut ipam = rig.subject.config["ipam"].clone();
    ipam["routes"] = list.clone();
    let attached = attach_with(rig, "c1", &json!({"ipam": ipam}));
    assert_eq!(attached.result["routes"], list);
}

fn dns_of_static(rig: &Rig) {
    let dns = json!({"nameservers": ["192.0.2.53"], "domain": "example.org", "search": ["example.org"], "options": ["ndots:2"]});
    let mut ipam = rig.subject.config["ipam"].clone();
    ipam["dns"] = dns.clone();
    let attached = attach_with(rig, "c1", &json!({"ipam": ipam}));
    assert_eq!(attached.result["dns"], dns);
}

fn resolv_conf(rig: &Rig) {
    let text =
        "# comment\nnameserver 192.0.2.53\nsearch example.org example.net\noptions ndots:2\n";
    let mut ipam = rig.subject.config["ipam"].clone();
    ipam["resolvConf"] = json!(rig.host.write("resolv.conf", text));
    let attached = attach_with(rig, "c1", &json!({"ipam": ipam}));
    let dns = &attached.result["dns"];
    assert_eq!(dns["nameservers"], json!(["192.0.2.53"]));
    assert_eq!(dns["search"], json!(["example.org", "example.net"]));
    assert_eq!(dns["options"], json!(["ndots:2"]));
}

fn gateway(rig: &Rig) {
    let attached = attach_with(rig, "c1", &of_range(&json!({})));
    assert_eq!(attached.result["ips"][0]["gateway"], "10.7.1.1");
    assert_eq!(ips(&attached.result), ["10.7.1.2"]);
}

/// Attaches containers until ADD fails, and returns the addresses.
#[track_caller]
fn all_of(rig: &Rig, keys: &Value) -> Vec<String> {
    let (mut held, mut pods) = (Vec::new(), Vec::new());
    for number in 0..10 {
        let pod = rig.pod(&format!("c{number}"));
        let config = merge(pod.config(rig), keys);
        let run = rig.add(&pod.container, &config);
        if !run.is_ok() {
            demand::error(run);
            return held;
        }
        held.extend(ips(&run.json()));
        // The address of a container that is gone may be allocated again.
        pods.push(pod);
    }
    panic!("more addresses than the range has: {held:?}")
}

fn configured_gateway(rig: &Rig) {
    let keys = of_range(
        &json!({"rangeStart": "10.7.1.10", "rangeEnd": "10.7.1.12", "gateway": "10.7.1.11"}),
    );
    assert_eq!(all_of(rig, &keys), ["10.7.1.10", "10.7.1.12"]);
}

fn network_and_broadcast(rig: &Rig) {
    let keys = of_range(&json!({"subnet": "10.7.1.0/29"}));
    let expected: Vec<String> = (2..7).map(|n| format!("10.7.1.{n}")).collect();
    assert_eq!(all_of(rig, &keys), expected);
}

fn range(rig: &Rig) {
    let keys = of_range(&json!({"rangeStart": "10.7.1.20", "rangeEnd": "10.7.1.22"}));
    assert_eq!(all_of(rig, &keys), ["10.7.1.20", "10.7.1.21", "10.7.1.22"]);
}

fn several_ranges(rig: &Rig) {
    let range = |start: &str, end: &str| json!({"subnet": "10.7.1.0/24", "rangeStart": start, "rangeEnd": end});
    let set = json!([[
        range("10.7.1.20", "10.7.1.21"),
        range("10.7.1.40", "10.7.1.40")
    ]]);
    let keys = json!({"ipam": {"type": "host-local", "ranges": set}});
    assert_eq!(all_of(rig, &keys), ["10.7.1.20", "10.7.1.21", "10.7.1.40"]);
}

/// The keys of a range with one address, and an attachment that has it.
fn full(rig: &Rig) -> (Value, Attached) {
    let keys = of_range(&json!({"rangeStart": "10.7.1.20", "rangeEnd": "10.7.1.20"}));
    let holder = attach_with(rig, "holder", &keys);
    (keys, holder)
}

fn exhausted(rig: &Rig) {
    let (keys, holder) = full(rig);
    let pod = rig.pod("c1");
    let error = demand::error(rig.add(&pod.container, &merge(pod.config(rig), &keys)));
    error.mentions("10.7.1.20");
    assert_eq!(ips(&holder.result), ["10.7.1.20"]);
}

fn released(rig: &Rig) {
    let (keys, holder) = full(rig);
    del(rig, &holder);
    assert_eq!(ips(&attach_with(rig, "c1", &keys).result), ["10.7.1.20"]);
}

fn not_reused(rig: &Rig) {
    let first = rig.attach("c1");
    let address = ip(&first, '.');
    del(rig, &first);
    assert_ne!(ip(&rig.attach("c2"), '.'), address);
}

fn duplicate(rig: &Rig) {
    let attached = rig.attach("c1");
    demand::error(rig.add(attached.container(), &attached.config));
    is_intact(rig, &attached);
}

fn second_interface(rig: &Rig) {
    let attached = rig.attach("c1");
    let second = demand::success(add_second(rig, &attached));
    assert_ne!(ips(&second.json()), ips(&attached.result));
    del(rig, &attached);
    del_second(rig, &attached, &second);
}

fn other_network(rig: &Rig) {
    let keys = of_range(&json!({"rangeStart": "10.7.1.20", "rangeEnd": "10.7.1.20"}));
    let _one = attach_with(rig, "c1", &keys);
    let other = merge(keys, &json!({"name": "other-network"}));
    assert_eq!(ips(&attach_with(rig, "c2", &other).result), ["10.7.1.20"]);
}

fn files(rig: &Rig) {
    let attached = rig.attach("c1");
    let network = rig.subject.config["name"].as_str().unwrap_or_default();
    for address in ips(&attached.result) {
        let file = format!("/var/lib/cni/networks/{network}/{address}");
        let text = std::fs::read_to_string(&file).unwrap_or_else(|err| panic!("{file}: {err}"));
        assert_eq!(text, format!("c1\r\n{}", rig.subject.if_name), "{file}");
    }
}

fn static_addresses(rig: &Rig) {
    let list = json!([{"address": "10.7.0.5/16", "gateway": "10.7.0.1"}, {"address": "fd00:7::5/64", "gateway": "fd00:7::1"}]);
    let keys = json!({"ipam": {"type": "static", "addresses": list}});
    let result = attach_with(rig, "c1", &keys).result;
    for (number, wanted) in list.as_array().into_iter().flatten().enumerate() {
        for key in ["address", "gateway"] {
            assert_eq!(result["ips"][number][key], wanted[key], "{result}");
        }
    }
}

fn static_of_arguments(rig: &Rig) {
    let pod = rig.pod("c1");
    let config = merge(pod.config(rig), &json!({"ipam": {"type": "static"}}));
    let call = rig.call("ADD", &pod.container, &config);
    let run = call
        .args("IgnoreUnknown=1;IP=10.7.0.88/16;GATEWAY=10.7.0.2")
        .run();
    let result = demand::result(&run);
    assert_eq!(result["ips"][0]["address"], "10.7.0.88/16", "{result}");
    assert_eq!(result["ips"][0]["gateway"], "10.7.0.2", "{result}");
}

fn static_of_runtime(rig: &Rig) {
    let keys = json!({"runtimeConfig": {"ips": ["10.7.0.99/16", "fd00:7::99/64"]}});
    let attached = attach_with(rig, "c1", &keys);
    assert_eq!(
        (cidr(&attached, '.').as_str(), cidr(&attached, ':').as_str()),
        ("10.7.0.99/16", "fd00:7::99/64")
    );
}

fn static_check(rig: &Rig) {
    let pod = rig.pod("c1");
    let config = pod.config(rig);
    let mut attached = rig.attach_pod(pod, config);
    attached.result["interfaces"] =
        json!([{"name": "eth0", "sandbox": attached.container().netns()}]);
    attached.result["ips"][0]["interface"] = json!(0);
    let config = merge(
        attached.config.clone(),
        &json!({"prevResult": attached.result}),
    );
    demand::success(rig.check(attached.container(), &config));
}
