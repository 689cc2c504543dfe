//! Tests of results in every version of the specification.

mod decode;
mod encode;
mod prev_result;
mod props;

use super::*;
use serde_json::Value;

fn parse(text: &str) -> Value {
    crate::json::parse(text.as_bytes()).unwrap()
}

/// Returns a result with every field set.
fn full() -> AddResult {
    AddResult {
        interfaces: vec![
            Interface {
                name: "br0".into(),
                mac: "02:00:00:00:00:01".into(),
                ..Interface::default()
            },
            Interface {
                name: "eth0".into(),
                mac: "02:00:00:00:00:02".into(),
                mtu: 1500,
                sandbox: "/run/netns/a".into(),
                socket_path: "/run/vhost".into(),
                pci_id: "0000:00:1f.6".into(),
            },
        ],
        ips: vec![
            IpConfig {
                interface: Some(1),
                address: "10.1.0.5/16".parse().unwrap(),
                gateway: Some("10.1.0.1".parse().unwrap()),
            },
            IpConfig {
                interface: Some(0),
                ..IpConfig::new("10.2.0.5/16".parse().unwrap())
            },
            IpConfig {
                interface: Some(-1),
                address: "2001:db8::5/64".parse().unwrap(),
                gateway: Some("2001:db8::1".parse().unwrap()),
            },
        ],
        routes: vec![
            Route {
                gw: Some("10.1.0.1".parse().unwrap()),
                mtu: 1400,
                advmss: 1360,
                priority: 100,
                table: Some(0),
                scope: Some(0),
                ..Route::to("10.9.8.7/8".parse().unwrap())
            },
            Route::to("::/0".parse().unwrap()),
        ],
        dns: Dns {
            nameservers: vec!["10.1.0.1".into()],
            domain: "example.org".into(),
            search: vec!["a".into(), "b".into()],
            options: vec!["ndots:5".into()],
        },
    }
}
