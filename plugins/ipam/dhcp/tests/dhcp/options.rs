//! Options of the server in the result, and of the configuration in the messages.

use crate::lan::{Daemon, Lan, QUICK, SERVER, config, plugin};
use crate::scripted::{LEASED, Scripted};
use dhcproto::v4::{DhcpOption, MessageType, OptionCode, UnknownOption};
use serde_json::{Value, json};
use testkit::Node;

/// The result of an ADD with these keys of `ipam`, of a server that adds these options; and
/// the container's MTU.
#[track_caller]
fn add_with(ipam: &Value, options: &'static [(u8, &'static [u8])]) -> (Value, Value) {
    let lan = Lan::new();
    let _server = Scripted::start(&lan.server, move |seen, _| {
        let mut replies = seen.granted(LEASED, [60, 30, 50]);
        for reply in &mut replies {
            for (code, value) in options {
                reply.opts_mut().remove(OptionCode::from(*code));
                let option = UnknownOption::new(OptionCode::from(*code), value.to_vec());
                reply.opts_mut().insert(DhcpOption::Unknown(option));
            }
        }
        replies
    });
    let _daemon = Daemon::start(QUICK);
    let container = lan.container("c1");
    let mut result = plugin().add(&container, &config(ipam)).expect_ok().json();
    result.as_object_mut().unwrap().remove("cniVersion");
    (result, container.link_attribute("eth0", "/mtu"))
}

const IP: &str = "10.20.0.77/24";

#[test]
fn static_routes_precede_the_default_route() {
    // To 172.16.0.0 (class B) by 10.20.0.9, and a fragment.
    let options: &[(u8, &[u8])] = &[(33, &[172, 16, 0, 0, 10, 20, 0, 9, 1, 2])];
    let (result, _) = add_with(&json!({"priority": 7}), options);
    assert_eq!(
        result["routes"],
        json!([
            {"dst": "172.16.0.0/16", "gw": "10.20.0.9", "priority": 7},
            {"dst": "0.0.0.0/0", "gw": SERVER, "priority": 7},
        ])
    );
}

#[test]
fn classless_routes_replace_all_others() {
    let options: &[(u8, &[u8])] = &[
        (33, &[172, 16, 0, 0, 10, 20, 0, 9]),
        // 192.168.9.0/24 by 10.20.0.8, 10.30.0.0/16 on the link, host bits are cut off.
        (
            121,
            &[24, 192, 168, 9, 10, 20, 0, 8, 15, 10, 31, 0, 0, 0, 0],
        ),
    ];
    let (result, _) = add_with(&json!({"request": [{"option": "121"}]}), options);
    assert_eq!(
        result["routes"],
        json!([
            {"dst": "192.168.9.0/24", "gw": "10.20.0.8"},
            {"dst": "10.30.0.0/15", "gw": "0.0.0.0", "scope": 253},
        ])
    );
    assert_eq!(result["ips"], json!([{"address": IP, "gateway": SERVER}]));
    // Malformed ones are not used.
    let (result, _) = add_with(&json!({}), &[(121, &[33, 1, 2])]);
    assert_eq!(
        result["routes"],
        json!([{"dst": "0.0.0.0/0", "gw": SERVER}])
    );
}

#[test]
fn the_gateway_is_suppressed_and_own_routes_are_added() {
    let ipam = json!({"suppress": ["gateway"], "routes": [{"dst": "10.96.0.0/12"}, {"dst": "10.7.0.0/16", "gw": "10.20.0.7"}]});
    let (result, _) = add_with(&ipam, &[]);
    assert_eq!(
        result,
        json!({
            "ips": [{"address": IP}],
            "routes": [{"dst": "10.96.0.0/12", "gw": SERVER}, {"dst": "10.7.0.0/16", "gw": "10.20.0.7"}],
        })
    );
    // The default route of option 121 as well.
    let (result, _) = add_with(
        &json!({"suppress": ["gateway"]}),
        &[(121, &[0, 10, 20, 0, 1, 8, 11, 10, 20, 0, 1])],
    );
    assert_eq!(
        result["routes"],
        json!([{"dst": "11.0.0.0/8", "gw": SERVER}])
    );
}

#[test]
fn dns_and_mtu_are_used_if_they_are_requested() {
    const OPTIONS: &[(u8, &[u8])] = &[
        (6, &[10, 20, 0, 1, 10, 20, 0, 2]),
        (15, b"example.org\0"),
        (26, &[5, 0x14]),
        (119, b"\x03eng\x07example\x03org\0"),
    ];
    let (result, mtu) = add_with(&json!({}), OPTIONS);
    assert_eq!((result.get("dns"), mtu), (None, json!(1500)));
    let request = json!([{"option": "domain-name-servers"}, {"option": "15"}, {"option": "interface-mtu"}, {"option": "119"}]);
    let (result, mtu) = add_with(&json!({"request": request}), OPTIONS);
    assert_eq!(
        result["dns"],
        json!({"nameservers": ["10.20.0.1", "10.20.0.2"], "domain": "example.org", "search": ["eng.example.org"]})
    );
    assert_eq!(mtu, 1300);
}

#[test]
fn a_lease_without_a_usable_mask_is_refused_and_released() {
    for (mask, text) in [
        (&[][..], "DHCP option Subnet Mask not found in DHCPACK"),
        (
            &[255, 0, 255, 0],
            "DHCP option Subnet Mask in DHCPACK is no mask: 255.0.255.0",
        ),
    ] {
        let lan = Lan::new();
        let server = Scripted::start(&lan.server, move |seen, _| {
            let mut replies = seen.granted(LEASED, [60, 30, 50]);
            for reply in &mut replies {
                reply.opts_mut().remove(OptionCode::SubnetMask);
                if !mask.is_empty() {
                    let option = UnknownOption::new(OptionCode::SubnetMask, mask.to_vec());
                    reply.opts_mut().insert(DhcpOption::Unknown(option));
                }
            }
            replies
        });
        let _daemon = Daemon::start(QUICK);
        let error = plugin()
            .add(&lan.container("c1"), &config(&json!({})))
            .expect_error(999);
        assert_eq!(error.msg, format!("error calling DHCP.Allocate: {text}"));
        server.wait_for(MessageType::Release, 1);
    }
}

#[test]
fn options_are_provided_by_value_and_by_argument() {
    let lan = Lan::new();
    let server = Scripted::granting(&lan.server, [60, 30, 50]);
    let _daemon = Daemon::start(QUICK);
    let container = lan.container("c1");
    let ipam = json!({
        "request": [{"skipDefault": true, "option": "routers"}, {"option": "121"}, {"option": "3"}],
        "provide": [
            {"option": "host-name", "value": "fallback", "fromArg": "K8S_POD_NAME"},
            {"option": "60", "value": "vendor"},
            {"option": "dhcp-client-identifier", "value": "me"},
            {"option": "77", "fromArg": "ABSENT"},
        ],
    });
    let call = |verb| {
        let call = plugin()
            .command(verb)
            .container(&container)
            .config(&config(&ipam));
        call.args("IgnoreUnknown=1;K8S_POD_NAME=web-0;")
            .run()
            .expect_ok()
    };
    call("ADD");
    call("DEL");
    let release = server.wait_for(MessageType::Release, 1)[0].clone();
    let discover = &server.of(MessageType::Discover)[0];
    let value = |code: u8| discover.message.opts().get(OptionCode::from(code)).cloned();
    assert_eq!(value(12), Some(DhcpOption::Hostname("web-0".into())));
    assert_eq!(
        value(60),
        Some(DhcpOption::ClassIdentifier(b"vendor".to_vec()))
    );
    assert_eq!(value(77), None);
    assert_eq!(
        value(55),
        Some(DhcpOption::ParameterRequestList(vec![
            OptionCode::Router,
            OptionCode::ClasslessStaticRoute
        ]))
    );
    for seen in [discover, &server.of(MessageType::Request)[0], &release] {
        let id = seen
            .message
            .opts()
            .get(OptionCode::ClientIdentifier)
            .cloned();
        assert_eq!(
            id,
            Some(DhcpOption::ClientIdentifier(b"me".to_vec())),
            "{:?}",
            seen.kind()
        );
    }
}

#[test]
fn client_identifiers_have_the_configured_form() {
    let lan = Lan::new();
    let server = Scripted::granting(&lan.server, [60, 30, 50]);
    let _daemon = Daemon::start(QUICK);
    let container = lan.container("c1");
    let mac: Vec<u8> = container.link("eth0").unwrap()["address"]
        .as_str()
        .unwrap()
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect();
    let mut ids = Vec::new();
    for form in ["mac", "duid", "attachment"] {
        let conf = config(&json!({"clientID": form}));
        plugin().add(&container, &conf).expect_ok();
        plugin().del(&container, &conf).expect_ok();
        let seen = server.of(MessageType::Discover).pop().unwrap();
        let Some(DhcpOption::ClientIdentifier(id)) = seen
            .message
            .opts()
            .get(OptionCode::ClientIdentifier)
            .cloned()
        else {
            panic!()
        };
        ids.push(id);
    }
    assert_eq!(ids[0], [&[1], &mac[..]].concat());
    assert_eq!(
        (ids[1][0], &ids[1][5..]),
        (255, &[&[0, 3, 0, 1], &mac[..]].concat()[..])
    );
    assert_eq!(ids[2], b"\0c1/net/eth0");
}

#[test]
fn with_the_network_ipv6_only_no_address_is_leased() {
    let lan = Lan::new();
    let server = Scripted::start(&lan.server, |seen, _| {
        let mut replies = seen.granted(LEASED, [60, 30, 50]);
        for reply in &mut replies {
            let option = UnknownOption::new(OptionCode::from(108), vec![0, 0, 1, 44]);
            reply.opts_mut().insert(DhcpOption::Unknown(option));
        }
        replies
    });
    let _daemon = Daemon::start(QUICK);
    let container = lan.container("c1");
    // Without the option in the request list, it means nothing (RFC 8925, section 3.2).
    plugin().add(&container, &config(&json!({}))).expect_ok();
    plugin().del(&container, &config(&json!({}))).expect_ok();
    let before = server.of(MessageType::Request).len();
    let conf = config(&json!({"request": [{"option": "ipv6-only-preferred"}]}));
    plugin()
        .add(&container, &conf)
        .expect_error(999)
        .mentions("no lease");
    assert_eq!(server.of(MessageType::Request).len(), before);
}
