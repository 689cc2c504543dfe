//! The form of results in each version of the specification.

use std::net::IpAddr;

use serde_json::Value;
use testkit::Container;

use super::support::call;
use crate::rig::Rig;
use crate::rule::{Only, Rule, must};
use crate::subject::Class;
use crate::version::ordinal;

const SUCCESS: &str = "spec 5: Success";
const OLD: &str = "spec 0.2.0: Result";
const LISTS: &[Only] = &[Only::Since("0.3.0")];
const ATTACHES: &[Only] = &[
    Only::Classes(&[Class::Main, Class::Chained]),
    Only::Since("0.3.0"),
];
const MAIN: &[Only] = &[Only::Classes(&[Class::Main]), Only::Since("0.3.0")];
const IPAM: &[Only] = &[Only::Classes(&[Class::Ipam]), Only::Since("0.3.0")];

pub(crate) const RULES: &[Rule] = &[
    must(
        "shapes.old-addresses",
        OLD,
        "Results up to 0.2.0 have their addresses in ip4 and ip6",
        old_addresses,
    )
    .only(&[
        Only::Until("0.2.0"),
        Only::Classes(&[Class::Main, Class::Ipam]),
        Only::Except(&["tap", "dummy"]),
    ]),
    must(
        "shapes.old-has-no-lists",
        OLD,
        "Results up to 0.2.0 have neither ips nor interfaces",
        old_has_no_lists,
    )
    .only(&[
        Only::Until("0.2.0"),
        Only::Classes(&[Class::Main, Class::Ipam]),
    ]),
    must(
        "shapes.no-old-members",
        SUCCESS,
        "Results from 0.3.0 on have neither ip4 nor ip6",
        no_old_members,
    )
    .only(LISTS),
    must(
        "shapes.lists",
        SUCCESS,
        "interfaces, ips and routes are lists of objects, or missing",
        lists,
    )
    .only(LISTS),
    must(
        "shapes.ip-address",
        SUCCESS,
        "Each entry of ips has an address with the length of its prefix",
        ip_address,
    )
    .only(LISTS),
    must(
        "shapes.ip-version",
        "spec 0.4.0: Result",
        "Each entry of ips has the version 4 or 6 of its address from 0.3.0 to 0.4.0",
        ip_version,
    )
    .only(&[Only::Since("0.3.0"), Only::Until("0.4.0")]),
    must(
        "shapes.no-ip-version",
        SUCCESS,
        "Entries of ips have no version from 1.0.0 on",
        no_ip_version,
    )
    .only(&[Only::Since("1.0.0")]),
    must(
        "shapes.gateway",
        SUCCESS,
        "The gateway of an entry of ips is an address of the same family",
        gateway,
    )
    .only(LISTS),
    must(
        "shapes.interface-index",
        SUCCESS,
        "The member interface of an entry of ips is the index of an interface",
        interface_index,
    )
    .only(ATTACHES),
    must(
        "shapes.interface-of-address",
        SUCCESS,
        "Addresses of the container refer to an interface in its namespace",
        interface_of_address,
    )
    .only(MAIN),
    must(
        "shapes.interface-name",
        SUCCESS,
        "Each interface has a name that the kernel accepts",
        interface_name,
    )
    .only(ATTACHES),
    must(
        "shapes.interface-mac",
        SUCCESS,
        "The mac of an interface is a hardware address",
        interface_mac,
    )
    .only(ATTACHES),
    must(
        "shapes.interface-mtu",
        SUCCESS,
        "The mtu of an interface is a positive number, or missing",
        interface_mtu,
    )
    .only(ATTACHES),
    must(
        "shapes.has-interface",
        SUCCESS,
        "The result of a plugin that makes an interface has it under the name in CNI_IFNAME",
        has_interface,
    )
    .only(MAIN),
    must(
        "shapes.sandbox",
        SUCCESS,
        "The sandbox of the container's interface is CNI_NETNS",
        sandbox,
    )
    .only(MAIN),
    must(
        "shapes.ipam-has-no-interfaces",
        "spec 4: Plugin Delegation",
        "The result of an IPAM plugin has no interfaces",
        ipam_has_no_interfaces,
    )
    .only(IPAM),
    must(
        "shapes.ipam-has-no-index",
        "spec 4: Plugin Delegation",
        "The addresses of an IPAM plugin's result have no member interface",
        ipam_has_no_index,
    )
    .only(IPAM),
    must(
        "shapes.ipam-has-address",
        "spec 4: Plugin Delegation",
        "The result of an IPAM plugin has an address",
        ipam_has_address,
    )
    .only(IPAM),
    must(
        "shapes.route-destination",
        SUCCESS,
        "The dst of a route is an address with the length of its prefix",
        route_destination,
    )
    .only(LISTS),
    must(
        "shapes.route-gateway",
        SUCCESS,
        "The gw of a route is an address of the family of dst, or missing",
        route_gateway,
    )
    .only(LISTS),
    must(
        "shapes.route-numbers",
        SUCCESS,
        "mtu, advmss, priority, table and scope of a route are numbers, or missing",
        route_numbers,
    )
    .only(LISTS),
    must(
        "shapes.dns",
        SUCCESS,
        "The member dns has lists of strings and a string, or is missing",
        dns,
    )
    .only(LISTS),
    must(
        "shapes.no-null",
        SUCCESS,
        "No list of a result has the element null",
        no_null,
    )
    .only(LISTS),
];

/// Checks the result of ADD in each version from `oldest` to `newest`.
#[track_caller]
fn each(rig: &Rig, oldest: &str, newest: &str, check: impl Fn(&Value, &Container)) {
    for version in rig.attaching_versions() {
        if ordinal(version) < ordinal(oldest) || ordinal(version) > ordinal(newest) {
            continue;
        }
        let attached = rig.attach_in("c1", version);
        check(&attached.result, attached.container());
        // Whether it succeeds is another rule.
        call(rig, "DEL", &attached).run();
    }
}

/// Checks each element of a list in the results from 0.3.0 on.
#[track_caller]
fn each_of(rig: &Rig, list: &str, what: &str, is_met: impl Fn(&Value) -> bool) {
    each(rig, "0.3.0", "9.9.9", |result, _| {
        for element in super::elements(result, list) {
            assert!(is_met(element), "{what}: {element}\nin {result}");
        }
    });
}

/// The address in text like 10.0.0.1/24.
fn cidr(text: &Value) -> Option<IpAddr> {
    let (address, length) = text.as_str()?.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    (length.parse::<u8>().ok()? <= longest).then_some(address)
}

/// Whether `text` is an address of the family of `other`, or nothing.
fn is_of_family(text: Option<&Value>, other: &Value) -> bool {
    let Some(text) = text else {
        return true;
    };
    let address: Option<IpAddr> = text.as_str().and_then(|text| text.parse().ok());
    address.is_some_and(|address| {
        cidr(other).is_some_and(|other| other.is_ipv4() == address.is_ipv4())
    })
}

fn old_addresses(rig: &Rig) {
    each(rig, "0.1.0", "0.2.0", |result, _| {
        let address = |key: &str| cidr(&result[key]["ip"]);
        let families = [("ip4", true), ("ip6", false)];
        let mut found = families
            .iter()
            .filter_map(|(key, is_v4)| Some((address(key)?, *is_v4)))
            .peekable();
        assert!(
            found.peek().is_some(),
            "neither ip4 nor ip6 with an ip: {result}"
        );
        assert!(
            found.all(|(address, is_v4)| address.is_ipv4() == is_v4),
            "another family: {result}"
        );
    });
}

fn old_has_no_lists(rig: &Rig) {
    each(rig, "0.1.0", "0.2.0", |result, _| {
        for key in ["ips", "interfaces"] {
            assert!(result.get(key).is_none(), "a result with {key}: {result}");
        }
    });
}

fn no_old_members(rig: &Rig) {
    each(rig, "0.3.0", "9.9.9", |result, _| {
        for key in ["ip4", "ip6"] {
            assert!(result.get(key).is_none(), "a result with {key}: {result}");
        }
    });
}

fn lists(rig: &Rig) {
    each(rig, "0.3.0", "9.9.9", |result, _| {
        for key in ["interfaces", "ips", "routes"] {
            let is_list = |value: &Value| {
                value
                    .as_array()
                    .is_some_and(|list| list.iter().all(Value::is_object))
            };
            assert!(
                result.get(key).is_none_or(is_list),
                "{key} is not a list of objects: {result}"
            );
        }
    });
}

fn ip_address(rig: &Rig) {
    each_of(rig, "ips", "no address with a prefix", |ip| {
        cidr(&ip["address"]).is_some()
    });
}

fn ip_version(rig: &Rig) {
    each(rig, "0.3.0", "0.4.0", |result, _| {
        for ip in super::elements(result, "ips") {
            let expected =
                cidr(&ip["address"]).map(|address| if address.is_ipv4() { "4" } else { "6" });
            assert!(
                ip["version"].as_str() == expected,
                "another version: {ip}\nin {result}"
            );
        }
    });
}

fn no_ip_version(rig: &Rig) {
    each(rig, "1.0.0", "9.9.9", |result, _| {
        for ip in super::elements(result, "ips") {
            assert!(ip.get("version").is_none(), "a version: {ip}\nin {result}");
        }
    });
}

fn gateway(rig: &Rig) {
    each_of(rig, "ips", "not a gateway of the family", |ip| {
        is_of_family(ip.get("gateway"), &ip["address"])
    });
}

fn interface_index(rig: &Rig) {
    each(rig, "0.3.0", "9.9.9", |result, _| {
        let count = super::elements(result, "interfaces").count() as u64;
        for ip in super::elements(result, "ips") {
            let is_index = |index: &Value| index.as_u64().is_some_and(|index| index < count);
            assert!(
                ip.get("interface").is_none_or(is_index),
                "no index of {count} interfaces: {ip}\nin {result}"
            );
        }
    });
}

fn interface_of_address(rig: &Rig) {
    each(rig, "0.3.0", "9.9.9", |result, container| {
        for ip in super::elements(result, "ips") {
            let index = ip["interface"]
                .as_u64()
                .and_then(|index| usize::try_from(index).ok());
            let interface = index.map(|index| &result["interfaces"][index]);
            assert!(
                interface.is_some_and(|interface| is_inside(interface, container)),
                "an address without an interface in the namespace: {ip}\nin {result}"
            );
        }
    });
}

fn is_inside(interface: &Value, container: &Container) -> bool {
    interface["sandbox"].as_str() == container.netns().to_str()
}

fn interface_name(rig: &Rig) {
    each_of(rig, "interfaces", "no name of an interface", |interface| {
        let name = interface["name"].as_str().unwrap_or_default();
        (1..=15).contains(&name.len()) && !name.contains(['/', ':', ' '])
    });
}

fn interface_mac(rig: &Rig) {
    each_of(rig, "interfaces", "no hardware address", |interface| {
        let is_mac = |mac: &Value| {
            let mut parts = mac.as_str().unwrap_or_default().split(':');
            let count = parts.clone().count();
            [6, 8, 20].contains(&count)
                && parts.all(|part| part.len() == 2 && u8::from_str_radix(part, 16).is_ok())
        };
        interface.get("mac").is_none_or(is_mac)
    });
}

fn interface_mtu(rig: &Rig) {
    each_of(rig, "interfaces", "no MTU", |interface| {
        interface
            .get("mtu")
            .is_none_or(|mtu| mtu.as_u64().is_some_and(|mtu| mtu > 0))
    });
}

fn has_interface(rig: &Rig) {
    each(rig, "0.3.0", "9.9.9", |result, container| {
        let mut interfaces = super::elements(result, "interfaces");
        let name = &rig.subject.if_name;
        let is_own =
            |interface: &Value| interface["name"] == **name && is_inside(interface, container);
        assert!(
            interfaces.any(is_own),
            "no interface {name} in the namespace: {result}"
        );
    });
}

fn sandbox(rig: &Rig) {
    each(rig, "0.3.0", "9.9.9", |result, container| {
        for interface in super::elements(result, "interfaces") {
            let sandbox = interface["sandbox"].as_str().unwrap_or_default();
            assert!(
                sandbox.is_empty() || is_inside(interface, container),
                "another sandbox than {}: {interface}",
                container.netns().display()
            );
        }
    });
}

fn ipam_has_no_interfaces(rig: &Rig) {
    each(rig, "0.3.0", "9.9.9", |result, _| {
        assert!(
            super::elements(result, "interfaces").next().is_none(),
            "interfaces: {result}"
        );
    });
}

fn ipam_has_no_index(rig: &Rig) {
    each_of(rig, "ips", "a member interface", |ip| {
        ip.get("interface").is_none()
    });
}

fn ipam_has_address(rig: &Rig) {
    each(rig, "0.3.0", "9.9.9", |result, _| {
        assert!(
            super::elements(result, "ips").next().is_some(),
            "no ips: {result}"
        );
    });
}

fn route_destination(rig: &Rig) {
    each_of(rig, "routes", "no destination", |route| {
        cidr(&route["dst"]).is_some()
    });
}

fn route_gateway(rig: &Rig) {
    each_of(rig, "routes", "no gateway of the family", |route| {
        is_of_family(route.get("gw"), &route["dst"])
    });
}

fn route_numbers(rig: &Rig) {
    let keys = ["mtu", "advmss", "priority", "table", "scope"];
    each_of(rig, "routes", "no number", |route| {
        keys.iter()
            .all(|key| route.get(key).is_none_or(Value::is_u64))
    });
}

fn dns(rig: &Rig) {
    each(rig, "0.3.0", "9.9.9", |result, _| {
        let is_strings = |value: &Value| {
            value
                .as_array()
                .is_some_and(|list| list.iter().all(Value::is_string))
        };
        let dns = &result["dns"];
        let has = ["nameservers", "search", "options"]
            .iter()
            .all(|key| dns.get(key).is_none_or(is_strings));
        assert!(
            has && dns.get("domain").is_none_or(Value::is_string)
                && (dns.is_null() || dns.is_object()),
            "dns: {dns}"
        );
    });
}

fn no_null(rig: &Rig) {
    each(rig, "0.3.0", "9.9.9", |result, _| {
        for key in ["interfaces", "ips", "routes"] {
            assert!(
                super::elements(result, key).all(|element| !element.is_null()),
                "null in {key}: {result}"
            );
        }
    });
}
