use super::*;
use std::fs;

fn holding(last: u16, id: &str) -> Holding {
    let [a, b] = last.to_be_bytes();
    Holding {
        ip: [10, 0, a, b].into(),
        id_hash: hash(id),
    }
}

fn open(path: &Path) -> Option<Index> {
    Index::open(path, true).unwrap()
}

/// A directory with a committed index of one reservation.
fn indexed() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("10.0.0.2"), "a\r\neth0").unwrap();
    let mut index = Index::build(dir.path(), &[holding(2, "a")]).unwrap();
    assert!(open(dir.path()).is_none(), "not before it is committed");
    index.commit().unwrap();
    assert!(open(dir.path()).is_some());
    dir
}

#[test]
fn finds_adds_and_removes() {
    let dir = tempfile::tempdir().unwrap();
    let mut index = Index::build(dir.path(), &[]).unwrap();
    // Over several times the table's size, with two addresses for every other ID.
    for i in 0..2000 {
        index
            .insert(holding(i, &format!("id{}", i / 3 * 3)))
            .unwrap();
        if i >= 100 {
            index
                .remove(holding(i - 100, &format!("id{}", (i - 100) / 3 * 3)))
                .unwrap();
        }
    }
    assert_eq!(index.len(), 100);
    index.commit().unwrap();
    let index = open(dir.path()).unwrap();
    let all = index.holdings().unwrap();
    assert_eq!(all.len(), 100);
    assert!(all.is_sorted_by_key(|one| one.ip));
    assert_eq!(all[0].ip.to_string(), "10.0.7.108");
    let mut found = index.find(hash("id1998")).unwrap();
    found.sort();
    assert_eq!(found, [holding(1998, "").ip, holding(1999, "").ip]);
    assert!(index.find(hash("id3")).unwrap().is_empty());
    // What comes and goes does not make it grow.
    assert!(index.slots <= 512, "{}", index.slots);
}

#[test]
fn keeps_both_families() {
    let dir = tempfile::tempdir().unwrap();
    let ips = ["1.2.3.4", "::102:304", "2001:db8::1", "::"];
    let all: Vec<Holding> = ips
        .iter()
        .map(|ip| Holding {
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
fn survives_a_full_chain_of_equal_hashes() {
    let dir = tempfile::tempdir().unwrap();
    let all: Vec<Holding> = (0..1000).map(|i| holding(i, "same")).collect();
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
fn is_not_trusted_after_a_foreign_change() {
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
        ("changed behind a restored time", |dir| {
            let time = dir.metadata().unwrap().modified().unwrap();
            fs::remove_file(dir.join("10.0.0.2")).unwrap();
            // The change time needs a tick to differ for certain.
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
    // The content of a file is looked at when it matters.
    let dir = indexed();
    fs::write(dir.path().join("last_reserved_ip.0"), "10.0.0.2").unwrap();
    assert!(open(dir.path()).is_none());
}

/// The clock ticks seldom, but an index and a change right after it never look alike.
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
    // Killed while changing: the destructor never runs, nothing is committed.
    let dir = indexed();
    let mut index = open(dir.path()).unwrap();
    index.remove(holding(2, "a")).unwrap();
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
        // In place, which leaves the directory as it was.
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
    /// Garbage with a header that adds up ends in an answer or an error, never in a panic
    /// or an endless search.
    #[test]
    fn garbage_is_harmless(bytes in proptest::collection::vec(0u8.., 128 * SLOT)) {
        let dir = tempfile::tempdir().unwrap();
        let mut index = Index::build(dir.path(), &[]).unwrap();
        index.file.write_all_at(&bytes, HEADER as u64).unwrap();
        let _ = index.find(hash("a"));
        let _ = index.remove(holding(1, "a"));
        let _ = index.insert(holding(1, "a"));
        let _ = index.holdings();
    }
}
