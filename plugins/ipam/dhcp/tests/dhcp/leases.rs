//! The life of a lease: acquired, renewed, rebound, ended, refused, released; and each
//! message field by field, by RFC 2131, table 5.

use crate::lan::{
    Daemon, LAN, Lan, QUICK, SERVER, config, eventually, files, plugin, state, status,
};
use crate::scripted::{LEASED, Scripted, broadcast_flag};
use dhcproto::v4::{DhcpOption, Message, MessageType, OptionCode};
use serde_json::json;
use std::net::Ipv4Addr;
use std::time::Duration;
use testkit::{Node, Plugin};

fn value(message: &Message, code: OptionCode) -> DhcpOption {
    message
        .opts()
        .get(code)
        .unwrap_or_else(|| panic!("no {code:?}"))
        .clone()
}

#[test]
fn add_of_a_bridge_gets_a_lease_of_dnsmasq_and_del_releases_it() {
    let lan = Lan::new();
    let _server = lan.dnsmasq("");
    let _daemon = Daemon::start(&[]);
    let container = lan.host.container("c1");
    let conf = json!({"cniVersion": "1.1.0", "name": "net", "type": "bridge", "bridge": LAN, "ipam": {"type": "dhcp"}});
    let bridge = Plugin::new("bridge");
    let run = bridge.add(&container, &conf).expect_ok();
    let result = run.json();
    let address = result["ips"][0]["address"].as_str().unwrap().to_owned();
    assert!(
        address.starts_with("10.20.0.") && address.ends_with("/24"),
        "{address}"
    );
    assert_eq!(result["ips"][0]["gateway"], SERVER);
    assert_eq!(container.addresses("eth0"), [address]);
    assert_eq!(
        container.routes("-4"),
        [format!("default via {SERVER} dev eth0")]
    );
    container.ping(SERVER);
    assert_eq!(lan.leases().len(), 1);
    assert_eq!(state(), "bound");
    bridge.check(&container, &run.with_prev()).expect_ok();
    bridge.del(&container, &run.with_prev()).expect_ok();
    eventually("the server knows of the release", || {
        lan.leases().is_empty()
    });
    assert_eq!(status().len(), 0);
    assert_eq!(files("/run/cni/dhcp"), [""; 0]);
    bridge.del(&container, &run.with_prev()).expect_ok();
}

#[test]
fn messages_have_the_fields_of_the_rfc() {
    let lan = Lan::new();
    let server = Scripted::granting(&lan.server, [6, 2, 4]);
    let _daemon = Daemon::start(QUICK);
    let container = lan.container("c1");
    let mac = container.link("eth0").unwrap()["address"]
        .as_str()
        .unwrap()
        .to_owned();
    let conf = config(&json!({}));
    let run = plugin().add(&container, &conf).expect_ok();
    assert_eq!(
        run.json(),
        json!({
            "cniVersion": "1.1.0",
            "ips": [{"address": "10.20.0.77/24", "gateway": SERVER}],
            "routes": [{"dst": "0.0.0.0/0", "gw": SERVER}],
        })
    );
    container.ip("addr add 10.20.0.77/24 dev eth0");
    let requests = server.wait_for(MessageType::Request, 2);
    let discover = &server.of(MessageType::Discover)[0];
    let (selecting, renewing) = (&requests[0], &requests[1]);
    plugin().del(&container, &conf).expect_ok();
    let release = &server.wait_for(MessageType::Release, 1)[0];

    for seen in [discover, selecting, renewing, release] {
        let message = &seen.message;
        let octets: Vec<String> = message
            .chaddr()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(octets.join(":"), mac);
        assert_eq!(
            (message.hops(), message.siaddr(), message.giaddr()),
            (0, Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED)
        );
        assert!(seen.length >= 300, "{} bytes", seen.length);
        let DhcpOption::ClientIdentifier(id) = value(message, OptionCode::ClientIdentifier) else {
            panic!()
        };
        assert_eq!(id, [&[0], &b"c1/net/eth0"[..]].concat());
        assert_eq!(message.flags(), Default::default());
    }
    let none = Ipv4Addr::UNSPECIFIED;
    assert_eq!(
        (
            discover.message.ciaddr(),
            discover.from,
            discover.is_broadcast()
        ),
        (none, none, true)
    );
    assert_eq!(discover.codes(), [53, 55, 57, 61]);
    assert_eq!(
        value(&discover.message, OptionCode::ParameterRequestList),
        DhcpOption::ParameterRequestList(vec![OptionCode::Router, OptionCode::SubnetMask])
    );
    assert_eq!(
        value(&discover.message, OptionCode::MaxMessageSize),
        DhcpOption::MaxMessageSize(1500)
    );

    assert_eq!(
        (
            selecting.message.ciaddr(),
            selecting.from,
            selecting.is_broadcast()
        ),
        (none, none, true)
    );
    assert_eq!(selecting.codes(), [50, 53, 54, 55, 57, 61]);
    assert_eq!(
        value(&selecting.message, OptionCode::RequestedIpAddress),
        DhcpOption::RequestedIpAddress(LEASED)
    );
    assert_eq!(selecting.message.xid(), discover.message.xid());
    assert_eq!(selecting.message.secs(), discover.message.secs());

    assert_eq!((renewing.message.ciaddr(), renewing.from), (LEASED, LEASED));
    assert_eq!(
        renewing.to,
        SERVER.parse::<Ipv4Addr>().unwrap(),
        "renewed by unicast"
    );
    assert_eq!(
        renewing.codes(),
        [53, 55, 57, 61],
        "neither option 50 nor 54"
    );
    assert_ne!(renewing.message.xid(), discover.message.xid());

    assert_eq!((release.message.ciaddr(), release.from), (LEASED, LEASED));
    assert_eq!(
        release.to,
        SERVER.parse::<Ipv4Addr>().unwrap(),
        "released by unicast"
    );
    assert_eq!(release.codes(), [53, 54, 61]);
}

#[test]
fn a_lease_is_renewed_and_the_address_follows_its_lifetime() {
    let lan = Lan::new();
    let server = Scripted::granting(&lan.server, [30, 1, 20]);
    let _daemon = Daemon::start(QUICK);
    let container = lan.host.container("c1");
    let mut conf = config(&json!({}));
    conf["bridge"] = json!(LAN);
    let bridge = Plugin::new("bridge");
    let run = bridge.add(&container, &conf).expect_ok();
    server.wait_for(MessageType::Request, 4);
    assert_eq!(server.of(MessageType::Discover).len(), 1);
    let address =
        || container.ip_json(&["-4", "addr", "show", "dev", "eth0"])[0]["addr_info"].clone();
    eventually("the address has the lifetime of the lease", || {
        (25..=30).contains(&address()[0]["valid_life_time"].as_u64().unwrap())
    });
    bridge.check(&container, &run.with_prev()).expect_ok();
    // An address that was removed by somebody is configured again.
    container.ip_batch(&["addr flush dev eth0"]);
    eventually("the address is back", || {
        container.addresses("eth0") == ["10.20.0.77/24"]
    });
    assert_eq!(
        container.routes("-4"),
        [format!("default via {SERVER} dev eth0")]
    );
    assert_eq!(server.of(MessageType::Discover).len(), 1);
}

#[test]
fn a_lease_of_an_interface_that_is_gone_is_dropped() {
    let lan = Lan::new();
    let _server = Scripted::granting(&lan.server, [30, 1, 20]);
    let _daemon = Daemon::start(QUICK);
    let container = lan.container("c1");
    plugin().add(&container, &config(&json!({}))).expect_ok();
    container.ip("link del eth0");
    eventually("the lease is dropped", || status().is_empty());
}

#[test]
fn without_an_answer_the_lease_is_rebound_by_broadcast_and_then_ends() {
    let lan = Lan::new();
    // Answers nothing after the lease was granted.
    let server = Scripted::start(&lan.server, |seen, before| match before {
        0 | 1 => seen.granted(LEASED, [4, 1, 2]),
        _ if seen.kind() == MessageType::Discover && before > 3 => {
            seen.granted(Ipv4Addr::new(10, 20, 0, 78), [60, 30, 50])
        }
        _ if before > 4 => seen.granted(Ipv4Addr::new(10, 20, 0, 78), [60, 30, 50]),
        _ => Vec::new(),
    });
    let _daemon = Daemon::start(QUICK);
    let container = lan.container("c1");
    plugin().add(&container, &config(&json!({}))).expect_ok();
    container.ip_batch(&[
        "addr add 10.20.0.77/24 dev eth0",
        &format!("route add default via {SERVER}"),
    ]);
    let requests = server.wait_for(MessageType::Request, 3);
    assert!(!requests[1].is_broadcast() && requests[2].is_broadcast());
    assert_eq!(
        (requests[2].message.ciaddr(), requests[2].codes()),
        (LEASED, vec![53, 55, 57, 61])
    );
    // The lease ends: the address is removed, and a new one acquired and configured.
    server.wait_for(MessageType::Discover, 2);
    eventually("the new address is configured", || {
        container.addresses("eth0") == ["10.20.0.78/24"]
    });
    eventually("with its route", || {
        container.routes("-4") == [format!("default via {SERVER} dev eth0")]
    });
    assert_eq!(state(), "bound");
}

#[test]
fn rebinding_goes_on_with_a_server_that_has_another_address() {
    let lan = Lan::new();
    let other = Ipv4Addr::new(10, 20, 0, 2);
    let server = Scripted::start(&lan.server, move |seen, before| {
        let mut replies = seen.granted(LEASED, [8, 1, 2]);
        for reply in &mut replies {
            if before > 1 {
                reply.opts_mut().insert(DhcpOption::ServerIdentifier(other));
            }
        }
        // The first renewals, by unicast, find nobody.
        if before > 1 && !seen.is_broadcast() && seen.to != other {
            Vec::new()
        } else {
            replies
        }
    });
    let _daemon = Daemon::start(QUICK);
    let container = lan.container("c1");
    plugin().add(&container, &config(&json!({}))).expect_ok();
    container.ip("addr add 10.20.0.77/24 dev eth0");
    lan.server.ip("addr add 10.20.0.2/24 dev eth0");
    eventually("renewed with the other server", || {
        server.seen().iter().any(|seen| seen.to == other)
    });
    assert_eq!(status()[0]["server"], "10.20.0.2");
    assert_eq!(server.of(MessageType::Discover).len(), 1);
    assert_eq!(container.addresses("eth0"), ["10.20.0.77/24"]);
}

#[test]
fn after_a_nak_the_address_is_exchanged() {
    let lan = Lan::new();
    let next = Ipv4Addr::new(10, 20, 0, 99);
    let server = Scripted::start(&lan.server, move |seen, before| match before {
        0 | 1 => seen.granted(LEASED, [60, 1, 50]),
        2 => vec![seen.reply(MessageType::Nak, Ipv4Addr::UNSPECIFIED)],
        _ => seen.granted(next, [60, 30, 50]),
    });
    let _daemon = Daemon::start(QUICK);
    let container = lan.container("c1");
    let run = plugin().add(&container, &config(&json!({}))).expect_ok();
    container.ip("addr add 10.20.0.77/24 dev eth0");
    eventually("the new address", || {
        container.addresses("eth0") == ["10.20.0.99/24"]
    });
    assert_eq!(
        container.routes("-4"),
        [format!("default via {SERVER} dev eth0")]
    );
    assert_eq!(server.of(MessageType::Discover).len(), 2);
    let error = plugin()
        .check(&container, &run.with_prev())
        .expect_error(999);
    assert_eq!(
        error.msg,
        "dhcp: Failed to match addr 10.20.0.99/24 on interface eth0"
    );
}

#[test]
fn a_nak_of_the_offer_and_answers_of_a_wrong_server_are_survived() {
    let lan = Lan::new();
    let server = Scripted::start(&lan.server, |seen, before| {
        let mut wrong = seen.granted(Ipv4Addr::new(10, 20, 0, 66), [60, 30, 50]);
        match (seen.kind(), before) {
            (MessageType::Discover, 0) => {
                // Another transaction, another client, no server, no host's address.
                let mut bad: Vec<Message> = (0..4).map(|_| wrong[0].clone()).collect();
                bad[0].set_xid(seen.message.xid() ^ 1);
                bad[1].set_chaddr(&[2, 0, 0, 0, 0, 9]);
                bad[2].opts_mut().remove(OptionCode::ServerIdentifier);
                bad[3].set_yiaddr(Ipv4Addr::LOCALHOST);
                let id = DhcpOption::ClientIdentifier(b"\0other".to_vec());
                let mut other_id = wrong[0].clone();
                other_id.opts_mut().insert(id);
                bad.push(other_id);
                bad.extend(seen.granted(LEASED, [60, 30, 50]));
                bad
            }
            (MessageType::Request, 1) => vec![seen.reply(MessageType::Nak, Ipv4Addr::UNSPECIFIED)],
            (MessageType::Request, _) => {
                let other = DhcpOption::ServerIdentifier(Ipv4Addr::new(10, 20, 0, 3));
                wrong[0].opts_mut().insert(other.clone());
                let mut nak = seen.reply(MessageType::Nak, Ipv4Addr::UNSPECIFIED);
                nak.opts_mut().insert(other);
                [wrong, vec![nak], seen.granted(LEASED, [60, 30, 50])].concat()
            }
            _ => seen.granted(LEASED, [60, 30, 50]),
        }
    });
    let _daemon = Daemon::start(QUICK);
    let container = lan.container("c1");
    let result = plugin()
        .add(&container, &config(&json!({})))
        .expect_ok()
        .json();
    assert_eq!(result["ips"][0]["address"], "10.20.0.77/24");
    assert_eq!(server.of(MessageType::Discover).len(), 2);
}

#[test]
fn lost_messages_are_sent_again_after_growing_waits() {
    let lan = Lan::new();
    let server = Scripted::start(&lan.server, |seen, before| match before {
        3 | 6.. => seen.granted(LEASED, [60, 30, 50]),
        _ => Vec::new(),
    });
    let _daemon = Daemon::start(&[
        "-timeout",
        "200ms",
        "-resendmax",
        "800ms",
        "-resendtimeout",
        "20s",
        "-broadcast",
    ]);
    let container = lan.container("c1");
    plugin().add(&container, &config(&json!({}))).expect_ok();
    let seen = server.seen();
    assert!(
        seen.iter()
            .all(|seen| seen.message.xid() == seen.message.xid())
    );
    assert!(
        seen.iter()
            .all(|seen| seen.message.flags() == broadcast_flag())
    );
    let discovers = server.of(MessageType::Discover);
    assert_eq!(discovers.len(), 4);
    let waits: Vec<Duration> = discovers
        .windows(2)
        .map(|pair| pair[1].at - pair[0].at)
        .collect();
    assert!(
        waits[0] >= Duration::from_millis(140) && waits[2] >= Duration::from_millis(580),
        "{waits:?}"
    );
    assert!(server.of(MessageType::Request).len() >= 3);
}

#[test]
fn an_add_without_a_server_ends_in_time() {
    let lan = Lan::new();
    let _daemon = Daemon::start(&["-timeout", "100ms", "-resendtimeout", "1s"]);
    let container = lan.container("c1");
    let run = plugin().add(&container, &config(&json!({})));
    assert!(
        run.elapsed >= Duration::from_millis(900),
        "{:?}",
        run.elapsed
    );
    let error = run.expect_error(999);
    assert_eq!(error.msg, "error calling DHCP.Allocate: no more tries");
    assert_eq!(status().len(), 0);
}

#[test]
fn an_address_in_use_is_declined() {
    let lan = Lan::new();
    let free = Ipv4Addr::new(10, 20, 0, 88);
    let server = Scripted::start(&lan.server, move |seen, before| match before {
        0 | 1 => seen.granted(LEASED, [60, 30, 50]),
        _ => seen.granted(free, [60, 30, 50]),
    });
    lan.server.ip("addr add 10.20.0.77/24 dev eth0");
    let _daemon = Daemon::start(QUICK);
    let container = lan.container("c1");
    let result = plugin()
        .add(&container, &config(&json!({"probe": "300ms"})))
        .expect_ok()
        .json();
    assert_eq!(result["ips"][0]["address"], "10.20.0.88/24");
    let decline = &server.of(MessageType::Decline)[0];
    assert_eq!(decline.codes(), [50, 53, 54, 61]);
    assert_eq!(
        (decline.message.ciaddr(), decline.is_broadcast()),
        (Ipv4Addr::UNSPECIFIED, true)
    );
    assert_eq!(
        value(&decline.message, OptionCode::RequestedIpAddress),
        DhcpOption::RequestedIpAddress(LEASED)
    );
}

#[test]
fn an_abandoned_add_leaves_no_lease() {
    let lan = Lan::new();
    let server = Scripted::start(&lan.server, |_, _| Vec::new());
    let _daemon = Daemon::start(QUICK);
    let container = lan.container("c1");
    let call = plugin()
        .command("ADD")
        .container(&container)
        .config(&config(&json!({})));
    let mut running = call.start();
    server.wait_for(MessageType::Discover, 1);
    assert_eq!(status().len(), 1);
    running.kill();
    eventually("the daemon gives up, too", || status().is_empty());
}

#[test]
fn simultaneous_adds_of_one_attachment_share_a_lease() {
    let lan = Lan::new();
    let _server = lan.dnsmasq("");
    let _daemon = Daemon::start(&[]);
    let container = lan.container("c1");
    let call = || {
        plugin()
            .command("ADD")
            .container(&container)
            .config(&config(&json!({})))
    };
    let results: Vec<_> = testkit::run_all((0..8).map(|_| call()))
        .into_iter()
        .map(|run| run.expect_ok().json())
        .collect();
    assert!(
        results
            .iter()
            .all(|result| result["ips"] == results[0]["ips"])
    );
    assert_eq!(status().len(), 1);
    assert_eq!(lan.leases().len(), 1);
}
