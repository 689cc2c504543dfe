//! Waits for links and addresses, and dumps during changes.
#![allow(clippy::unwrap_used)]

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rtnl::*;
use testkit::namespace::{Namespace, in_namespace, run};

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

fn up(link: &Link) -> bool {
    link.operstate == OperState::Up
}

#[test]
fn a_link_that_is_up_already_is_not_waited_for() {
    in_namespace(|| {
        run("ip link add v0 type veth peer name v1");
        run("ip link set v0 up");
        run("ip link set v1 up");
        let index = Handle::open().unwrap().link_by_name("v0").unwrap().index;
        let mut events = Handle::subscribe_links().unwrap();
        let past = Instant::now();
        assert!(events.wait(index, past, up).unwrap().is_met());
        // An outdated event is ignored, because the link has changed since.
        run("ip link set v1 down");
        run("ip link set v1 up");
        run("ip link set v1 down");
        let waited = events.wait(index, Instant::now(), up).unwrap();
        let WaitOutcome::TimedOut(link) = waited else {
            panic!()
        };
        assert_eq!(link.operstate, OperState::LowerLayerDown);
    });
}

#[test]
fn a_link_that_comes_up_later_is_noticed() {
    in_namespace(|| {
        run("ip link add br0 type bridge");
        run("ip link add v0 master br0 type veth peer name v1");
        run("ip link set v0 up");
        let here = Namespace::current();
        let index = Handle::open().unwrap().link_by_name("v0").unwrap().index;
        let mut events = Handle::subscribe_links().unwrap();
        let short = Instant::now() + Duration::from_millis(30);
        let waited = events.wait(index, short, up).unwrap();
        assert!(!waited.is_met());
        assert!(Instant::now() >= short);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(50));
                // Events of other links are ignored.
                here.run(|| run("ip link set br0 up"));
                here.run(|| run("ip link set v1 up"));
            });
            let begin = Instant::now();
            assert!(events.wait(index, soon(), up).unwrap().is_met());
            assert!(begin.elapsed() < Duration::from_secs(5));
        });
    });
}

#[test]
fn deletion_of_the_link_ends_the_wait() {
    in_namespace(|| {
        run("ip link add v0 type veth peer name v1");
        let here = Namespace::current();
        let index = Handle::open().unwrap().link_by_name("v0").unwrap().index;
        let mut events = Handle::subscribe_links().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(50));
                here.run(|| run("ip link del v0"));
            });
            let error = events.wait(index, soon(), up).unwrap_err();
            assert_eq!(error.to_string(), "Link not found");
        });
        let error = events.wait(index, soon(), up).unwrap_err();
        assert!(error.is_not_found());
    });
}

/// A link that leaves a bridge is reported as deleted in the family bridge.
#[test]
fn leaving_a_bridge_does_not_end_the_wait() {
    in_namespace(|| {
        run("ip link add br0 type bridge");
        run("ip link add v0 master br0 type veth peer name v1");
        let here = Namespace::current();
        let index = Handle::open().unwrap().link_by_name("v0").unwrap().index;
        let mut events = Handle::subscribe_links().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(50));
                here.run(|| run("ip link set v0 nomaster"));
            });
            let waited = events.wait(index, soon(), |link| link.master.is_none());
            assert!(waited.unwrap().is_met());
        });
    });
}

#[test]
fn a_wait_survives_lost_events() {
    in_namespace(|| {
        run("ip link add v0 type veth peer name v1");
        let handle = Handle::open().unwrap();
        let index = handle.link_by_name("v0").unwrap().index;
        let mut events = Handle::subscribe_links().unwrap();
        for _ in 0..2000 {
            for promisc in [Some(true), Some(false)] {
                let change = LinkChange {
                    promisc,
                    ..LinkChange::default()
                };
                handle.request(Request::set_link(index, &change)).unwrap();
            }
        }
        run("ip link set v0 up");
        run("ip link set v1 up");
        assert!(events.wait(index, soon(), up).unwrap().is_met());
    });
}

#[test]
fn duplicate_address_detection_is_waited_for() {
    in_namespace(|| {
        run("ip link add v0 type veth peer name v1");
        run("ip link set v0 up");
        run("ip link set v1 up");
        let handle = Handle::open().unwrap();
        let index = handle.link_by_name("v0").unwrap().index;
        let mut events = Handle::subscribe_addresses().unwrap();
        let addr = "2001:db8::1".parse().unwrap();
        handle
            .request(Request::add_address(index, &AddressSpec::new(addr, 64)))
            .unwrap();
        let ours = |list: &[Address]| list.iter().find(|a| a.addr == addr).cloned();
        let settled = |list: &[Address]| ours(list).is_some_and(|a| !a.is_tentative());
        let waited = events
            .wait(&handle, index, Instant::now(), settled)
            .unwrap();
        let WaitOutcome::TimedOut(list) = waited else {
            panic!()
        };
        assert!(ours(&list).unwrap().is_tentative());
        let waited = events.wait(&handle, index, soon(), settled).unwrap();
        assert!(waited.is_met());
    });
}

#[test]
fn a_duplicate_address_is_noticed() {
    in_namespace(|| {
        run("ip link add v0 type veth peer name v1");
        run("ip link set v1 up");
        run("ip -6 addr add 2001:db8::1/64 dev v1 nodad");
        run("ip link set v0 up");
        let handle = Handle::open().unwrap();
        let index = handle.link_by_name("v0").unwrap().index;
        let mut events = Handle::subscribe_addresses().unwrap();
        let addr = "2001:db8::1".parse().unwrap();
        handle
            .request(Request::add_address(index, &AddressSpec::new(addr, 64)))
            .unwrap();
        let waited = events
            .wait(&handle, index, soon(), |list| {
                list.iter().any(Address::is_dad_failed)
            })
            .unwrap();
        assert!(waited.is_met());
    });
}

/// A list contains every address that existed during the whole dump. The kernel's dump
/// alone does not: it resumes at the n-th address, which is another one after a deletion.
#[test]
fn dumps_are_consistent() {
    in_namespace(|| {
        let handle = Handle::open().unwrap();
        let lo = handle.link_by_name("lo").unwrap().index;
        // Enough addresses for a dump of several datagrams.
        let stay: Vec<AddressSpec> = (0..3000u32)
            .map(|n| AddressSpec::new(Ipv4Addr::from(0x0a00_0000 + n).into(), 32))
            .collect();
        let add = |spec| Request::add_address(lo, spec);
        assert!(
            handle
                .batch(stay.iter().map(add).collect())
                .iter()
                .all(Result::is_ok)
        );
        // The kernel puts addresses of narrower scope first.
        let guest = AddressSpec {
            scope: Scope::HOST,
            ..AddressSpec::new([192, 0, 2, 1].into(), 32)
        };
        let here = Namespace::current();
        let stop = AtomicBool::new(false);
        let (mut complete, mut refused) = (0, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                here.run(|| {
                    let handle = Handle::open().unwrap();
                    while !stop.load(Ordering::Relaxed) {
                        handle.request(Request::add_address(lo, &guest)).unwrap();
                        handle
                            .request(Request::del_address(lo, guest.addr, 32))
                            .unwrap();
                    }
                });
            });
            for _ in 0..20 {
                match handle.addresses(lo, Some(Family::V4)) {
                    Ok(list) => {
                        let stayed = list.iter().filter(|a| a.scope == Scope::UNIVERSE);
                        complete += usize::from(stayed.count() == 3000);
                    }
                    Err(error) => {
                        let text = error.to_string();
                        assert!(text.starts_with("table kept changing"), "{text}");
                        refused += 1;
                    }
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert_eq!(
            complete + refused,
            20,
            "{complete} complete, {refused} refused"
        );
        // Without changes, the first attempt succeeds.
        let list = handle.addresses(lo, Some(Family::V4)).unwrap();
        assert_eq!(list.len(), 3000);
    });
}

/// A list of links contains every link that existed during the whole dump, however many come and go.
#[test]
fn lists_of_links_are_complete_while_links_change() {
    // Enough for a dump that takes longer than the time between two changes.
    const LASTING: usize = 400;
    in_namespace(|| {
        let handle = Handle::open().unwrap();
        let bridge = |name: &str| {
            Request::new_link(&LinkSpec::new(name, LinkKind::Bridge(Bridge::default())))
        };
        let names: Vec<String> = (0..LASTING).map(|n| format!("br{n}")).collect();
        let created = handle.batch(names.iter().map(|name| bridge(name)).collect());
        assert!(created.iter().all(Result::is_ok));
        let here = Namespace::current();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for worker in 0..8 {
                let (here, stop, bridge) = (&here, &stop, &bridge);
                scope.spawn(move || {
                    here.run(|| {
                        let handle = Handle::open().unwrap();
                        let name = format!("guest{worker}");
                        while !stop.load(Ordering::Relaxed) {
                            handle.request(bridge(&name)).unwrap();
                            let index = handle.link_by_name(&name).unwrap().index;
                            handle.request(Request::del_link(index)).unwrap();
                        }
                    });
                });
            }
            for _ in 0..3 {
                let listed = handle.links_by_kind("bridge").map(|list| {
                    let lasting = list.iter().filter(|link| link.name.starts_with("br"));
                    lasting.count()
                });
                if !matches!(listed, Ok(LASTING)) {
                    stop.store(true, Ordering::Relaxed);
                    panic!("{listed:?}");
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
    });
}
