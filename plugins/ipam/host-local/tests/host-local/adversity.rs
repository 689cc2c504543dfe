//! Crashes, damaged files, full and read-only directories, many reservations.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use crate::common::{Net, addresses, call, files, ours, peer};
use serde_json::json;
use testkit::Host;

/// After an ADD or a DEL was killed at any moment, later ones work.
#[test]
fn killed_adds_and_dels_leave_a_consistent_state() {
    let net = Net::new(json!({"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]]}));
    // Enough for an index.
    for i in 0..20 {
        net.add(&format!("steady{i}"));
    }
    let mut killed = 0;
    for round in 0..150u64 {
        let id = format!("c{}", round % 7);
        let verb = if round % 2 == 0 { "ADD" } else { "DEL" };
        let mut running = call(&ours(), verb, &id, &net.conf).start();
        std::thread::sleep(Duration::from_micros(300 + round * 37 % 3000));
        running.kill();
        killed += usize::from(running.wait().status.code().is_none());
        // Every reservation is complete.
        for ip in net.reserved() {
            let content = fs::read_to_string(net.dir().join(ip.to_string())).unwrap();
            assert!(content.ends_with("\r\neth0"), "{ip}: {content:?}");
        }
    }
    assert!(killed > 20, "only {killed} were killed in time");
    for i in 0..7 {
        let id = format!("c{i}");
        net.del(&id);
        assert_eq!(net.add(&id).len(), 2);
        net.del(&id);
    }
    for i in 0..20 {
        let id = format!("steady{i}");
        net.run("CHECK", &id).expect_ok();
        net.del(&id);
    }
    let expected = ["last_reserved_ip.0", "last_reserved_ip.1", "lock"];
    assert_eq!(net.files(), expected.map(Into::into).into());
}

#[test]
fn files_emptied_by_a_power_loss_count_as_free() {
    let net = Net::new(json!({"subnet": "10.1.2.0/29"}));
    net.write("10.1.2.2", "");
    net.write("10.1.2.3", [0; 20]);
    net.write("last_reserved_ip.0", "");
    net.write(".reservation", "");
    net.write(".index", [0; 100]);
    assert_eq!(net.add("a"), ["10.1.2.2"]);
    assert_eq!(net.add("b"), ["10.1.2.3"]);
    assert_eq!(fs::read(net.dir().join("10.1.2.3")).unwrap(), b"b\r\neth0");
    let expected = ["10.1.2.2", "10.1.2.3", "last_reserved_ip.0", "lock"];
    assert_eq!(net.files(), expected.map(Into::into).into());
}

#[test]
fn foreign_files_are_ignored() {
    let net = Net::new(json!({"subnet": "10.1.2.0/29"}));
    net.write("README", "a\r\neth0");
    net.write("last_reserved_ip.7", "a");
    fs::create_dir(net.dir().join("10.1.2.2")).unwrap();
    fs::create_dir(net.dir().join("sub")).unwrap();
    fs::write(net.dir().join("sub/10.1.2.3"), "a\r\neth0").unwrap();
    assert_eq!(net.add("a"), ["10.1.2.3"]);
    net.del("a");
    assert!(net.dir().join("README").exists() && net.dir().join("last_reserved_ip.7").exists());
    assert!(net.dir().join("sub/10.1.2.3").exists());
}

#[test]
fn a_read_only_state_directory() {
    let host = Host::new();
    let mut net = Net::new(json!({"subnet": "10.1.2.0/24"}));
    net.add("a");
    let added = call(&ours(), "ADD", "b", &net.conf).run().expect_ok();
    let before = net.files();
    host.make_read_only(&net.data_dir);
    let dir = net.dir();
    let dir = dir.display();
    assert_eq!(
        net.add_error("c"),
        format!("failed to allocate for range 0: open {dir}/.reservation: read-only file system")
    );
    let error = net.run("DEL", "a").expect_error(999).text();
    assert_eq!(
        error,
        format!("remove {dir}/10.1.2.2: read-only file system")
    );
    // Commands that change nothing succeed.
    net.del("never");
    call(&ours(), "CHECK", "b", &added.with_prev())
        .run()
        .expect_ok();
    net.run("CHECK", "a").expect_ok();
    ours()
        .status(&net.conf)
        .expect_error(50)
        .mentions(&format!("write {dir}: read-only file system"));
    net.conf["name"] = "other".into();
    let other = net.data_dir.join("other");
    let error = net.add_error("c");
    assert_eq!(
        error,
        format!("mkdir {}: read-only file system", other.display())
    );
    net.del("a");
    ours()
        .status(&net.conf)
        .expect_error(50)
        .mentions("read-only file system");
    net.conf["name"] = "net".into();
    host.unmount(&net.data_dir);
    assert_eq!(net.files(), before);
}

#[test]
fn a_full_state_directory() {
    let host = Host::new();
    let net = Net::new(json!({"ranges": [[{"subnet": "10.1.0.0/16"}], [{"subnet": "fd00::/64"}]]}));
    fs::create_dir_all(&net.data_dir).unwrap();
    host.mount_tmpfs(&net.data_dir, "size=64k");
    let mut count = 0;
    let error = loop {
        let run = net.run("ADD", &format!("c{count}"));
        if !run.is_ok() {
            break run.expect_error(999).text();
        }
        count += 1;
        assert!(count < 100);
    };
    assert!(
        error.contains(&format!("{}/", net.dir().display())),
        "{error}"
    );
    assert!(error.ends_with("no space left on device"), "{error}");
    ours()
        .status(&net.conf)
        .expect_error(50)
        .mentions("no space left on device");
    // The failed ADD left nothing behind, and the others can be checked and deleted.
    assert_eq!(net.reserved().len(), 2 * count);
    assert!(!net.files().contains(".reservation"));
    for i in 0..count {
        net.run("CHECK", &format!("c{i}")).expect_ok();
        net.del(&format!("c{i}"));
    }
    assert!(net.reserved().is_empty());
    ours().status(&net.conf).expect_ok();
    net.add("again");
    host.unmount(&net.data_dir);
}

#[test]
fn an_add_waits_for_the_lock() {
    let net = Net::new(json!({"subnet": "10.1.2.0/24"}));
    net.add("a");
    let lock = fs::File::open(net.dir().join("lock")).unwrap();
    lock.lock().unwrap();
    let waiting = call(&ours(), "ADD", "b", &net.conf).start();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(net.reserved().len(), 1, "waits for the lock");
    drop(lock);
    assert_eq!(addresses(&waiting.wait().expect_ok().json()), ["10.1.2.3"]);
}

/// Compares the run time of the process with 20,000 reserved addresses and with none.
#[test]
fn twenty_thousand_addresses_cost_no_more_than_none() {
    let ipam = json!({"subnet": "10.0.0.0/16"});
    let (empty, full) = (Net::new(ipam.clone()), Net::new(ipam));
    for i in 2..20_002u32 {
        let ip = std::net::Ipv4Addr::from(0x0a00_0000 + i);
        full.write(&ip.to_string(), format!("{i:064x}\r\neth0"));
    }
    // Without a last reserved address the first ADD searches for a free one.
    assert_eq!(full.add("first"), ["10.0.78.34"]);
    assert!(full.files().contains(".index"));
    let time = |net: &Net, verb: &str| {
        let start = Instant::now();
        let run = call(&ours(), verb, "x", &net.conf).run().expect_ok();
        drop(run);
        start.elapsed()
    };
    let mut report = String::new();
    for _ in 0..5 {
        let mut times: [Vec<Duration>; 4] = Default::default();
        for _ in 0..31 {
            for (i, (net, verb)) in [
                (&empty, "ADD"),
                (&full, "ADD"),
                (&empty, "DEL"),
                (&full, "DEL"),
            ]
            .iter()
            .enumerate()
            {
                times[i].push(time(net, verb));
            }
        }
        let median = times.map(|mut times| {
            times.sort();
            times[times.len() / 2]
        });
        report = format!(
            "ADD {:?} and {:?}, DEL {:?} and {:?}",
            median[0], median[1], median[2], median[3]
        );
        if median[1] < 2 * median[0] && median[3] < 2 * median[2] {
            eprintln!("{report}");
            return;
        }
    }
    panic!("{report}");
}

/// An index is not used after another implementation has changed the directory.
#[test]
fn files_take_precedence_over_the_index() {
    let net = Net::of_version("1.0.0", json!({"subnet": "10.1.2.0/24"}));
    for i in 0..40 {
        net.add(&format!("c{i}"));
    }
    let index = net.dir().join(".index");
    assert!(index.exists());
    let old = fs::read(&index).unwrap();
    call(&peer(), "DEL", "c7", &net.conf).run().expect_ok();
    net.run("CHECK", "c7").expect_error(999);
    call(&peer(), "ADD", "c7", &net.conf).run().expect_ok();
    let error = net.add_error("c7");
    assert!(
        error.contains("10.1.2.42 has been allocated to c7"),
        "{error}"
    );
    // An older copy of the index is restored.
    fs::write(&index, &old).unwrap();
    net.run("CHECK", "c7").expect_ok();
    net.del("c7");
    assert!(!net.reserved().contains(&"10.1.2.42".parse().unwrap()));
    for damage in [&old[..old.len() / 3], b"", b"garbage"] {
        fs::write(&index, damage).unwrap();
        assert_eq!(net.add("x").len(), 1);
        net.run("CHECK", "x").expect_ok();
        net.del("x");
        net.run("CHECK", "x").expect_error(999);
    }
    // The directory is replaced by a copy of itself, times and all.
    let copy = net.data_dir.join("copy");
    let status = std::process::Command::new("cp")
        .arg("-a")
        .arg(net.dir())
        .arg(&copy)
        .status();
    assert!(status.unwrap().success());
    fs::remove_file(copy.join("10.1.2.5")).unwrap();
    fs::remove_dir_all(net.dir()).unwrap();
    fs::rename(&copy, net.dir()).unwrap();
    net.run("CHECK", "c3").expect_error(999);
    net.run("CHECK", "c4").expect_ok();
    // An administrator deletes all files but the hidden ones.
    for name in files(&net.dir()) {
        if !name.starts_with('.') {
            fs::remove_file(net.dir().join(name)).unwrap();
        }
    }
    assert_eq!(net.add("new"), ["10.1.2.2"]);
    let expected = ["10.1.2.2", "last_reserved_ip.0", "lock"];
    assert_eq!(net.files(), expected.map(Into::into).into());
}

#[test]
fn large_ranges_cost_no_more_than_small_ones() {
    let net = Net::new(json!({"ranges": [[{"subnet": "10.0.0.0/8"}], [{"subnet": "::/0"}]]}));
    let start = Instant::now();
    let mut all = BTreeSet::new();
    for i in 0..20 {
        all.extend(net.add(&format!("c{i}")));
    }
    ours().status(&net.conf).expect_ok();
    assert_eq!(all.len(), 40);
    assert!(start.elapsed() < Duration::from_secs(10));
    // The directory stays small.
    assert!(net.dir().metadata().unwrap().size() < 100_000);
}

/// STATUS fails when an ADD would fail for lack of inodes or space, and changes nothing. It
/// may fail a little earlier: the kernel frees deleted directories together with the Landlock
/// domain of the call that used them, some time after its end.
#[test]
fn status_reports_a_full_file_system() {
    let host = Host::new();
    let dual = json!({"ranges": [[{"subnet": "10.1.2.0/24"}], [{"subnet": "fd00::/64"}]]});
    let sets = (1..=6).map(|n| json!([{"subnet": format!("10.1.{n}.0/24")}]));
    let six = json!({"ranges": sets.collect::<Vec<_>>()});
    for ipam in [json!({"subnet": "10.1.2.0/24"}), dual, six] {
        for is_new in [true, false] {
            let net = Net::new(ipam.clone());
            host.mount_tmpfs(&net.data_dir, "nr_inodes=60,size=1m");
            if !is_new {
                net.add("first");
            }
            let mut fillers = 0;
            loop {
                let before = files(&net.dir());
                let status = ours().status(&net.conf);
                assert_eq!(files(&net.dir()), before);
                let is_ready = status.is_ok();
                if !is_ready {
                    let error = status.expect_error(50).text();
                    assert!(error.contains("no space left on device"), "{error}");
                    assert!(error.contains("inodes"), "{error}");
                    // It did not fail too early.
                    assert!(fillers > 30, "{fillers}");
                    break;
                }
                let add = net.run("ADD", "probe");
                assert!(add.is_ok(), "ready after {fillers} files\n{}", add.report());
                net.del("probe");
                if is_new {
                    fs::remove_dir_all(net.dir()).unwrap();
                }
                fs::write(net.data_dir.join(format!("filler{fillers}")), "").unwrap();
                fillers += 1;
            }
            fs::write(net.data_dir.join("last"), vec![0; 4 << 20]).unwrap_err();
            for number in 0..10 {
                let _ = fs::remove_file(net.data_dir.join(format!("filler{number}")));
            }
            let error = ours().status(&net.conf).expect_error(50).text();
            assert!(error.contains("no space left on device"), "{error}");
            fs::remove_file(net.data_dir.join("last")).unwrap();
            ours().status(&net.conf).expect_ok();
            host.make_read_only(&net.data_dir);
            let error = ours().status(&net.conf).expect_error(50).text();
            assert!(error.contains("read-only file system"), "{error}");
            assert!(error.contains("ipam.dataDir"), "{error}");
            host.unmount(&net.data_dir);
            host.unmount(&net.data_dir);
        }
    }
}
