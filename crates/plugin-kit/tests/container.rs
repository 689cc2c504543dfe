//! Tests of veth pairs, addressing and waiting on interfaces of temporary containers.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on ends by panicking"
)]

use cni_core::ns::Netns;
use cni_core::{AddResult, Interface};
use plugin_kit::veth::{self, VethPair, VethSpec};
use plugin_kit::{Container, MacAddress, Undo, addressing, deletion, wait};
use rtnl::Handle;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use testkit::{Host, Node};

fn open(container: &testkit::Container) -> Container {
    let netns = Netns::open(container.netns()).unwrap();
    Container::of(netns).unwrap()
}

fn spec(container_name: &str) -> VethSpec<'_> {
    VethSpec {
        container_name,
        ..VethSpec::default()
    }
}

/// Creates a pair that is not undone.
fn pair(host: &Handle, container: &Container) -> VethPair {
    let mut undo = Undo::new();
    let pair = veth::create(host, container, &spec("eth0"), &mut undo).unwrap();
    undo.disarm();
    pair
}

fn result(addresses: &[&str]) -> AddResult {
    let ip = |address: &&str| cni_core::IpConfig {
        interface: Some(0),
        ..cni_core::IpConfig::new(address.parse().unwrap())
    };
    AddResult {
        interfaces: vec![Interface::default()],
        ips: addresses.iter().map(ip).collect(),
        ..AddResult::default()
    }
}

#[test]
fn a_pair_has_the_requested_properties() {
    let host = Host::new();
    let c1 = host.container("c1");
    let (handle, container) = (Handle::open().unwrap(), open(&c1));
    let before = host.snapshot();
    let mut undo = Undo::new();
    let wanted = VethSpec {
        mtu: Some(1400),
        mac: Some("02:00:00:00:00:07".parse().unwrap()),
        ..spec("eth0")
    };
    let pair = veth::create(&handle, &container, &wanted, &mut undo).unwrap();
    assert_eq!(pair.host.link, Some(pair.container.index));
    assert_eq!(pair.container.link, Some(pair.host.index));
    assert_eq!((pair.host.mtu, pair.container.mtu), (1400, 1400));
    assert_eq!(pair.container.mac_string(), "02:00:00:00:00:07");
    assert!(pair.host.is_up() && !pair.container.is_up());
    assert!(
        pair.host.name.starts_with("veth") && pair.host.name.len() == 12,
        "{}",
        pair.host.name
    );
    drop(undo);
    before.assert_same(&host.snapshot());
}

#[test]
fn an_existing_interface_has_an_error_of_its_own() {
    let host = Host::new();
    let c1 = host.container("c1");
    let (handle, container) = (Handle::open().unwrap(), open(&c1));
    pair(&handle, &container);
    let before = host.snapshot();
    let mut undo = Undo::new();
    let error = veth::create(&handle, &container, &spec("eth0"), &mut undo).unwrap_err();
    let error = error.to_string();
    assert!(
        error.starts_with("container veth name (\"eth0\") peer provided (\"veth"),
        "{error}"
    );
    assert!(error.ends_with("already exists"), "{error}");
    let error = veth::refuse_existing(&container, "eth0")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("\"eth0\" already exists in /run/netns/c1"),
        "{error}"
    );
    veth::refuse_existing(&container, "eth1").unwrap();
    let too_large = VethSpec {
        mtu: Some(1 << 20),
        ..spec("eth1")
    };
    let error = veth::create(&handle, &container, &too_large, &mut undo).unwrap_err();
    assert!(
        format!("{error:#}").starts_with("failed to make veth pair: "),
        "{error:#}"
    );
    drop(undo);
    before.assert_same(&host.snapshot());
    deletion::delete(&container, "eth0").unwrap();
    deletion::delete(&container, "eth0").unwrap();
}

#[test]
fn addresses_are_reachable_when_apply_returns() {
    // Repeated, since the result depends on when the kernel's worker runs. Both ends have
    // the same index, and then the kernel may take a second to process the carrier.
    for round in 0..20 {
        let host = Host::new();
        let c1 = host.container("c1");
        let (handle, container) = (Handle::open().unwrap(), open(&c1));
        let pair = pair(&handle, &container);
        host.command(&[
            "ip",
            "addr",
            "add",
            "fd00::1/64",
            "dev",
            &pair.host.name,
            "nodad",
        ]);
        let result = result(&["10.0.0.2/24", "fd00::2/64"]);
        addressing::apply(&container, &pair.container, &result, 0, false).unwrap();
        wait::until_reachable(&handle, ["fd00::1".parse().unwrap()].into_iter()).unwrap();
        // The ends are operational once the kernel has processed their carriers.
        let until = Instant::now() + Duration::from_secs(2);
        let on_host = || Ok(Handle::subscribe_links()?);
        let inside = || Ok(container.netns.run(Handle::subscribe_links)??);
        wait::until_operational(&handle, &pair.host, until, on_host).unwrap();
        wait::until_operational(&container.rtnl, &pair.container, until, inside).unwrap();
        let address: IpAddr = "fd00::2".parse().unwrap();
        assert!(
            host.can_reach(address, Duration::from_millis(300)),
            "round {round}"
        );
    }
}

#[test]
fn waiting_for_an_unreachable_address_times_out() {
    let host = Host::new();
    let handle = Handle::open().unwrap();
    let waited = |address: &str| {
        let started = Instant::now();
        wait::until_reachable(&handle, [address.parse().unwrap()].into_iter()).unwrap();
        started.elapsed()
    };
    assert!(
        waited("10.9.9.9") < Duration::from_secs(1),
        "IPv4 addresses are not waited for"
    );
    assert!(waited("::1") < Duration::from_secs(1));
    assert!(waited("fd00::9") >= Duration::from_secs(2));
    drop(host);
}

#[test]
fn apply_returns_on_a_link_without_carrier() {
    let host = Host::new();
    let c1 = host.container("c1");
    let (handle, container) = (Handle::open().unwrap(), open(&c1));
    let pair = pair(&handle, &container);
    host.command(&["ip", "link", "set", &pair.host.name, "down"]);
    addressing::apply(
        &container,
        &pair.container,
        &result(&["fd00::2/64"]),
        0,
        true,
    )
    .unwrap();
}

#[test]
fn apply_needs_an_interface_but_no_addresses() {
    let host = Host::new();
    let c1 = host.container("c1");
    let (handle, container) = (Handle::open().unwrap(), open(&c1));
    let pair = pair(&handle, &container);
    let mut none = result(&["10.0.0.2/24"]);
    none.interfaces.clear();
    let apply = |result: &AddResult| {
        let applied = addressing::apply(&container, &pair.container, result, 0, false);
        applied.map_err(|e| format!("{e:#}"))
    };
    assert_eq!(apply(&none).unwrap_err(), "no interfaces to configure");
    // Without addresses the link still comes up.
    apply(&result(&[])).unwrap();
    assert!(container.rtnl.link_by_name("eth0").unwrap().is_up());
    apply(&result(&["10.0.0.2/24"])).unwrap();
    let again = apply(&result(&["10.0.0.2/24"])).unwrap_err();
    assert!(
        again.starts_with("failed to add IP addr 10.0.0.2/24 to \"eth0\": file exists"),
        "{again}"
    );
}

#[test]
fn the_kernel_accepts_a_random_hardware_address() {
    let host = Host::new();
    let c1 = host.container("c1");
    let (handle, container) = (Handle::open().unwrap(), open(&c1));
    let mac = MacAddress::random().unwrap();
    let mut undo = Undo::new();
    let wanted = VethSpec {
        mac: Some(mac),
        ..spec("eth0")
    };
    let pair = veth::create(&handle, &container, &wanted, &mut undo).unwrap();
    assert_eq!(pair.container.mac_string(), mac.to_string());
}
