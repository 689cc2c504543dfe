//! Deletions of links that a child process makes.
#![allow(clippy::unwrap_used)]

use rtnl::deferred::{DeletionSocket, LinkDeletion};
use rtnl::*;
use testkit::namespace::{Namespace, in_namespace, run};

fn index(handle: &Handle, name: &str) -> u32 {
    handle.link_by_name(name).unwrap().index
}

fn is_gone(handle: &Handle, name: &str) -> bool {
    handle
        .link_by_name(name)
        .is_err_and(|error| error.is_not_found())
}

#[test]
fn both_ends_of_a_pair_are_gone() {
    in_namespace(|| {
        let handle = Handle::open().unwrap();
        let far = Namespace::default();
        let far_handle = far.run(|| Handle::open().unwrap());
        let link = LinkSpec::new(
            "near0",
            LinkKind::Veth(Veth {
                peer: PeerSpec {
                    name: "far0".to_owned(),
                    netns: Some(far.fd()),
                    ..PeerSpec::default()
                },
            }),
        );
        for _ in 0..50 {
            handle.request(Request::new_link(&link)).unwrap();
            let socket = DeletionSocket::open().unwrap();
            let deletion = LinkDeletion::start(&handle, Some(socket), &[index(&handle, "near0")]);
            assert_eq!(deletion.finish().len(), 1);
            assert!(is_gone(&handle, "near0"));
            assert!(is_gone(&far_handle, "far0"));
        }
    });
}

#[test]
fn each_link_has_its_result() {
    in_namespace(|| {
        run("ip link add v0 type veth peer name v1");
        run("ip link add br0 type bridge");
        let handle = Handle::open().unwrap();
        let lo = index(&handle, "lo");
        let indexes = [index(&handle, "v0"), 4711, lo, index(&handle, "br0")];
        let refused = handle.request(Request::del_link(lo)).err().unwrap();
        for socket in [DeletionSocket::open().ok(), None] {
            let results = LinkDeletion::start(&handle, socket, &indexes).finish();
            // What does not exist is gone.
            assert!(results[0].is_ok() && results[1].is_ok() && results[3].is_ok());
            let error = results[2].as_ref().err().unwrap();
            assert_eq!(error.to_string(), refused.to_string());
            assert_eq!(error.what(), refused.what());
            assert!(is_gone(&handle, "v1") && is_gone(&handle, "br0"));
        }
        let none = LinkDeletion::start(&handle, DeletionSocket::open().ok(), &[]);
        assert!(none.finish().is_empty());
    });
}

/// Events of other links overflow the receive buffer meanwhile.
#[test]
fn a_deletion_survives_lost_events() {
    in_namespace(|| {
        run("ip link add v0 type veth peer name v1");
        run("ip link add br0 type bridge");
        let handle = Handle::open().unwrap();
        let socket = DeletionSocket::open().unwrap();
        let (v0, br0) = (index(&handle, "v0"), index(&handle, "br0"));
        let flood = || {
            for _ in 0..1000 {
                for promisc in [Some(true), Some(false)] {
                    let change = LinkChange {
                        promisc,
                        ..LinkChange::default()
                    };
                    handle.request(Request::set_link(br0, &change)).unwrap();
                }
            }
        };
        flood();
        let deletion = LinkDeletion::start(&handle, Some(socket), &[v0]);
        flood();
        assert!(deletion.finish()[0].is_ok());
        assert!(is_gone(&handle, "v0"));
    });
}
