//! Tests of handles: opening, entering, returning.

use super::*;
use std::thread;

fn inode(ns: &Netns) -> u64 {
    ns.file.metadata().unwrap().ino()
}

/// Creates a namespace, which the handle keeps alive after its thread has ended.
fn new_netns() -> Netns {
    thread::spawn(|| {
        nix::sched::unshare(CloneFlags::CLONE_NEWNET).expect("these tests need root");
        Netns::current().unwrap()
    })
    .join()
    .unwrap()
}

#[test]
fn failures_are_distinguished() {
    let missing = Netns::open(Path::new("/nonexistent/netns")).unwrap_err();
    assert_eq!(
        missing.to_string(),
        r#"failed to Statfs "/nonexistent/netns": no such file or directory"#
    );
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("plain");
    std::fs::write(&path, "").unwrap();
    let plain = Netns::open(&path).unwrap_err();
    assert!(matches!(plain, NsError::NotNamespace { .. }), "{plain}");
    assert!(
        plain.to_string().starts_with("unknown FS magic on \""),
        "{plain}"
    );
    let under = Netns::open(&path.join("x")).unwrap_err();
    assert!(under.to_string().ends_with(": not a directory"), "{under}");
    let mnt = Netns::open(Path::new("/proc/self/ns/mnt")).unwrap();
    let mnt = mnt.run(|| ()).unwrap_err();
    assert_eq!(
        mnt.to_string(),
        "error switching to ns /proc/self/ns/mnt: not a network namespace"
    );
    let proc_file = Netns::open(Path::new("/proc/uptime")).unwrap_err();
    for error in [missing, plain, under, mnt, proc_file] {
        assert!(error.is_gone(), "{error}");
    }
    assert!(!NsError::other("", Errno::EACCES).is_gone());
}

#[test]
fn run_returns_to_the_previous_namespace_even_nested() {
    let (a, b) = (new_netns(), new_netns());
    let home = inode(&Netns::current().unwrap());
    let here = || inode(&Netns::current().unwrap());
    let seen = a
        .run(|| {
            let outer = here();
            let inner = b.run(here).unwrap();
            (outer, inner, here())
        })
        .unwrap();
    assert_eq!(seen, (inode(&a), inode(&b), inode(&a)));
    assert_eq!(here(), home);
    assert!(!a.is_same(&b).unwrap());
    assert!(a.is_same(&a).unwrap());
}

#[test]
fn run_returns_to_the_previous_namespace_after_a_panic() {
    let ns = new_netns();
    let home = inode(&Netns::current().unwrap());
    let panicked = std::panic::catch_unwind(|| ns.run(|| panic!("inside")));
    assert!(panicked.is_err());
    assert_eq!(inode(&Netns::current().unwrap()), home);
}

#[test]
fn many_threads_share_one_handle() {
    let ns = new_netns();
    let expected = inode(&ns);
    thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| {
                assert_eq!(
                    ns.run(|| inode(&Netns::current().unwrap())).unwrap(),
                    expected
                );
            });
        }
    });
}
