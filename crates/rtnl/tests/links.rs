//! Links, compared with `ip -j` and `bridge -j`.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use rtnl::*;
use serde_json::json as value;
use testkit::namespace::{Namespace, in_namespace, ip_link, json, run};

fn veth<'fd>(name: &str, peer: PeerSpec<'fd>) -> LinkSpec<'fd> {
    LinkSpec::new(name, LinkKind::Veth(Veth { peer }))
}

fn bridge(name: &str) -> LinkSpec<'static> {
    LinkSpec {
        up: true,
        ..LinkSpec::new(name, LinkKind::Bridge(Bridge::default()))
    }
}

#[test]
fn one_request_creates_a_veth_pair() {
    in_namespace(|| {
        let container = Namespace::default();
        let handle = Handle::open().unwrap();
        handle.request(Request::new_link(&bridge("br0"))).unwrap();
        let master = handle.link_by_name("br0").unwrap().index;

        let spec = LinkSpec {
            mtu: Some(1400),
            master: Some(master),
            up: true,
            txqlen: Some(0),
            num_tx_queues: Some(2),
            num_rx_queues: Some(3),
            gso_max_size: Some(32768),
            ..veth(
                "host0",
                PeerSpec {
                    name: "eth0".into(),
                    netns: Some(container.fd()),
                    mac: Some(vec![2, 0, 0, 0, 0, 1]),
                    mtu: Some(1400),
                    txqlen: Some(7),
                    num_tx_queues: Some(4),
                    num_rx_queues: Some(5),
                    ..PeerSpec::default()
                },
            )
        };
        let reply = handle.request(Request::new_link(&spec)).unwrap();

        let near = ip_link("host0");
        assert_eq!(near["master"], "br0");
        assert_eq!(near["mtu"], 1400);
        assert_eq!(near["num_tx_queues"], 2);
        assert_eq!(near["gso_max_size"], 32768);
        assert!(near["flags"].as_array().unwrap().contains(&value!("UP")));
        assert_eq!(near["linkinfo"]["info_kind"], "veth");
        let far = container.run(|| ip_link("eth0"));
        assert_eq!(far["address"], "02:00:00:00:00:01");
        assert_eq!(far["mtu"], 1400);
        assert_eq!(far["txqlen"], 7);
        assert_eq!(far["num_tx_queues"], 4);
        assert_eq!(far["operstate"], "DOWN");

        let link = handle.link_by_name("host0").unwrap();
        assert_eq!(value!(link.index), near["ifindex"]);
        assert_eq!(value!(link.mac_string()), near["address"]);
        assert_eq!(
            link.link.map(|index| value!(index)),
            Some(far["ifindex"].clone())
        );
        assert_eq!(
            link.link_netnsid.map(|id| value!(id)),
            Some(near["link_netnsid"].clone())
        );
        assert_eq!(link.master, Some(master));
        assert_eq!(link.txqlen, 0);
        assert_eq!(link.num_tx_queues, 2);
        // A kernel for one processor has no number of receive queues.
        if !near["num_rx_queues"].is_null() {
            assert_eq!(near["num_rx_queues"], 3);
            assert_eq!(far["num_rx_queues"], 5);
            assert_eq!(link.num_rx_queues, 3);
        }
        assert_eq!(link.gso_max_size, 32768);
        // Only the peer is missing.
        assert_ne!(link.operstate, OperState::Up);
        let mut events = Handle::subscribe_links().unwrap();
        container.run(|| run("ip link set eth0 up"));
        let deadline = Instant::now() + Duration::from_secs(10);
        let ready = |link: &Link| link.operstate == OperState::Up;
        assert!(events.wait(link.index, deadline, ready).unwrap().is_met());
        assert!(link.is_up() && link.is_kind("veth"));
        // Since Linux 6.2.
        if let Some(echo) = reply.link {
            assert_eq!(echo.index, link.index);
            assert_eq!(echo.mac, link.mac);
            assert_eq!(echo.name, "host0");
        } else {
            eprintln!("this kernel does not echo new links");
        }
    });
}

/// Compares the kernel versions in the documentation of `Reply::link`.
#[test]
fn new_links_are_echoed_since_linux_6_2() {
    let release = run("uname -r");
    let mut numbers = release.split(['.', '-']).map(|n| n.parse().unwrap_or(0));
    let version: (u32, u32) = (numbers.next().unwrap(), numbers.next().unwrap());
    in_namespace(|| {
        let handle = Handle::open().unwrap();
        let reply = handle.request(Request::new_link(&bridge("br0"))).unwrap();
        assert_eq!(reply.link.is_some(), version >= (6, 2), "{release}");
        let Some(echo) = reply.link else { return };
        let link = handle.link_by_name("br0").unwrap();
        assert_eq!(
            (echo.index, echo.mac, echo.kind),
            (link.index, link.mac, link.kind)
        );
    });
}

#[test]
fn names_in_use_and_missing_links_are_distinct_errors() {
    in_namespace(|| {
        let handle = Handle::open().unwrap();
        handle.request(Request::new_link(&bridge("br0"))).unwrap();
        let error = handle
            .request(Request::new_link(&bridge("br0")))
            .err()
            .unwrap();
        assert!(error.is_exists() && !error.is_not_found());
        assert_eq!(error.to_string(), "file exists");
        assert_eq!(error.what(), "create bridge link \"br0\"");

        for name in ["nope", "", "a-name-longer-than-fifteen-bytes"] {
            let error = handle.link_by_name(name).unwrap_err();
            assert!(error.is_not_found(), "{name}: {error}");
            assert_eq!(error.to_string(), "Link not found");
        }
        let error = handle.link_by_index(4711).unwrap_err();
        assert_eq!(error.to_string(), "Link not found");
        let error = handle.request(Request::del_link(4711)).err().unwrap();
        assert!(error.is_not_found());
        let error = handle
            .request(Request::del_link_by_name("nope"))
            .err()
            .unwrap();
        assert!(error.is_not_found());
        let error = handle.request(Request::del_link_by_name("")).err().unwrap();
        assert!(error.errno().is_some(), "{error}");

        handle.request(Request::del_link_by_name("br0")).unwrap();
        assert!(handle.link_by_name("br0").unwrap_err().is_not_found());
    });
}

#[test]
fn errors_contain_the_extended_acknowledgement() {
    in_namespace(|| {
        let handle = Handle::open().unwrap();
        run("ip link add br0 type bridge");
        let index = handle.link_by_name("br0").unwrap().index;
        let change = LinkChange {
            mtu: Some(10),
            ..LinkChange::default()
        };
        let error = handle
            .request(Request::set_link(index, &change))
            .err()
            .unwrap();
        assert_eq!(
            error.to_string(),
            "invalid argument: mtu less than device minimum"
        );
        assert_eq!(error.ext_ack(), "mtu less than device minimum");
        let spec = LinkSpec {
            link: Some(4711),
            ..LinkSpec::new("m0", LinkKind::Macvlan(Macvlan::default()))
        };
        let error = handle.request(Request::new_link(&spec)).err().unwrap();
        assert!(error.is_not_found());
        assert!(error.to_string().starts_with("no such device"), "{error}");
    });
}

#[test]
fn a_name_with_a_zero_byte_is_not_sent() {
    in_namespace(|| {
        let handle = Handle::open().unwrap();
        run("ip link add br0 type bridge");
        let results = handle.batch(vec![
            Request::del_link_by_name("br0\0x"),
            Request::new_link(&bridge("br1")),
        ]);
        let error = results[0].as_ref().err().unwrap();
        assert_eq!(
            error.to_string(),
            "zero byte in a string: delete link \"br0\\0x\""
        );
        assert!(results[1].is_ok());
        assert!(handle.link_by_name("br0\0").is_err());
        assert!(handle.link_by_name("br0").is_ok());
    });
}

#[test]
fn a_batch_gives_each_request_its_own_result() {
    in_namespace(|| {
        let handle = Handle::open().unwrap();
        // More requests than fit into one datagram.
        let mut requests = Vec::new();
        for number in 0..100 {
            // Every seventh link is requested twice.
            let name = format!("br{}", if number % 7 == 6 { number - 1 } else { number });
            requests.push(Request::new_link(&bridge(&name)));
        }
        let results = handle.batch(requests);
        assert_eq!(results.len(), 100);
        for (number, result) in results.iter().enumerate() {
            match result {
                Ok(_) => assert_ne!(number % 7, 6, "{number}"),
                Err(error) => {
                    assert_eq!(number % 7, 6, "{number}: {error}");
                    assert!(error.is_exists());
                }
            }
        }
        assert_eq!(handle.links_by_kind("bridge").unwrap().len(), 86);
        assert_eq!(json("ip -j link show type bridge").len(), 86);
        assert!(handle.batch(Vec::new()).is_empty());
    });
}

#[test]
fn all_link_changes_are_applied() {
    in_namespace(|| {
        let handle = Handle::open().unwrap();
        run("ip link add v0 type veth peer name v1");
        let index = handle.link_by_name("v0").unwrap().index;
        let change = LinkChange {
            name: Some("w0".into()),
            mtu: Some(1280),
            mac: Some(vec![2, 0, 0, 0, 0, 9]),
            up: Some(true),
            promisc: Some(true),
            allmulti: Some(true),
            txqlen: Some(5),
            gso_max_size: Some(16384),
            gro_max_size: Some(8192),
            alias: Some("the alias".into()),
            ..LinkChange::default()
        };
        handle.request(Request::set_link(index, &change)).unwrap();
        let seen = ip_link("w0");
        assert_eq!(seen["mtu"], 1280);
        assert_eq!(seen["address"], "02:00:00:00:00:09");
        assert_eq!(seen["txqlen"], 5);
        assert_eq!(seen["ifalias"], "the alias");
        assert_eq!(seen["promiscuity"], 1);
        assert_eq!(seen["gso_max_size"], 16384);
        assert_eq!(seen["gro_max_size"], 8192);
        for flag in ["UP", "PROMISC", "ALLMULTI"] {
            assert!(
                seen["flags"].as_array().unwrap().contains(&value!(flag)),
                "{flag}"
            );
        }
        let link = handle.link_by_index(index).unwrap();
        assert_eq!(link.name, "w0");
        assert_eq!((link.alias.as_str(), link.promiscuity), ("the alias", 1));
        assert_eq!((link.gso_max_size, link.gro_max_size), (16384, 8192));
        assert_eq!(
            link.flags & (IFF_PROMISC | IFF_ALLMULTI),
            IFF_PROMISC | IFF_ALLMULTI
        );

        let change = LinkChange {
            up: Some(false),
            promisc: Some(false),
            alias: Some(String::new()),
            ..LinkChange::default()
        };
        handle.request(Request::set_link(index, &change)).unwrap();
        let link = handle.link_by_index(index).unwrap();
        assert_eq!(
            link.flags & (IFF_UP | IFF_PROMISC | IFF_ALLMULTI),
            IFF_ALLMULTI
        );
        assert_eq!(link.alias, "");
    });
}

#[test]
fn alternative_names_find_a_link() {
    in_namespace(|| {
        let handle = Handle::open().unwrap();
        run("ip link add br0 type bridge");
        run("ip link property add dev br0 altname a-name-longer-than-fifteen-bytes");
        run("ip link property add dev br0 altname short");
        let link = handle
            .link_by_name("a-name-longer-than-fifteen-bytes")
            .unwrap();
        assert_eq!(link.name, "br0");
        assert_eq!(handle.link_by_name("short").unwrap().name, "br0");
    });
}

#[test]
fn a_link_moves_and_is_renamed_at_once() {
    in_namespace(|| {
        let container = Namespace::default();
        let handle = Handle::open().unwrap();
        run("ip link add taken type veth peer name v1");
        run("ip link add v0 type veth peer name v2");
        let index = handle.link_by_name("v0").unwrap().index;
        let change = LinkChange {
            name: Some("taken".into()),
            netns: Some(container.fd()),
            ..LinkChange::default()
        };
        handle.request(Request::set_link(index, &change)).unwrap();
        assert!(handle.link_by_name("v0").unwrap_err().is_not_found());
        container.run(|| {
            assert_eq!(ip_link("taken")["linkinfo"]["info_kind"], "veth");
        });
    });
}

#[test]
fn macvlan_is_created_in_another_namespace() {
    in_namespace(|| {
        let container = Namespace::default();
        let handle = Handle::open().unwrap();
        run("ip link add v0 type veth peer name v1");
        let parent = handle.link_by_name("v0").unwrap().index;
        for mode in ["private", "vepa", "bridge"] {
            let number = match mode {
                "private" => MacvlanMode::Private,
                "vepa" => MacvlanMode::Vepa,
                _ => MacvlanMode::Bridge,
            };
            let spec = LinkSpec {
                link: Some(parent),
                netns: Some(container.fd()),
                mac: Some(vec![2, 0, 0, 0, 1, u8::try_from(number.number()).unwrap()]),
                ..LinkSpec::new(
                    mode,
                    LinkKind::Macvlan(Macvlan {
                        mode: Some(number),
                        bc_queue_len: Some(4321),
                        ..Macvlan::default()
                    }),
                )
            };
            handle.request(Request::new_link(&spec)).unwrap();
            container.run(|| {
                let seen = ip_link(mode);
                assert_eq!(seen["linkinfo"]["info_kind"], "macvlan");
                assert_eq!(seen["linkinfo"]["info_data"]["mode"], mode);
                let link = Handle::open().unwrap().link_by_name(mode).unwrap();
                let KindInfo::Macvlan(info) = link.info else {
                    panic!()
                };
                assert_eq!(info.mode, Some(number));
                assert_eq!(info.bc_queue_len, Some(4321));
                assert_eq!(link.link, Some(parent));
                assert!(link.link_netnsid.is_some());
            });
        }
    });
}

/// The reason why macvlan and similar links are created with a temporary name.
#[test]
fn a_name_in_use_in_this_namespace_fails_on_older_kernels() {
    in_namespace(|| {
        let container = Namespace::default();
        let handle = Handle::open().unwrap();
        run("ip link add taken type veth peer name v1");
        let parent = handle.link_by_name("taken").unwrap().index;
        let spec = LinkSpec {
            link: Some(parent),
            netns: Some(container.fd()),
            ..LinkSpec::new("taken", LinkKind::Macvlan(Macvlan::default()))
        };
        let born = match handle.request(Request::new_link(&spec)) {
            Ok(_) => true,
            Err(error) => {
                assert!(error.is_exists(), "{error}");
                false
            }
        };
        eprintln!("born: {born}");
        assert_eq!(
            container.run(|| Handle::open().unwrap().link_by_name("taken").is_ok()),
            born
        );
    });
}

#[test]
fn ifb_needs_no_options() {
    in_namespace(|| {
        let handle = Handle::open().unwrap();
        let spec = LinkSpec::new("ifb7", LinkKind::Ifb);
        handle.request(Request::new_link(&spec)).unwrap();
        assert_eq!(ip_link("ifb7")["linkinfo"]["info_kind"], "ifb");
    });
}

/// A failure after the creation leaves no link.
#[test]
fn a_link_that_cannot_join_its_master_is_not_created() {
    in_namespace(|| {
        let container = Namespace::default();
        let handle = Handle::open().unwrap();
        let pair = |master| LinkSpec {
            master: Some(master),
            up: true,
            ..veth(
                "v0",
                PeerSpec {
                    name: "v1".into(),
                    netns: Some(container.fd()),
                    ..PeerSpec::default()
                },
            )
        };
        let lo = handle.link_by_name("lo").unwrap().index;
        for (master, text) in [(4711, "invalid argument"), (lo, "operation not supported")] {
            let error = handle.request(Request::new_link(&pair(master))).err();
            assert!(error.unwrap().to_string().starts_with(text));
            assert_eq!(handle.links().unwrap().len(), 1);
            container.run(|| assert_eq!(Handle::open().unwrap().links().unwrap().len(), 1));
        }
        assert!(
            handle
                .request(Request::new_link(&pair(lo)))
                .err()
                .unwrap()
                .is_unsupported()
        );
    });
}

/// Requests are executed in the namespace in which the socket was opened.
#[test]
fn a_handle_stays_in_its_namespace() {
    in_namespace(|| {
        let container = Namespace::default();
        let outside = Handle::open().unwrap();
        run("ip link add br0 type bridge");
        let inside = container.run(|| Handle::open().unwrap());
        assert!(inside.link_by_name("br0").unwrap_err().is_not_found());
        inside.request(Request::new_link(&bridge("br1"))).unwrap();
        container.run(move || {
            assert_eq!(outside.links_by_kind("bridge").unwrap().len(), 1);
            assert!(outside.link_by_name("br0").is_ok());
        });
    });
}

/// A peer name in use fails the whole request.
#[test]
fn a_peer_name_in_use_is_an_error() {
    in_namespace(|| {
        let container = Namespace::default();
        let handle = Handle::open().unwrap();
        container.run(|| run("ip link add taken type bridge"));
        let pair = |peer: &str| {
            let peer = PeerSpec {
                name: peer.into(),
                netns: Some(container.fd()),
                ..PeerSpec::default()
            };
            handle.request(Request::new_link(&veth("v0", peer)))
        };
        assert!(pair("taken").err().unwrap().is_exists());
        assert!(handle.link_by_name("v0").unwrap_err().is_not_found());
        // The same name in this namespace is not an error.
        run("ip link add free type bridge");
        pair("free").unwrap();
    });
}
