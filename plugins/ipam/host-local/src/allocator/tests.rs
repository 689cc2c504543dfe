use std::fs;
use std::path::Path;

use super::*;
use crate::config::Strategy;
use crate::range::{RangeSpec, SubnetText};

pub(super) fn set(ranges: &[&str]) -> RangeSet {
    let specs: Vec<RangeSpec> = ranges
        .iter()
        .map(|text| {
            let (subnet, bounds) = text.split_once(' ').unwrap_or((text, ""));
            let mut bounds = bounds.split('-').map(|bound| bound.parse().ok());
            RangeSpec {
                subnet: Some(SubnetText {
                    cidr: subnet.parse().unwrap(),
                    mapped: false,
                }),
                start: bounds.next().flatten(),
                end: bounds.next().flatten(),
                gateway: None,
            }
        })
        .collect();
    RangeSet::new(&specs).unwrap()
}

pub(super) fn config(directory: &Path, sets: Vec<RangeSet>, requested: &[&str]) -> Config {
    Config {
        sets,
        requested: requested.iter().map(|ip| ip.parse().unwrap()).collect(),
        routes: vec![],
        resolv_conf: None,
        directory: directory.to_owned(),
        strategy: Strategy::RoundRobin,
        reservation_key: Ok(None),
        cool_down: None,
        reclaim: true,
    }
}

/// Allocates with a store of its own; returns the addresses or the text of the error.
fn add(config: &Config, id: &str) -> String {
    let mut store = Store::open(&config.directory).unwrap();
    match allocate_all(&mut store, &Owner::new(id, "eth0"), config) {
        Ok(ips) => ips
            .iter()
            .map(|ip| ip.address.to_string())
            .collect::<Vec<_>>()
            .join(" "),
        Err(error) => format!("{error:#}"),
    }
}

fn del(config: &Config, id: &str) {
    Store::open(&config.directory)
        .unwrap()
        .release_all(&Owner::new(id, "eth0"))
        .unwrap();
}

fn held(config: &Config) -> usize {
    Store::open(&config.directory)
        .unwrap()
        .names()
        .unwrap()
        .len()
}

#[test]
fn takes_one_address_from_each_set() {
    let dir = tempfile::tempdir().unwrap();
    let sets = vec![set(&["10.0.0.0/30"]), set(&["2001:db8::/126"])];
    let config = config(dir.path(), sets, &[]);
    assert_eq!(add(&config, "a"), "10.0.0.2/30 2001:db8::2/126");
    assert_eq!(
        add(&config, "a"),
        "failed to allocate for range 0: 10.0.0.2 has been allocated to a, duplicate allocation is not allowed"
    );
    assert_eq!(held(&config), 2);
    assert_eq!(
        add(&config, "b"),
        "failed to allocate for range 0: no IP addresses available in range set: \
         10.0.0.1-10.0.0.2; 1 of 1 addresses are held by 1 container, e.g. a (1)"
    );
}

#[test]
fn a_failed_add_frees_its_addresses() {
    let dir = tempfile::tempdir().unwrap();
    let sets = || vec![set(&["10.0.0.0/24"]), set(&["10.0.1.0/30"])];
    let both = config(dir.path(), sets(), &[]);
    add(&both, "a");
    // The second set is full: the address of the first is freed, the last reserved one stays.
    assert!(add(&both, "b").starts_with("failed to allocate for range 1: no IP addresses"));
    assert_eq!(held(&both), 2);
    let wrong = config(
        dir.path(),
        vec![set(&["10.0.0.0/24"])],
        &["10.9.9.9", "10.0.0.8", "10.9.9.8"],
    );
    assert_eq!(
        add(&wrong, "b"),
        "failed to allocate all requested IPs: 10.9.9.9 10.9.9.8; each range set provides one address; the range sets \
         are 10.0.0.1-10.0.0.254"
    );
    assert_eq!(held(&both), 2);
    assert_eq!(
        add(&config(dir.path(), vec![set(&["10.0.0.0/24"])], &[]), "b"),
        "10.0.0.9/24"
    );
}

#[test]
fn nothing_stays_reserved_if_the_last_address_cannot_be_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), vec![set(&["10.0.0.0/24"])], &[]);
    fs::create_dir_all(dir.path().join("last_reserved_ip.0")).unwrap();
    let error = add(&config, "a");
    assert!(
        error.ends_with("last_reserved_ip.0: is a directory"),
        "{error}"
    );
    assert_eq!(held(&config), 0);
}

#[test]
fn requested_addresses_are_allocated() {
    let dir = tempfile::tempdir().unwrap();
    let sets = || {
        vec![
            set(&["10.0.0.0/28", "10.0.0.16/28"]),
            set(&["2001:db8::/64"]),
        ]
    };
    let want = |ips: &[&str]| config(dir.path(), sets(), ips);
    assert_eq!(
        add(&want(&["2001:db8::9", "10.0.0.20"]), "a"),
        "10.0.0.20/28 2001:db8::9/64"
    );
    assert_eq!(
        add(&want(&["10.0.0.20"]), "b"),
        "failed to allocate for range 0: requested IP address 10.0.0.20 is not available in range set \
         10.0.0.1-10.0.0.14,10.0.0.17-10.0.0.30"
    );
    assert_eq!(
        add(&want(&["10.0.0.17"]), "b"),
        "failed to allocate for range 0: requested ip 10.0.0.17 is subnet's gateway"
    );
    // The next automatic one continues after the requested one.
    assert_eq!(add(&want(&[]), "b"), "10.0.0.21/28 2001:db8::a/64");
    // Of two requested addresses in one set only the first can be allocated.
    let error = add(&want(&["10.0.0.5", "10.0.0.6"]), "c");
    assert!(
        error.starts_with("failed to allocate all requested IPs: 10.0.0.6; each range set"),
        "{error}"
    );
}

#[test]
fn the_exhaustion_error_names_the_largest_holders() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), vec![set(&["10.0.0.0/29"])], &[]);
    for (ip, content) in [
        (2, "x\r\neth0"),
        (3, "y\r\neth0"),
        (4, "x\r\neth1"),
        (5, "z"),
        (6, "w\r\neth0"),
    ] {
        fs::write(dir.path().join(format!("10.0.0.{ip}")), content).unwrap();
    }
    fs::write(dir.path().join("10.0.1.1"), "v\r\neth0").unwrap();
    assert_eq!(
        add(&config, "a"),
        "failed to allocate for range 0: no IP addresses available in range set: \
         10.0.0.1-10.0.0.6; 5 of 5 addresses are held by 4 containers, e.g. x (2), y (1), z (1)"
    );
}

#[test]
fn status_reports_a_full_set() {
    let dir = tempfile::tempdir().unwrap();
    let sets = vec![set(&["10.0.0.0/30"]), set(&["2001:db8::/64"])];
    let config = config(dir.path(), sets, &[]);
    let full = || {
        let mut store = Store::open_to_read(dir.path()).unwrap().unwrap();
        first_exhausted(&mut store, &config).unwrap()
    };
    assert_eq!(full(), None);
    add(&config, "a");
    let text = full().unwrap();
    assert!(
        text.contains("10.0.0.1-10.0.0.2; 1 of 1 addresses are held by 1 container"),
        "{text}"
    );
    // An empty file, left by a crash, does not count.
    fs::write(dir.path().join("10.0.0.2"), "").unwrap();
    assert_eq!(full(), None);
}

#[test]
fn the_last_free_address_of_a_large_pool_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), vec![set(&["10.0.0.0/20"])], &[]);
    for i in 2..4095u32 {
        let ip = IpAddr::from((0x0a00_0000 + i).to_be_bytes());
        if i != 2000 {
            fs::write(dir.path().join(ip.to_string()), format!("c{i}\r\neth0")).unwrap();
        }
    }
    for _ in 0..3 {
        assert_eq!(add(&config, "a"), "10.0.7.208/20");
        assert!(
            add(&config, "b").contains("; 4093 of 4093 addresses are held by 4093 containers, ")
        );
        del(&config, "a");
    }
    // An address whose file was removed without updating the index is found as well.
    let mut store = Store::open(dir.path()).unwrap();
    assert!(store.is_indexed());
    fs::remove_file(dir.path().join("10.0.3.3")).unwrap();
    assert!(
        store
            .reserve("10.0.7.208".parse().unwrap(), &Owner::new("c", "eth0"))
            .unwrap()
    );
    let ips = allocate_all(&mut store, &Owner::new("d", "eth0"), &config).unwrap();
    assert_eq!(ips[0].address.to_string(), "10.0.3.3/20");
    assert!(store.is_indexed());
}
