//! Records and locks below the `/run/cni` of a private host.
#![allow(
    clippy::unwrap_used,
    reason = "a test ends by panicking, in its helpers as well"
)]

use cni_state::{Directory, Found, Lock, Owner, Record, Store};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Uid, chown, mkfifo};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::thread;
use std::time::Duration;
use testkit::Host;

const STORE: Store = Store::new("topic");
const DIRECTORY: &str = "/run/cni/topic";
const NOBODY: Uid = Uid::from_raw(65534);

fn owner(container_id: &str) -> Owner {
    Owner::new("net", container_id, "eth0")
}

fn record(container_id: &str) -> Record {
    Record::new(STORE, owner(container_id))
}

fn mode(path: &str) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

/// `/run/cni` itself stays.
#[track_caller]
fn assert_no_directory() {
    let directories = fs::read_dir("/run/cni").into_iter().flatten();
    assert_eq!(directories.count(), 0);
}

fn file(container_id: &str) -> String {
    format!("{DIRECTORY}/net:{container_id}:eth0")
}

#[test]
fn records_are_written_read_and_removed_with_their_directories() {
    let _host = Host::new();
    assert_eq!(record("a").read::<u32>(), None);
    record("a").remove().unwrap();
    assert_no_directory();
    record("a").write(&7).unwrap();
    let text = fs::read_to_string(file("a")).unwrap();
    let form = r#"{"version":1,"network":"net","containerID":"a","ifName":"eth0","data":7}"#;
    assert_eq!(text, format!("{form}\n"));
    assert_eq!(record("a").read(), Some(7));
    assert_eq!(record("b").read::<u32>(), None);
    record("b").restore(Some(&8)).unwrap();
    record("a").restore::<u32>(None).unwrap();
    assert_eq!(STORE.owners("net"), [owner("b")]);
    record("b").remove().unwrap();
    assert_no_directory();
}

#[test]
fn modes_do_not_depend_on_the_umask() {
    for bits in [0, 0o077] {
        let _host = Host::new();
        let before = umask(Mode::from_bits_truncate(bits));
        record("a").write(&1).unwrap();
        let lock = Lock::take("lock", Duration::ZERO).unwrap();
        umask(before);
        for directory in ["/run/cni", DIRECTORY, "/run/cni/locks"] {
            assert_eq!(mode(directory), 0o700, "{directory}");
        }
        assert_eq!(mode(&file("a")), 0o600);
        assert_eq!(mode("/run/cni/locks/lock"), 0o600);
        drop(lock);
    }
}

#[test]
fn loose_directories_are_corrected() {
    let _host = Host::new();
    fs::create_dir_all(DIRECTORY).unwrap();
    for path in ["/run/cni", DIRECTORY] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    record("a").write(&1).unwrap();
    assert_eq!((mode("/run/cni"), mode(DIRECTORY)), (0o755, 0o700));
}

/// Upstream's tuning makes directories that only a process with `CAP_DAC_OVERRIDE` can use.
#[test]
fn directories_without_rights_are_corrected() {
    let _host = Host::new();
    fs::create_dir("/run/cni").unwrap();
    fs::create_dir(DIRECTORY).unwrap();
    for path in [DIRECTORY, "/run/cni"] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    assert_eq!(record("a").read::<u32>(), None);
    assert_eq!((mode("/run/cni"), mode(DIRECTORY)), (0o700, 0o700));
}

#[test]
fn what_is_not_ours_counts_as_missing_and_is_replaced() {
    let host = Host::new();
    let victim = host.write("victim", "untouched");
    record("other").write(&1).unwrap();
    let valid = fs::read_to_string(file("other"))
        .unwrap()
        .replace("other", "a");
    let plants: [&dyn Fn(&str); 7] = [
        &|path| symlink(&victim, path).unwrap(),
        &|path| symlink("/dev/zero", path).unwrap(),
        &|path| mkfifo(path, Mode::S_IRWXU).unwrap(),
        &|path| fs::write(path, "{\"version\": 1").unwrap(),
        &|path| fs::write(path, valid.replace("\"version\":1", "\"version\":2")).unwrap(),
        &|path| fs::write(path, valid.replace("eth0", "eth1")).unwrap(),
        &|path| {
            fs::write(path, &valid).unwrap();
            chown(path, Some(NOBODY), None).unwrap();
        },
    ];
    for (number, plant) in plants.iter().enumerate() {
        plant(&file("a"));
        // What a killed writer left, or a link that somebody put in its place.
        plant(&format!("{DIRECTORY}/.net:a:eth0"));
        assert_eq!(record("a").read::<u32>(), None, "{number}");
        record("a").write(&2).unwrap();
        assert_eq!(record("a").read(), Some(2), "{number}");
        record("a").remove().unwrap();
    }
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    let names: Vec<_> = fs::read_dir(DIRECTORY).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[test]
fn directories_and_locks_that_are_not_ours_are_refused() {
    let host = Host::new();
    let elsewhere = host.dir().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    for path in ["/run/cni", DIRECTORY, "/run/cni/locks"] {
        let _ = fs::create_dir("/run/cni");
        let _ = fs::remove_dir(path);
        symlink(&elsewhere, path).unwrap();
        let text = match path {
            "/run/cni/locks" => Lock::take("x", Duration::ZERO).unwrap_err().to_string(),
            _ => record("a").write(&1).unwrap_err().to_string(),
        };
        let expected = format!("{path} is not a directory, or is a symbolic link: remove it");
        assert_eq!(text, expected);
        fs::remove_file(path).unwrap();
    }
    fs::create_dir_all(DIRECTORY).unwrap();
    chown(DIRECTORY, Some(NOBODY), None).unwrap();
    let text = record("a").write(&1).unwrap_err().to_string();
    assert_eq!(
        text,
        format!("{DIRECTORY} belongs to user 65534, not to 0: remove it")
    );
    assert_eq!(record("a").read::<u32>(), None);
    fs::create_dir("/run/cni/locks").unwrap();
    symlink(elsewhere.join("made"), "/run/cni/locks/x").unwrap();
    let text = Lock::take("x", Duration::ZERO).unwrap_err().to_string();
    assert_eq!(text, "/run/cni/locks/x is a symbolic link: remove it");
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
}

#[test]
fn names_of_any_length_have_records() {
    let _host = Host::new();
    let long = [
        Owner::new(&"n".repeat(250), &"c".repeat(4000), "eth0123456789ab"),
        owner("a:b/"),
    ];
    for owner in long {
        let record = Record::new(STORE, owner.clone());
        record.write(&1).unwrap();
        assert_eq!(STORE.owners(&owner.network), std::slice::from_ref(&owner));
        let other = Owner::new(&owner.network, &owner.container_id, "net1");
        assert!(!record.has_sibling() && Record::new(STORE, other).has_sibling());
        assert_eq!(record.read(), Some(1));
        STORE.collect("other", &[]).unwrap();
        STORE
            .collect(&owner.network, std::slice::from_ref(&owner))
            .unwrap();
        assert_eq!(record.read(), Some(1));
        STORE.collect(&owner.network, &[]).unwrap();
        assert_no_directory();
    }
}

#[test]
fn collecting_takes_what_killed_writers_left() {
    let _host = Host::new();
    record("a").write(&1).unwrap();
    fs::write(format!("{DIRECTORY}/.net:b:eth0"), "{\"ver").unwrap();
    STORE.collect("net", &[owner("a")]).unwrap();
    let names = Directory::open(Path::new(DIRECTORY))
        .unwrap()
        .unwrap()
        .names();
    assert_eq!(names.unwrap(), ["net:a:eth0"]);
    assert!(!Path::new(&format!("{DIRECTORY}/.net:b:eth0")).exists());
}

#[test]
fn records_by_key_have_any_owner() {
    let _host = Host::new();
    STORE.write("fd00::1", &owner("a"), &"one").unwrap();
    let found = Found {
        key: "fd00::1".to_owned(),
        owner: owner("a"),
        data: Some("one".to_owned()),
    };
    assert_eq!(STORE.read("fd00::1").as_ref(), Some(&found));
    assert_eq!(STORE.all(), [found]);
    STORE.remove("fd00::1").unwrap();
    STORE.remove("fd00::1").unwrap();
    assert_eq!(STORE.read::<String>("fd00::1"), None);
}

/// The last record of one takes the directory away that another one is about to use.
#[test]
fn many_writers_do_not_disturb_each_other() {
    let _host = Host::new();
    thread::scope(|scope| {
        for number in 0..8 {
            scope.spawn(move || {
                for round in 0..200 {
                    let record = record(&number.to_string());
                    record.write(&round).unwrap();
                    assert_eq!(record.read(), Some(round));
                    record.remove().unwrap();
                }
            });
        }
    });
    assert_no_directory();
}

#[test]
fn a_lock_excludes_others_and_leaves_nothing() {
    let host = Host::new();
    let counter = host.write("counter", "0");
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let _lock = Lock::take("one", Duration::from_secs(60)).unwrap();
                    let count: u32 = fs::read_to_string(&counter).unwrap().parse().unwrap();
                    fs::write(&counter, (count + 1).to_string()).unwrap();
                }
            });
        }
    });
    assert_eq!(fs::read_to_string(&counter).unwrap(), "400");
    let held = Lock::take("one", Duration::ZERO).unwrap();
    Lock::take("another", Duration::ZERO).unwrap();
    let error = Lock::take("one", Duration::from_millis(20)).unwrap_err();
    assert!(error.is_locked());
    assert_eq!(
        error.to_string(),
        "cannot lock /run/cni/locks/one: another process has held it for more than 0.02 s; \
         find that process (\"fuser /run/cni/locks/one\") and end it if it hangs"
    );
    drop(held);
    assert_no_directory();
}

#[test]
fn locks_of_killed_holders_are_swept() {
    let _host = Host::new();
    let held = Lock::take("held", Duration::ZERO).unwrap();
    fs::write("/run/cni/locks/abandoned", "").unwrap();
    symlink("/run/x", "/run/cni/locks/foreign").unwrap();
    Lock::sweep();
    assert!(!Path::new("/run/cni/locks/abandoned").exists());
    assert!(fs::symlink_metadata("/run/cni/locks/foreign").is_ok());
    assert!(Lock::take("held", Duration::ZERO).unwrap_err().is_locked());
    drop(held);
    fs::remove_file("/run/cni/locks/foreign").unwrap();
    Lock::sweep();
    assert_no_directory();
}

#[test]
fn own_records_that_are_no_json_are_removed() {
    let _host = Host::new();
    for text in ["", "{\"version\":1,", "\0\0"] {
        record("a").write(&7).unwrap();
        fs::write(file("a"), text).unwrap();
        assert_eq!(record("a").read::<u32>(), None);
        assert_no_directory();
        record("a").write(&7).unwrap();
        fs::write(file("a"), text).unwrap();
        // Any file may be among all of them.
        assert_eq!(STORE.all::<u32>(), []);
        assert!(Path::new(&file("a")).exists());
        assert_eq!(STORE.owners("net"), []);
        assert_no_directory();
    }
    record("a").write(&7).unwrap();
    fs::write(file("a"), "{\"version\":2}").unwrap();
    assert_eq!(record("a").read::<u32>(), None);
    assert!(Path::new(&file("a")).exists());
}

#[test]
fn records_of_a_later_release_have_an_owner() {
    let _host = Host::new();
    record("a").write(&7).unwrap();
    let text = fs::read_to_string(file("a")).unwrap();
    for (from, to) in [
        ("\"version\":1", "\"version\":2"),
        ("\"data\":7", "\"data\":[\"seven\"]"),
        ("\"data\":7", "\"seven\":7"),
    ] {
        assert!(text.contains(from), "{text}");
        fs::write(file("a"), text.replace(from, to)).unwrap();
        assert_eq!(record("a").read::<u32>(), None);
        assert_eq!(STORE.owners("net"), [owner("a")]);
        assert_eq!(STORE.all::<u32>()[0].data, None);
    }
    record("a").remove().unwrap();
    assert_no_directory();
}

#[test]
fn directories_of_others_are_used_as_they_are() {
    let host = Host::new();
    let path = host.dir().join("a/b");
    assert!(Directory::open(&path).unwrap().is_none());
    let directory = Directory::create(&path).unwrap();
    let victim = host.write("victim", "untouched");
    symlink(&victim, path.join("x")).unwrap();
    symlink(&victim, path.join(".x")).unwrap();
    assert_eq!(directory.read("x").unwrap(), None);
    directory.write_synced("x", b"text").unwrap();
    assert_eq!(directory.read("x").unwrap().as_deref(), Some(&b"text"[..]));
    directory.write("x", b"").unwrap();
    assert_eq!(directory.read("x").unwrap().as_deref(), Some(&b""[..]));
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    directory.remove("x").unwrap();
    assert_eq!(directory.names().unwrap(), [""; 0]);
    let error = Directory::create(&victim).unwrap_err().to_string();
    assert_eq!(
        error,
        format!("cannot create {}: file exists", victim.display())
    );
}
