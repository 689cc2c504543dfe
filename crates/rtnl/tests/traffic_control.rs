//! Traffic control, compared with `tc`.
#![allow(clippy::unwrap_used)]

use rtnl::*;
use testkit::namespace::{in_namespace, json, run};

const FIRST: TcHandle = TcHandle::new(1, 0);

fn spec(kind: QdiscKind) -> QdiscSpec {
    QdiscSpec {
        handle: FIRST,
        parent: TcHandle::ROOT,
        kind,
    }
}

/// Creates a veth pair `v0` and `v1`, both up. Returns the index of `v0`.
fn veth(handle: &Handle) -> u32 {
    run("ip link add v0 type veth peer name v1");
    run("ip link set v0 up");
    run("ip link set v1 up");
    handle.link_by_name("v0").unwrap().index
}

#[test]
fn a_token_bucket_filter() {
    in_namespace(|| {
        let handle = Handle::open().unwrap();
        let index = veth(&handle);
        let tbf = Tbf {
            rate: 125_000,
            limit: 1_003_125,
            buffer: 125_000_000,
        };
        let add = || Request::add_qdisc(index, &spec(QdiscKind::Tbf(tbf)));
        handle.request(add()).unwrap();
        let shown = json("tc -j qdisc show dev v0").remove(0);
        assert_eq!(shown["kind"], "tbf");
        assert_eq!(shown["handle"], "1:");
        assert_eq!(shown["root"], true);
        assert_eq!(shown["options"]["rate"], 125_000);
        assert_eq!(shown["options"]["burst"], 1_000_000);
        assert_eq!(shown["options"]["lat"], 25_000);
        let read = handle.qdisc(index, TcHandle::ROOT).unwrap().unwrap();
        assert_eq!(read.info, QdiscInfo::Tbf(tbf));
        assert_eq!(
            (read.handle, read.parent, read.index),
            (FIRST, TcHandle::ROOT, index)
        );
        assert_eq!(handle.qdiscs(index).unwrap(), [read]);

        assert!(handle.request(add()).unwrap_err().is_exists());
        let delete = || Request::del_qdisc(index, FIRST, TcHandle::ROOT);
        handle.request(delete()).unwrap();
        assert_eq!(json("tc -j qdisc show dev v0")[0]["handle"], "0:");
        let again = handle.request(delete()).unwrap_err().errno();
        assert!(matches!(again, Some(2 | 22)), "{again:?}");
    });
}

/// The rate needs more than 32 bits.
#[test]
fn a_rate_above_34_gigabit() {
    in_namespace(|| {
        let handle = Handle::open().unwrap();
        let index = veth(&handle);
        let tbf = Tbf {
            rate: 12_500_000_000,
            limit: 400_000_000,
            buffer: 15_625,
        };
        let add = Request::add_qdisc(index, &spec(QdiscKind::Tbf(tbf)));
        handle.request(add).unwrap();
        let read = handle.qdisc(index, TcHandle::ROOT).unwrap().unwrap();
        assert_eq!(read.info, QdiscInfo::Tbf(tbf));
        let shown = json("tc -j qdisc show dev v0").remove(0);
        assert_eq!(shown["options"]["rate"], 12_500_000_000u64);
    });
}

#[test]
fn missing_objects_are_reported_as_missing() {
    in_namespace(|| {
        let handle = Handle::open().unwrap();
        let index = veth(&handle);
        let root = handle.qdisc(index, TcHandle::ROOT).unwrap().unwrap();
        assert_eq!(
            (root.kind.as_str(), root.handle),
            ("noqueue", TcHandle::NONE)
        );
        assert_eq!(handle.qdisc(index, TcHandle::INGRESS).unwrap(), None);
        assert_eq!(handle.qdisc(index, TcHandle::new(5, 1)).unwrap(), None);
        // A link that was never up has no qdisc that the kernel reports.
        run("ip link add i0 type ifb");
        let down = handle.link_by_name("i0").unwrap().index;
        assert_eq!(handle.qdisc(down, TcHandle::ROOT).unwrap(), None);
        assert!(
            handle
                .qdisc(9999, TcHandle::ROOT)
                .unwrap_err()
                .is_not_found()
        );
        assert_eq!(handle.filters(index, TcHandle::INGRESS_QDISC).unwrap(), []);
        assert_eq!(handle.classes(index).unwrap(), []);
        // Replies still belong to their requests.
        assert_eq!(handle.link_by_index(index).unwrap().name, "v0");
    });
}

#[test]
fn received_packets_are_redirected() {
    in_namespace(|| {
        let handle = Handle::open().unwrap();
        let index = veth(&handle);
        run("ip link add i0 type ifb");
        let target = handle.link_by_name("i0").unwrap().index;
        let ingress = QdiscSpec {
            handle: TcHandle::INGRESS_QDISC,
            parent: TcHandle::INGRESS,
            kind: QdiscKind::Ingress,
        };
        handle.request(Request::add_qdisc(index, &ingress)).unwrap();
        let filter = U32Filter {
            parent: TcHandle::INGRESS_QDISC,
            protocol: 3,
            priority: 1,
            keys: vec![U32Key::default()],
            class: TcHandle::new(1, 1),
            redirect: Some(target),
        };
        handle
            .request(Request::add_u32_filter(index, &filter))
            .unwrap();
        let shown = run("tc filter show dev v0 ingress");
        for part in [
            "protocol all pref 1 u32",
            "flowid 1:1",
            "match 00000000/00000000 at 0",
            "mirred (Egress Redirect to device i0) stolen",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        let read = handle.filters(index, TcHandle::INGRESS_QDISC).unwrap();
        assert_eq!(read.len(), 1);
        assert_eq!((read[0].kind.as_str(), &read[0].filter), ("u32", &filter));
        let qdisc = handle.qdisc(index, TcHandle::INGRESS).unwrap().unwrap();
        assert_eq!(qdisc.kind, "ingress");

        run("ip link del i0");
        let read = handle.filters(index, TcHandle::INGRESS_QDISC).unwrap();
        assert_eq!(read[0].filter.redirect, Some(0));
        let delete = || Request::del_qdisc(index, TcHandle::INGRESS_QDISC, TcHandle::INGRESS);
        handle.request(delete()).unwrap();
        assert!(!run("tc qdisc show dev v0").contains("ingress"));
        let again = handle.request(delete()).unwrap_err().errno();
        assert!(matches!(again, Some(2 | 22)), "{again:?}");
    });
}

#[test]
fn htb_classes_and_filters() {
    in_namespace(|| {
        let handle = Handle::open().unwrap();
        let index = veth(&handle);
        let htb = Htb {
            default_class: 48,
            rate2quantum: 10,
        };
        let add = Request::add_qdisc(index, &spec(QdiscKind::Htb(htb)));
        handle.request(add).unwrap();
        let classes = [
            (
                TcHandle::new(1, 48),
                HtbClass {
                    rate: 125_000,
                    ceil: 250_000,
                    buffer: 1_000_000,
                    cbuffer: 2_000_000,
                    quantum: 12_500,
                },
            ),
            (
                TcHandle::new(1, 1),
                HtbClass {
                    rate: 100_000_000_000,
                    ceil: 100_000_000_000,
                    buffer: 15_625,
                    cbuffer: 15_625,
                    quantum: 200_000,
                },
            ),
        ];
        for (number, class) in classes {
            let add = Request::add_htb_class(index, number, FIRST, &class);
            handle.request(add).unwrap();
        }
        let shown = run("tc class show dev v0");
        assert!(
            shown.contains("class htb 1:30 root prio 0 rate 1Mbit ceil 2Mbit"),
            "{shown}"
        );
        assert!(
            shown.contains("class htb 1:1 root prio 0 rate 800Gbit"),
            "{shown}"
        );
        let root = handle.qdisc(index, TcHandle::ROOT).unwrap().unwrap();
        assert_eq!(root.info, QdiscInfo::Htb(htb));
        let read = handle.classes(index).unwrap();
        for (number, class) in classes {
            let found = read.iter().find(|c| c.handle == number).unwrap();
            assert_eq!(found.htb, Some(class));
        }

        let queue = QdiscSpec {
            handle: TcHandle::new(2, 0),
            parent: TcHandle::new(1, 48),
            kind: QdiscKind::Bfifo { limit: 30_000 },
        };
        handle.request(Request::add_qdisc(index, &queue)).unwrap();
        assert!(run("tc qdisc show dev v0").contains("bfifo 2: parent 1:30 limit 30000b"));
        let read = handle.qdisc(index, TcHandle::new(1, 48)).unwrap().unwrap();
        assert_eq!(read.kind, "bfifo");
        let nowhere = QdiscSpec {
            parent: TcHandle::new(1, 77),
            ..queue
        };
        let refused = handle.request(Request::add_qdisc(index, &nowhere));
        assert!(refused.is_err());

        let filters = [
            U32Filter {
                parent: FIRST,
                protocol: 0x0800,
                priority: 16,
                keys: vec![U32Key {
                    mask: 0xff00_0000,
                    value: 0x0a00_0000,
                    offset: 16,
                }],
                class: TcHandle::new(1, 1),
                redirect: None,
            },
            U32Filter {
                parent: FIRST,
                protocol: 0x86dd,
                priority: 15,
                keys: vec![
                    U32Key {
                        mask: u32::MAX,
                        value: 0x2001_0db8,
                        offset: 24,
                    },
                    U32Key {
                        mask: 0xffff_0000,
                        value: 0x0001_0000,
                        offset: 28,
                    },
                ],
                class: TcHandle::new(1, 1),
                redirect: None,
            },
        ];
        for filter in &filters {
            handle
                .request(Request::add_u32_filter(index, filter))
                .unwrap();
        }
        let shown = run("tc filter show dev v0");
        for part in [
            "protocol ip pref 16 u32",
            "match 0a000000/ff000000 at 16",
            "protocol ipv6 pref 15 u32",
            "match 20010db8/ffffffff at 24",
            "match 00010000/ffff0000 at 28",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        let read = handle.filters(index, FIRST).unwrap();
        let read: Vec<_> = read.into_iter().map(|f| f.filter).collect();
        assert_eq!(read, [filters[1].clone(), filters[0].clone()]);
    });
}

/// Kernels without these qdiscs report an unknown kind.
#[test]
fn fair_queues() {
    in_namespace(|| {
        let handle = Handle::open().unwrap();
        let index = veth(&handle);
        for kind in [QdiscKind::FqCodel, QdiscKind::Fq] {
            match handle.request(Request::add_qdisc(index, &spec(kind))) {
                Ok(_) => {
                    let read = handle.qdisc(index, TcHandle::ROOT).unwrap().unwrap();
                    assert_eq!(read.kind, kind.name());
                    run("tc qdisc del dev v0 root");
                }
                Err(error) => {
                    assert_eq!(error.errno(), Some(2), "{error}");
                    assert!(error.ext_ack().contains("kind is unknown"), "{error}");
                }
            }
        }
    });
}
