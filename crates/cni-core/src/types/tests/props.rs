//! Property tests of results.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::Value;

use crate::json::tests::props::any_json;
use crate::types::{AddResult, Dns, Interface, IpConfig, Route, prev_result, valid_attachments};
use crate::{Cidr, Version, json};

fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<Ipv4Addr>().prop_map(IpAddr::from),
        any::<Ipv6Addr>().prop_map(IpAddr::from),
        any::<Ipv4Addr>().prop_map(|v4| IpAddr::from(v4.to_ipv6_mapped())),
    ]
    .prop_map(crate::cidr::canonical)
}

fn cidr() -> impl Strategy<Value = Cidr> {
    (ip(), 0..=128u8)
        .prop_map(|(ip, prefix)| Cidr::new(ip, prefix).unwrap_or_else(|| Cidr::host(ip)))
}

fn interface() -> impl Strategy<Value = Interface> {
    (any::<[String; 5]>(), any::<i64>()).prop_map(
        |([name, mac, sandbox, socket_path, pci_id], mtu)| Interface {
            name,
            mac,
            mtu,
            sandbox,
            socket_path,
            pci_id,
        },
    )
}

fn ip_config() -> impl Strategy<Value = IpConfig> {
    (option::of(any::<i64>()), cidr(), option::of(ip())).prop_map(
        |(interface, address, gateway)| IpConfig {
            interface,
            address,
            gateway,
        },
    )
}

fn route() -> impl Strategy<Value = Route> {
    let numbers = (any::<i64>(), any::<i64>(), any::<i64>());
    (
        cidr(),
        option::of(ip()),
        numbers,
        option::of(any::<i64>()),
        option::of(any::<i64>()),
    )
        .prop_map(|(dst, gw, (mtu, advmss, priority), table, scope)| Route {
            dst,
            gw,
            mtu,
            advmss,
            priority,
            table,
            scope,
        })
}

fn dns() -> impl Strategy<Value = Dns> {
    let texts = || vec(any::<String>(), 0..3);
    (texts(), any::<String>(), texts(), texts()).prop_map(
        |(nameservers, domain, search, options)| Dns {
            nameservers,
            domain,
            search,
            options,
        },
    )
}

prop_compose! {
    fn result()(
        interfaces in vec(interface(), 0..4),
        ips in vec(ip_config(), 0..5),
        routes in vec(route(), 0..5),
        dns in dns(),
    ) -> AddResult {
        AddResult { interfaces, ips, routes, dns }
    }
}

/// Returns a result without what `version` cannot express.
fn reduced(result: &AddResult, version: Version) -> AddResult {
    let mut result = result.clone();
    if version < Version::V1_0_0 {
        for interface in &mut result.interfaces {
            interface.mtu = 0;
            interface.socket_path.clear();
            interface.pci_id.clear();
        }
    }
    if version < Version::V0_3_0 {
        result.interfaces.clear();
        let first = |v4: bool| {
            result
                .ips
                .iter()
                .find(|ip| ip.address.is_ipv4() == v4)
                .cloned()
        };
        result.ips = [first(true), first(false)].into_iter().flatten().collect();
        for ip in &mut result.ips {
            ip.interface = None;
        }
        let routes = |v4: bool| result.routes.iter().filter(move |r| r.dst.is_ipv4() == v4);
        result.routes = result
            .ips
            .iter()
            .flat_map(|ip| routes(ip.address.is_ipv4()))
            .map(|route| Route {
                gw: route.gw,
                ..Route::to(route.dst)
            })
            .collect();
    }
    result
}

fn any_version() -> impl Strategy<Value = String> {
    let known = prop::sample::select(Version::ALL).prop_map(|version| version.to_string());
    prop_oneof![4 => known, 1 => Just(String::new()), 1 => any::<String>()]
}

proptest! {
    #[test]
    fn results_round_trip_in_every_version(result in result()) {
        for version in Version::ALL.iter().copied() {
            let written = result.to_json(version);
            if version < Version::V0_3_0 && result.ips.is_empty() {
                prop_assert!(written.is_err());
                continue;
            }
            let text = written.expect("only a lack of addresses stands in the way");
            let (own, read) = AddResult::from_plugin_output("", text.as_bytes()).expect("own output is a result");
            prop_assert_eq!(own, version);
            prop_assert_eq!(&read, &reduced(&result, version));
            prop_assert_eq!(read.to_json(version).expect("it was written before"), text);
        }
    }

    #[test]
    fn reading_bytes_never_panics(bytes in vec(any::<u8>(), 0..200), version in any_version()) {
        let _ = AddResult::from_plugin_output(&version, &bytes);
    }

    #[test]
    fn reading_json_never_panics(value in any_json(), version in any_version()) {
        let _ = AddResult::decode(&version, &value);
        let _ = prev_result(&version, &value);
        let _ = valid_attachments(&value);
        let _ = crate::version::of_document(&value);
        let text = json::to_string(&value);
        let _ = AddResult::from_plugin_output(&version, text.as_bytes());
        let conf = Value::Object([("prevResult".to_owned(), value)].into_iter().collect());
        let _ = prev_result(&version, &conf);
    }

    #[test]
    fn decoded_results_can_be_encoded(value in any_json(), version in any_version()) {
        if let Ok(result) = AddResult::decode(&version, &value) {
            for version in Version::V0_3_0.starting_from() {
                prop_assert!(result.to_json(*version).is_ok());
            }
        }
    }

    #[test]
    fn a_damaged_result_never_panics(result in result(), at: prop::sample::Index, byte: u8) {
        let mut text = result.to_json(Version::CURRENT).expect("any result").into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        let _ = AddResult::from_plugin_output("", &text);
    }

    #[test]
    fn addresses_round_trip(cidr in cidr()) {
        prop_assert_eq!(cidr.to_string().parse::<Cidr>(), Ok(cidr));
    }

    #[test]
    fn parsing_small_texts_never_panics(text in any::<String>()) {
        let _ = text.parse::<Cidr>();
        let _ = crate::cidr::parse_ip(&text);
        let _ = crate::version::parse(&text);
        let _ = crate::args::Args::parse(&text, &["MAC"]);
        let _ = crate::quote::quote(&text);
    }
}
