use super::*;
use std::collections::BTreeSet;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn owner(id: &str) -> Owner {
    Owner::new(id, "eth0")
}

/// Reserves `count` addresses from 10.0.0.2 on for containers `c2`, `c3`, ….
fn fill(directory: &Path, count: u8) {
    let mut store = Store::open(directory).unwrap();
    for i in 2..2 + count {
        let address = IpAddr::from([10, 0, 0, i]);
        assert!(store.reserve(address, &owner(&format!("c{i}"))).unwrap());
    }
}

fn files(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn read(directory: &Path) -> Store {
    Store::open_to_read(directory).unwrap().unwrap()
}

#[test]
fn an_address_is_reserved_once() {
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().join("data/net");
    let mut store = Store::open(&directory).unwrap();
    assert!(store.reserve(ip("10.0.0.2"), &owner("a")).unwrap());
    assert!(!store.reserve(ip("10.0.0.2"), &owner("b")).unwrap());
    assert!(!store.reserve(ip("10.0.0.2"), &owner("a")).unwrap());
    assert!(store.reserve(ip("2001:db8::2"), &owner("a")).unwrap());
    let held = store.held_by(&owner("a")).unwrap();
    assert_eq!(
        held.all().collect::<Vec<_>>(),
        [ip("10.0.0.2"), ip("2001:db8::2")]
    );
    drop(store);
    assert_eq!(
        fs::read(directory.join("2001:db8::2")).unwrap(),
        b"a\r\neth0"
    );
    assert_eq!(
        files(&directory),
        ["10.0.0.2", "2001:db8::2", "lock"].map(Into::into).into()
    );
    // The temporary file was not left as a second name.
    use std::os::unix::fs::MetadataExt as _;
    let metadata = directory.join("10.0.0.2").metadata().unwrap();
    assert_eq!((metadata.nlink(), metadata.mode() & 0o7777), (1, 0o600));
}

#[test]
fn empty_files_left_by_a_crash_are_free() {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("10.0.0.2", &b""[..]),
        ("10.0.0.3", &[0; 77]),
        ("10.0.0.4", b"\r\n"),
    ] {
        fs::write(dir.path().join(name), content).unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        assert!(
            store
                .reservations()
                .unwrap()
                .iter()
                .all(|one| one.ip != ip(name))
        );
        assert!(store.reserve(ip(name), &owner("a")).unwrap(), "{name}");
        assert_eq!(store.holder_of(ip(name)).as_deref(), Some("a"));
    }
}

#[test]
fn a_leftover_temporary_file_is_never_written_to() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 1);
    // As if killed between linking the reservation and removing the temporary file.
    fs::hard_link(dir.path().join("10.0.0.2"), dir.path().join(TEMP_FILE)).unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    assert!(store.reserve(ip("10.0.0.3"), &owner("b")).unwrap());
    drop(store);
    assert_eq!(
        fs::read(dir.path().join("10.0.0.2")).unwrap(),
        b"c2\r\neth0"
    );
    assert_eq!(fs::read(dir.path().join("10.0.0.3")).unwrap(), b"b\r\neth0");
    assert!(!dir.path().join(TEMP_FILE).exists());
    // DEL of a container without addresses removes it, too.
    fs::write(dir.path().join(TEMP_FILE), "x\r\neth0").unwrap();
    Store::open(dir.path())
        .unwrap()
        .release_all(&owner("x"))
        .unwrap();
    assert!(!dir.path().join(TEMP_FILE).exists());
}

#[test]
fn legacy_reservations_are_released_only_if_there_are_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write("10.0.0.2", "a\r\neth0");
    write("10.0.0.3", "a\r\neth1");
    write("10.0.0.4", "a");
    write("10.0.0.5", "a\n");
    write("10.0.0.6", "b\r\neth0");
    write("last_reserved_ip.0", "a");
    write("x", "a\r\neth0");
    let release = |id| {
        Store::open(dir.path())
            .unwrap()
            .release_all(&owner(id))
            .unwrap()
    };
    let left = || names(dir.path()).unwrap().len();
    release("a");
    assert_eq!((left(), dir.path().join("10.0.0.2").exists()), (4, false));
    release("a");
    assert_eq!((left(), dir.path().join("10.0.0.3").exists()), (2, true));
    release("a");
    release("c");
    assert_eq!(left(), 2);
    release("b");
    assert_eq!(
        files(dir.path()),
        ["10.0.0.3", "last_reserved_ip.0", "lock", "x"]
            .map(Into::into)
            .into()
    );
}

#[test]
fn reading_creates_no_files() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("net");
    assert!(Store::open_to_read(&missing).unwrap().is_none());
    assert!(Store::open_to_release(&missing).unwrap().is_none());
    assert!(!missing.exists());
    fs::create_dir(&missing).unwrap();
    assert!(Store::open_to_release(&missing).unwrap().is_none());
    assert!(
        read(&missing)
            .held_by(&owner("a"))
            .unwrap()
            .all()
            .next()
            .is_none()
    );
    assert!(files(&missing).is_empty());
    // Reservations without a lock file, as in a copied directory.
    fs::write(missing.join("10.0.0.2"), "a\r\neth0").unwrap();
    assert_eq!(
        read(&missing).held_by(&owner("a")).unwrap().own,
        [ip("10.0.0.2")]
    );
    assert_eq!(files(&missing).len(), 1);
    Store::open_to_release(&missing)
        .unwrap()
        .unwrap()
        .release_all(&owner("a"))
        .unwrap();
    assert_eq!(files(&missing), ["lock"].map(Into::into).into());
}

#[test]
fn an_index_is_kept_only_for_many_reservations() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 31);
    drop(Store::open(dir.path()).unwrap());
    let has_index = || dir.path().join(index::NAME).exists();
    let add = |id: &str, address: &str| {
        let mut store = Store::open(dir.path()).unwrap();
        store.held_by(&owner(id)).unwrap();
        assert!(store.reserve(ip(address), &owner(id)).unwrap());
    };
    assert!(!has_index());
    add("a", "10.0.1.1");
    assert!(has_index() && read(dir.path()).is_indexed());
    // It is kept up to date.
    add("b", "10.0.1.2");
    assert!(read(dir.path()).is_indexed());
    assert_eq!(
        read(dir.path()).held_by(&owner("b")).unwrap().own,
        [ip("10.0.1.2")]
    );
    let release = |id: &str| {
        Store::open(dir.path())
            .unwrap()
            .release_all(&owner(id))
            .unwrap()
    };
    for i in 2..19 {
        release(&format!("c{i}"));
        assert!(read(dir.path()).is_indexed(), "{i}");
        assert_eq!(read(dir.path()).reservations().unwrap().len(), 34 - i);
    }
    release("c19");
    assert!(!has_index());
    assert_eq!(names(dir.path()).unwrap().len(), 15);
}

#[test]
fn files_take_precedence_over_a_wrong_index() {
    let prepare = || {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path(), 40);
        Store::open(dir.path())
            .unwrap()
            .held_by(&owner("x"))
            .unwrap();
        assert!(read(dir.path()).is_indexed());
        dir
    };
    // Overwritten in place, which changes no time of the directory.
    let dir = prepare();
    fs::write(dir.path().join("10.0.0.9"), "other\r\neth0").unwrap();
    assert!(read(dir.path()).is_indexed());
    assert_eq!(
        read(dir.path()).held_by(&owner("c9")).unwrap(),
        Held::default()
    );
    Store::open(dir.path())
        .unwrap()
        .release_all(&owner("c9"))
        .unwrap();
    assert_eq!(
        read(dir.path()).held_by(&owner("other")).unwrap().own,
        [ip("10.0.0.9")]
    );
    // Listed but gone, as after a removal by another program while the lock is held.
    let dir = prepare();
    let mut store = Store::open(dir.path()).unwrap();
    assert!(!store.drop_vanished().unwrap());
    fs::remove_file(dir.path().join("10.0.0.9")).unwrap();
    assert_eq!(store.held_by(&owner("c9")).unwrap(), Held::default());
    assert!(store.is_indexed());
    assert!(store.drop_vanished().unwrap());
    assert!(!store.drop_vanished().unwrap());
    assert_eq!(store.reservations().unwrap().len(), 39);
}

#[test]
fn recovers_from_a_crash_at_any_step() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 40);
    let assert_consistent = || {
        let mut store = Store::open(dir.path()).unwrap();
        let all: Vec<IpAddr> = store
            .reservations()
            .unwrap()
            .iter()
            .map(|one| one.ip)
            .collect();
        let mut expected = names(dir.path()).unwrap();
        expected.sort();
        assert_eq!(all, expected);
        drop(store);
        assert!(read(dir.path()).is_indexed());
        assert!(!dir.path().join(TEMP_FILE).exists());
    };
    assert_consistent();
    let crash = |act: &dyn Fn(&mut Store)| {
        let mut store = Store::open(dir.path()).unwrap();
        assert!(store.is_indexed());
        act(&mut store);
        store.crash();
        assert!(!read(dir.path()).is_indexed());
        assert_consistent();
    };
    crash(&|store| store.write_temp_file(&owner("x")).unwrap());
    crash(&|store| assert!(store.reserve(ip("10.0.1.1"), &owner("x")).unwrap()));
    crash(&|store| store.release_all(&owner("x")).unwrap());
    crash(&|store| {
        store
            .retain(
                |content| !content.to_string().contains("c7 "),
                |_, _, _| Ok(()),
            )
            .unwrap();
    });
    assert_eq!(read(dir.path()).reservations().unwrap().len(), 39);
}

#[test]
fn works_without_hard_links_and_errors_name_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    let path = dir.path().join("10.0.0.2");
    assert!(store.create(&path, &owner("a")).unwrap());
    assert!(!store.create(&path, &owner("b")).unwrap());
    fs::create_dir(dir.path().join(TEMP_FILE)).unwrap();
    let error = store
        .reserve(ip("10.0.0.3"), &owner("a"))
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        format!(
            "remove {}/.reservation: is a directory",
            dir.path().display()
        )
    );
    fs::create_dir(dir.path().join("10.0.0.4")).unwrap();
    let error = store.release(ip("10.0.0.4"), "a").unwrap_err().to_string();
    assert_eq!(
        error,
        format!("remove {}/10.0.0.4: is a directory", dir.path().display())
    );
}
