//! The daemon ends, and another one goes on with its leases.

use crate::lan::{
    Daemon, Lan, QUICK, config, eventually, eventually_within, files, plugin, state, status,
};
use crate::scripted::{LEASED, Scripted};
use dhcproto::v4::{DhcpOption, MessageType, OptionCode};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use testkit::{Container, Node};

#[test]
fn after_a_kill_fifty_leases_go_on_without_one_discover() {
    let lan = Lan::new();
    // An address for each client, found again by the client identifier. Short T1.
    let server = Scripted::start(&lan.server, |seen, _| {
        let Some(DhcpOption::ClientIdentifier(id)) =
            seen.message.opts().get(OptionCode::ClientIdentifier)
        else {
            panic!()
        };
        let number: u8 = String::from_utf8_lossy(id)
            .trim_start_matches(['\0', 'c'])
            .split('/')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        seen.granted(Ipv4Addr::new(10, 20, 0, 100 + number), [600, 2, 500])
    });
    let daemon = Daemon::start(QUICK);
    let containers: Vec<Container> = (0..50)
        .map(|number| lan.container(&format!("c{number}")))
        .collect();
    let calls = containers.iter().map(|container| {
        plugin()
            .command("ADD")
            .container(container)
            .config(&config(&json!({})))
    });
    let runs = testkit::run_all(calls);
    for (container, run) in containers.iter().zip(runs) {
        let address = run.expect_ok().json()["ips"][0]["address"]
            .as_str()
            .unwrap()
            .to_owned();
        container.ip(&format!("addr add {address} dev eth0"));
    }
    assert_eq!(server.of(MessageType::Discover).len(), 50);
    drop(daemon);
    let before = server.seen().len();
    let _daemon = Daemon::start(QUICK);
    let addresses =
        |after: usize, is_meant: fn(&crate::scripted::Seen) -> bool| -> BTreeSet<String> {
            let seen = server.seen().split_off(after);
            let clients = seen.iter().filter(|seen| is_meant(seen));
            clients
                .map(|seen| format!("{:?}", seen.message.chaddr()))
                .collect()
        };
    // INIT-REBOOT: the address as option 50, no server identifier, no ciaddr.
    let is_reboot = |seen: &crate::scripted::Seen| {
        seen.kind() == MessageType::Request
            && seen.message.ciaddr().is_unspecified()
            && seen.has(OptionCode::RequestedIpAddress)
            && !seen.has(OptionCode::ServerIdentifier)
            && seen.is_broadcast()
    };
    eventually("all fifty ask for their address", || {
        addresses(before, is_reboot).len() == 50
    });
    let is_renewal = |seen: &crate::scripted::Seen| seen.message.ciaddr().octets()[3] >= 100;
    eventually_within(Duration::from_secs(40), "all fifty renew", || {
        addresses(before, is_renewal).len() == 50
    });
    assert_eq!(
        server.of(MessageType::Discover).len(),
        50,
        "not one DISCOVER more"
    );
    for (number, container) in containers.iter().enumerate() {
        assert_eq!(
            container.addresses("eth0"),
            [format!("10.20.0.{}/24", 100 + number)]
        );
    }
    assert_eq!(status().len(), 50);
}

#[test]
fn records_are_private_and_go_with_the_lease() {
    let lan = Lan::new();
    let _server = lan.dnsmasq("");
    let _daemon = Daemon::start(&[]);
    let container = lan.container("c1");
    plugin().add(&container, &config(&json!({}))).expect_ok();
    let mode = |path: &str| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(files("/run/cni/dhcp"), ["net:c1:eth0"]);
    assert_eq!(
        (mode("/run/cni/dhcp"), mode("/run/cni/dhcp/net:c1:eth0")),
        (0o700, 0o600)
    );
    assert_eq!(mode("/run/cni/dhcp.sock"), 0o600);
    plugin().del(&container, &config(&json!({}))).expect_ok();
    assert_eq!(files("/run/cni/dhcp"), [""; 0]);
}

#[test]
fn a_deletion_while_the_daemon_is_down_is_made_up_for() {
    let lan = Lan::new();
    let _server = lan.dnsmasq("");
    let daemon = Daemon::start(&[]);
    let (kept, gone) = (lan.container("c1"), lan.container("c2"));
    for container in [&kept, &gone] {
        plugin().add(container, &config(&json!({}))).expect_ok();
    }
    assert!(daemon.terminate());
    assert_eq!(lan.leases().len(), 2);
    for container in [&kept, &gone] {
        plugin().del(container, &config(&json!({}))).expect_ok();
        plugin().del(container, &config(&json!({}))).expect_ok();
    }
    // The container of one is deleted as well: its lease is released by way of the bridge.
    gone.delete();
    drop(gone);
    let _daemon = Daemon::start(&[]);
    eventually("both leases are released", || lan.leases().is_empty());
    assert_eq!(status().len(), 0);
    assert_eq!(
        files("/run/cni/dhcp").len() + files("/run/cni/dhcp-deleted").len(),
        0
    );
}

#[test]
fn the_lease_of_a_container_that_is_gone_is_dropped() {
    let lan = Lan::new();
    let _server = lan.dnsmasq("");
    let daemon = Daemon::start(&[]);
    let container = lan.container("c1");
    plugin().add(&container, &config(&json!({}))).expect_ok();
    drop(daemon);
    container.delete();
    drop(container);
    let is_unplugged = || !lan.host.link_names().contains(&"c1".to_owned());
    eventually("the pair goes with the namespace", is_unplugged);
    // Another namespace is at the path of the old one.
    let other = lan.container("c1");
    let daemon = Daemon::start(&[]);
    eventually("dropped at the start", || status().is_empty());
    assert_eq!(files("/run/cni/dhcp"), [""; 0]);
    assert_eq!(other.addresses("eth0"), [""; 0]);
    // While it runs, the daemon finds out by itself. It does not keep the namespace.
    plugin().add(&other, &config(&json!({}))).expect_ok();
    other.delete();
    drop(other);
    eventually("nothing keeps the namespace", is_unplugged);
    eventually_within(Duration::from_secs(30), "dropped meanwhile", || {
        status().is_empty()
    });
    eventually("and released", || lan.leases().is_empty());
    assert!(daemon.terminate());
}

#[test]
fn a_lease_that_ended_while_the_daemon_was_down_is_acquired_anew() {
    let lan = Lan::new();
    let next = Ipv4Addr::new(10, 20, 0, 78);
    let server = Scripted::start(&lan.server, move |seen, before| match before {
        0 | 1 => seen.granted(LEASED, [2, 1, 2]),
        _ => seen.granted(next, [60, 30, 50]),
    });
    let daemon = Daemon::start(QUICK);
    let container = lan.container("c1");
    plugin().add(&container, &config(&json!({}))).expect_ok();
    container.ip("addr add 10.20.0.77/24 dev eth0");
    drop(daemon);
    std::thread::sleep(Duration::from_millis(2100));
    let _daemon = Daemon::start(QUICK);
    eventually("the new address", || {
        container.addresses("eth0") == ["10.20.0.78/24"]
    });
    assert_eq!(server.of(MessageType::Discover).len(), 2);
}

#[test]
fn without_an_answer_after_a_restart_the_lease_is_used_to_its_end() {
    let lan = Lan::new();
    let server = Scripted::start(&lan.server, |seen, before| match before {
        0 | 1 => seen.granted(LEASED, [600, 300, 500]),
        _ => Vec::new(),
    });
    let daemon = Daemon::start(QUICK);
    let container = lan.container("c1");
    let run = plugin().add(&container, &config(&json!({}))).expect_ok();
    drop(daemon);
    let _daemon = Daemon::start(QUICK);
    eventually("asks", || server.seen().len() > 2);
    eventually("goes on", || state() == "bound");
    plugin().check(&container, &run.with_prev()).expect_ok();
    assert_eq!(server.of(MessageType::Discover).len(), 1);
}

/// The daemon is killed after it has answered ADD, and the next one is faster than the interface plugin.
#[test]
fn an_address_that_add_has_just_returned_is_left_to_the_interface_plugin() {
    let lan = Lan::new();
    let server = Scripted::start(&lan.server, |seen, _| seen.granted(LEASED, [600, 300, 500]));
    let daemon = Daemon::start(QUICK);
    let container = lan.container("c1");
    plugin().add(&container, &config(&json!({}))).expect_ok();
    drop(daemon);
    let before = server.seen().len();
    let _daemon = Daemon::start(QUICK);
    eventually("asks", || server.seen().len() > before);
    eventually("the server confirms", || state() == "bound");
    // Fails if the container has it.
    container.ip("addr add 10.20.0.77/24 dev eth0");
}

#[test]
fn after_a_restart_the_server_may_refuse_the_address() {
    let lan = Lan::new();
    let next = Ipv4Addr::new(10, 20, 0, 78);
    let _server = Scripted::start(&lan.server, move |seen, before| match before {
        0 | 1 => seen.granted(LEASED, [600, 300, 500]),
        2 => vec![seen.reply(MessageType::Nak, Ipv4Addr::UNSPECIFIED)],
        _ => seen.granted(next, [60, 30, 50]),
    });
    let daemon = Daemon::start(QUICK);
    let container = lan.container("c1");
    plugin().add(&container, &config(&json!({}))).expect_ok();
    container.ip("addr add 10.20.0.77/24 dev eth0");
    drop(daemon);
    let _daemon = Daemon::start(QUICK);
    eventually("the new address", || {
        container.addresses("eth0") == ["10.20.0.78/24"]
    });
}

#[test]
fn bad_records_are_no_obstacle() {
    let lan = Lan::new();
    let _server = lan.dnsmasq("");
    let daemon = Daemon::start(&[]);
    let container = lan.container("c1");
    plugin().add(&container, &config(&json!({}))).expect_ok();
    drop(daemon);
    let path = "/run/cni/dhcp/net:c1:eth0";
    let good: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut prefix = good.clone();
    prefix["clients"]["ipv4"]["prefix"] = json!(99);
    let mut ipam = good.clone();
    ipam["ipam"] = json!({"request": 5});
    let mut lease = good.clone();
    lease["clients"]["ipv4"] = json!("x");
    for bad in [prefix, ipam, lease, json!({}), json!([1])] {
        // The last record takes the directory along.
        let directory = "/run/cni/dhcp";
        std::fs::create_dir_all(directory).unwrap();
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700)).unwrap();
        std::fs::write(path, bad.to_string()).unwrap();
        let daemon = Daemon::start(&[]);
        status();
        assert!(daemon.terminate());
    }
    std::fs::write(path, "\u{0}not json").unwrap();
    let _daemon = Daemon::start(&[]);
    plugin().add(&container, &config(&json!({}))).expect_ok();
}
