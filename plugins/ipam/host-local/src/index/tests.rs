use super::*;
use std::fs;

fn reservation(last: u16, id: &str) -> Reservation {
    let [a, b] = last.to_be_bytes();
    Reservation {
        ip: [10, 0, a, b].into(),
        id_hash: hash(id),
    }
}

fn open(path: &Path) -> Option<Index> {
    Index::open(path, true).unwrap()
}

/// Returns a directory with a committed index of one reservation.
fn indexed() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("10.0.0.2"), "a\r\neth0").unwrap();
    let mut index = Index::build(dir.path(), &[reservation(2, "a")]).unwrap();
    assert!(open(dir.path()).is_none(), "not before it is committed");
    index.commit().unwrap();
    assert!(open(dir.path()).is_some());
    dir
}

#[test]
fn inserts_finds_and_removes() {
    let dir = tempfile::tempdir().unwrap();
    let mut index = Index::build(dir.path(), &[]).unwrap();
    // Several times the size of the table, with three addresses for each ID.
    for i in 0..2000 {
        index
            .insert(reservation(i, &format!("id{}", i / 3 * 3)))
            .unwrap();
        if i >= 100 {
            index
                .remove(reservation(i - 100, &format!("id{}", (i - 100) / 3 * 3)))
                .unwrap();
        }
    }
    assert_eq!(index.len(), 100);
    index.commit().unwrap();
    let index = open(dir.path()).unwrap();
    let all = index.reservations().unwrap();
    assert_eq!(all.len(), 100);
    assert!(all.is_sorted_by_key(|one| one.ip));
    assert_eq!(all[0].ip.to_string(), "10.0.7.108");
    let mut found = index.find(hash("id1998")).unwrap();
    found.sort();
    assert_eq!(found, [reservation(1998, "").ip, reservation(1999, "").ip]);
    assert!(index.find(hash("id3")).unwrap().is_empty());
    // Insertions and removals in turn do not make it grow.
    assert!(index.slots <= 512, "{}", index.slots);
}

#[test]
fn stores_addresses_of_both_families() {
    let dir = tempfile::tempdir().unwrap();
    let ips = ["1.2.3.4", "::102:304", "2001:db8::1", "::"];
    let all: Vec<Reservation> = ips
        .iter()
        .map(|ip| Reservation {
            ip: ip.parse().unwrap(),
            id_hash: hash("a"),
        })
        .collect();
    let index = Index::build(dir.path(), &all).unwrap();
    let mut found = index.find(hash("a")).unwrap();
    let mut expected: Vec<IpAddr> = all.iter().map(|one| one.ip).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn handles_many_equal_hashes() {
    let dir = tempfile::tempdir().unwrap();
    let all: Vec<Reservation> = (0..1000).map(|i| reservation(i, "same")).collect();
    let mut index = Index::build(dir.path(), &all).unwrap();
    assert_eq!(index.find(hash("same")).unwrap().len(), 1000);
    for one in &all {
        index.remove(*one).unwrap();
        index.remove(*one).unwrap();
    }
    assert_eq!(
        (index.len(), index.find(hash("same")).unwrap().len()),
        (0, 0)
    );
}

#[test]
fn is_not_trusted_after_a_change_by_another_program() {
    type Change = fn(&Path);
    let changes: &[(&str, Change)] = &[
        ("created", |dir| {
            fs::write(dir.join("10.0.0.3"), "b\r\neth0").unwrap()
        }),
        ("removed", |dir| {
            fs::remove_file(dir.join("10.0.0.2")).unwrap()
        }),
        ("renamed", |dir| {
            fs::rename(dir.join("10.0.0.2"), dir.join("10.0.0.3")).unwrap()
        }),
        ("linked", |dir| {
            fs::hard_link(dir.join("10.0.0.2"), dir.join("10.0.0.3")).unwrap()
        }),
        ("created and removed", |dir| {
            fs::write(dir.join("x"), "").unwrap();
            fs::remove_file(dir.join("x")).unwrap();
        }),
        ("changed, and the modification time restored", |dir| {
            let time = dir.metadata().unwrap().modified().unwrap();
            fs::remove_file(dir.join("10.0.0.2")).unwrap();
            // The change time differs for certain only after a clock tick.
            std::thread::sleep(Duration::from_millis(20));
            let times = FileTimes::new().set_modified(time);
            File::open(dir).unwrap().set_times(times).unwrap();
        }),
    ];
    for (what, change) in changes {
        let dir = indexed();
        change(dir.path());
        assert!(open(dir.path()).is_none(), "{what}");
    }
    // A new file of any name changes the directory.
    let dir = indexed();
    fs::write(dir.path().join("last_reserved_ip.0"), "10.0.0.2").unwrap();
    assert!(open(dir.path()).is_none());
}

/// A change is noticed even if it happens in the same clock tick as the commit.
#[test]
fn notices_changes_in_the_same_tick() {
    let dir = indexed();
    for i in 0..500 {
        let path = dir.path().join(format!("10.0.1.{i}"));
        fs::write(&path, "").unwrap();
        assert!(open(dir.path()).is_none(), "{i}");
        Index::build(dir.path(), &[]).unwrap().commit().unwrap();
        assert!(open(dir.path()).is_some(), "{i}");
    }
}

#[test]
fn is_not_trusted_in_a_copied_or_replaced_directory() {
    let dir = indexed();
    let copy = tempfile::tempdir().unwrap();
    let copied = copy.path().join("net");
    let status = std::process::Command::new("cp")
        .arg("-a")
        .arg(dir.path())
        .arg(&copied)
        .status();
    assert!(status.unwrap().success());
    assert!(open(&copied).is_none());
}

#[test]
fn is_not_trusted_when_interrupted() {
    // As if killed after a change: nothing is committed.
    let dir = indexed();
    let mut index = open(dir.path()).unwrap();
    index.remove(reservation(2, "a")).unwrap();
    drop(index);
    assert!(open(dir.path()).is_none());
}

#[test]
fn is_not_trusted_after_a_reboot() {
    let dir = indexed();
    let mut index = open(dir.path()).unwrap();
    index.boot_id[0] ^= 1;
    index.clean = false;
    index.commit().unwrap();
    assert!(open(dir.path()).is_none());
}

#[test]
fn is_not_trusted_when_damaged() {
    let damage = |change: &dyn Fn(&mut Vec<u8>)| {
        let dir = indexed();
        let path = dir.path().join(NAME);
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        // Written in place, so the times of the directory stay.
        fs::write(&path, bytes).unwrap();
        open(dir.path()).is_none()
    };
    assert!(!damage(&|_| {}));
    assert!(damage(&|bytes| bytes.clear()));
    assert!(damage(&|bytes| bytes.truncate(HEADER)));
    assert!(damage(&|bytes| bytes.truncate(HEADER - 1)));
    assert!(damage(&|bytes| bytes.push(0)));
    assert!(damage(&|bytes| bytes.fill(0)));
    assert!(damage(&|bytes| bytes.fill(0xff)));
    for at in 0..HEADER {
        assert!(damage(&|bytes| bytes[at] ^= 0x10), "{at}");
    }
}

#[test]
fn directories_pipes_and_links_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(NAME);
    fs::create_dir(&path).unwrap();
    assert!(Index::open(dir.path(), true).is_err());
    assert!(Index::build(dir.path(), &[]).is_err());
    fs::remove_dir(&path).unwrap();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(open(dir.path()).is_none());
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
    assert!(Index::open(dir.path(), true).is_err());
    assert!(Index::build(dir.path(), &[]).is_err());
}

proptest::proptest! {
    /// Slots of random bytes below a valid header cause neither a panic nor an endless
    /// search.
    #[test]
    fn garbage_is_harmless(bytes in proptest::collection::vec(0u8.., 128 * SLOT)) {
        let dir = tempfile::tempdir().unwrap();
        let mut index = Index::build(dir.path(), &[]).unwrap();
        index.file.write_all_at(&bytes, HEADER as u64).unwrap();
        let _ = index.find(hash("a"));
        let _ = index.remove(reservation(1, "a"));
        let _ = index.insert(reservation(1, "a"));
        let _ = index.reservations();
    }
}
