//! Damaged files of every kind in the network's directory, and clocks that jump.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::common::{Net, addresses, call, ours};
use serde_json::json;
use testkit::Run;

/// The files of a network's directory. `10.1.2.3` is the address that the next ADD tries
/// first.
const NAMES: [&str; 9] = [
    "10.1.2.3",
    "10.1.2.200",
    "last_reserved_ip.0",
    "lock",
    ".index",
    ".reservation",
    ".last_reserved_ip",
    ".freed",
    ".sticky",
];

const KINDS: [&str; 9] = [
    "empty",
    "zeros",
    "garbage",
    "huge",
    "directory",
    "pipe",
    "socket",
    "dangling link",
    "link",
];

/// Puts something of this kind at `path`, in place of what is there.
fn plant(path: &Path, kind: &str, victim: &Path) {
    let _ = fs::remove_file(path);
    match kind {
        "empty" => fs::write(path, ""),
        "zeros" => fs::write(path, [0; 100]),
        "garbage" => fs::write(path, b"\xff\xfe garbage\n\r\n\r\n 10.1.2.3 \0\x01"),
        "huge" => fs::write(path, vec![b'x'; 1 << 20]),
        "directory" => fs::create_dir(path).and_then(|()| fs::write(path.join("file"), "foreign")),
        "pipe" => {
            let status = Command::new("mkfifo").arg(path).status();
            status.map(|status| assert!(status.success()))
        }
        "socket" => UnixListener::bind(path).map(drop),
        "dangling link" => symlink("/nonexistent/target", path),
        _ => symlink(victim, path),
    }
    .expect("plant");
}

fn remove(path: &Path) {
    if path
        .symlink_metadata()
        .is_ok_and(|metadata| metadata.is_dir())
    {
        fs::remove_dir_all(path).expect("remove directory");
    } else {
        let _ = fs::remove_file(path);
    }
}

/// A command may fail, but in time, with an error that names the file, and without any
/// change.
#[track_caller]
fn assert_clear(run: &Run, name: &str, what: &str) {
    assert!(run.elapsed < Duration::from_secs(20), "{what}");
    if !run.is_ok() {
        let text = run.clone().expect_error(999).text();
        assert!(text.contains(&format!("/{name}")), "{what}: {text}");
    }
}

#[test]
fn no_damaged_file_loses_anything_or_stays_a_problem() {
    let outside = tempfile::tempdir().expect("directory");
    let victim = outside.path().join("victim");
    fs::write(&victim, "untouched").expect("victim");
    for name in NAMES {
        for kind in KINDS {
            let what = format!("{kind} at {name}");
            let mut net = Net::new(json!({
                "subnet": "10.1.2.0/24", "coolDown": 1, "strategy": "sticky", "reservationKey": ["KEY"],
            }));
            let run = |net: &Net, verb: &str, id: &str| {
                call(&ours(), verb, id, &net.conf)
                    .args(&format!("KEY={id}"))
                    .run()
            };
            // With an index, if the test is about it.
            let count = if name == ".index" { 40 } else { 1 };
            run(&net, "ADD", "kept").expect_ok();
            for i in 1..count {
                run(&net, "ADD", &format!("more{i}")).expect_ok();
            }
            let path = net.dir().join(name);
            plant(&path, kind, &victim);
            assert_clear(&run(&net, "ADD", "new"), name, &what);
            let other = run(&net, "ADD", "other");
            assert_clear(&other, name, &what);
            if other.is_ok() {
                assert_clear(&run(&net, "CHECK", "other"), name, &what);
            }
            assert_clear(&run(&net, "DEL", "other"), name, &what);
            assert_clear(&run(&net, "CHECK", "kept"), name, &what);
            ours().status(&net.conf);
            net.conf["cni.dev/valid-attachments"] = json!([
                {"containerID": "kept", "ifname": "eth0"}, {"containerID": "new", "ifname": "eth0"},
            ]);
            assert_clear(&ours().gc(&net.conf), name, &what);
            // Nothing is lost, and nothing outside is touched.
            let kept = fs::read_to_string(net.dir().join("10.1.2.2"));
            assert_eq!(kept.ok().as_deref(), Some("kept\r\neth0"), "{what}");
            assert_eq!(
                fs::read_to_string(&victim).ok().as_deref(),
                Some("untouched"),
                "{what}"
            );
            // The cause is gone, and all is well.
            remove(&path);
            run(&net, "DEL", "new").expect_ok();
            run(&net, "CHECK", "kept").expect_ok();
            let again = addresses(&run(&net, "ADD", "again").expect_ok().json());
            assert_eq!(again.len(), 1, "{what}");
            for id in ["kept", "again"] {
                run(&net, "DEL", id).expect_ok();
            }
            ours().status(&net.conf).expect_ok();
        }
    }
}

/// Wall clock and file times do not decide anything.
#[test]
fn file_times_of_any_age_change_nothing() {
    for date in ["1970-01-01 00:00:01", "2001-01-01", "2037-12-31 23:59:59"] {
        let net = Net::new(json!({"subnet": "10.1.2.0/24", "coolDown": 3600}));
        for i in 0..40 {
            net.add(&format!("c{i}"));
        }
        net.del("c39");
        let jump = || {
            let script = format!(
                "touch -h -d '{date}' {0} {0}/* {0}/.[!.]*",
                net.dir().display()
            );
            let status = Command::new("sh").args(["-c", &script]).status();
            assert!(status.expect("touch").success());
        };
        jump();
        net.run("CHECK", "c5").expect_ok();
        net.del("c5");
        jump();
        assert_eq!(net.add("new"), ["10.1.2.42"]);
        jump();
        // Removed by hand while the times stand still.
        fs::remove_file(net.dir().join("10.1.2.9")).expect("remove");
        jump();
        net.run("CHECK", "c7").expect_error(999);
        net.del("c8");
        net.run("CHECK", "c8").expect_error(999);
        jump();
        assert_eq!(net.add("next"), ["10.1.2.43"]);
        ours().status(&net.conf).expect_ok();
    }
}
