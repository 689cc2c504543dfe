//! Which address an ADD takes: `exclude`, `strategy`, `reservationKey`, `coolDown`.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use crate::common::{Net, addresses, call, ours, peer};
use serde_json::{Value, json};
use testkit::{Host, Node as _, Run};

/// Runs ADD for `eth0` of a container that belongs to this pod.
fn pod(net: &Net, id: &str, pod: &str) -> Run {
    let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME={pod}");
    call(&ours(), "ADD", id, &net.conf).args(&args).run()
}

#[track_caller]
fn ip_of_pod(net: &Net, id: &str, name: &str) -> String {
    addresses(&pod(net, id, name).expect_ok().json()).join(" ")
}

fn sticky(mut ipam: Value) -> Net {
    ipam["strategy"] = "sticky".into();
    Net::new(ipam)
}

#[test]
fn excluded_addresses_are_never_allocated() {
    let mut net = Net::new(json!({
        "ranges": [[{"subnet": "10.1.2.0/28"}], [{"subnet": "fd00::/125"}]],
        "exclude": ["10.1.2.2", "10.1.2.5-10.1.2.9", "10.1.2.12/30", "fd00::2", "192.0.2.0/24"],
    }));
    assert_eq!(net.add("a"), ["10.1.2.3", "fd00::3"]);
    assert_eq!(net.add("b"), ["10.1.2.4", "fd00::4"]);
    assert_eq!(net.add("c"), ["10.1.2.10", "fd00::5"]);
    ours().status(&net.conf).expect_ok();
    assert_eq!(net.add("d"), ["10.1.2.11", "fd00::6"]);
    // An excluded address that is reserved does not count.
    net.write("10.1.2.7", "old\r\neth0");
    let full = "no IP addresses available in range set: 10.1.2.1-10.1.2.14; 4 of 4 addresses are held by 4 containers";
    let error = net.add_error("e");
    assert!(error.contains(full), "{error}");
    ours().status(&net.conf).expect_error(50).mentions(full);
    net.conf["args"] = json!({"cni": {"ips": ["10.1.2.8"]}});
    assert_eq!(
        net.add_error("e"),
        "failed to allocate for range 0: requested ip 10.1.2.8 is excluded by ipam.exclude"
    );
    // What was reserved before it was excluded is still checked and freed.
    net.run("CHECK", "old").expect_ok();
    net.del("old");
    assert!(!net.files().contains("10.1.2.7"));
}

#[test]
fn invalid_keys_are_refused() {
    for (key, value, expected) in [
        (
            "exclude",
            json!(["10.1.2.5", "10.1.2"]),
            "ipam.exclude[1]: \"10.1.2\" is neither an address, nor a CIDR, nor a range such as 10.1.2.10-10.1.2.19",
        ),
        (
            "exclude",
            json!(["10.1.0.0/16"]),
            "ipam.exclude leaves no address of range set 0, 10.1.2.1-10.1.2.254",
        ),
        (
            "strategy",
            json!("newest"),
            "ipam.strategy: \"newest\" is none of round-robin, sequential, random, sticky",
        ),
        (
            "reservationKey",
            json!(["K8S_POD_NAME"]),
            "ipam.reservationKey: only the strategy sticky uses it; set ipam.strategy to sticky",
        ),
        ("coolDown", json!(-1), "ipam.coolDown: "),
        ("coolDown", json!("60"), "ipam.coolDown: "),
        ("reclaim", json!("no"), "ipam.reclaim: "),
    ] {
        let net = Net::new(json!({"subnet": "10.1.2.0/24", key: value}));
        let error = net.add_error("a");
        assert!(error.starts_with(expected), "{error}");
        assert!(!net.data_dir.exists());
        // They do not prevent a deletion.
        net.del("a");
    }
}

#[test]
fn sequential_takes_the_first_free_address() {
    let net = Net::new(json!({"subnet": "10.1.0.0/16", "strategy": "sequential"}));
    for i in 0..60 {
        assert_eq!(net.add(&format!("c{i}")), [format!("10.1.0.{}", i + 2)]);
    }
    for id in ["c40", "c9", "c3"] {
        net.del(id);
    }
    assert_eq!(net.add("x"), ["10.1.0.5"]);
    assert_eq!(net.add("y"), ["10.1.0.11"]);
    assert_eq!(net.add("z"), ["10.1.0.42"]);
    assert_eq!(net.add("end"), ["10.1.0.62"]);
}

#[test]
fn random_addresses_are_spread_over_the_range() {
    let net = Net::new(json!({
        "ranges": [[{"subnet": "11.0.0.0/8"}], [{"subnet": "fd00::/64"}], [{"subnet": "10.1.2.0/28"}]],
        "strategy": "random",
    }));
    let mut networks: [BTreeSet<String>; 2] = Default::default();
    for i in 0..13 {
        let ips = net.add(&format!("c{i}"));
        networks[0].insert(ips[0].rsplit_once('.').expect("IPv4").0.to_owned());
        networks[1].insert(ips[1].clone());
    }
    // Two of thirteen in one of 65,536 networks are possible, three practically never.
    assert!(networks[0].len() > 10, "{networks:?}");
    assert_eq!(networks[1].len(), 13);
    // Every address of the small set is found.
    let error = net.add_error("more");
    assert!(error.contains("13 of 13 addresses"), "{error}");
}

#[test]
fn sticky_gives_a_pod_its_address_again() {
    let net = sticky(json!({"ranges": [[{"subnet": "10.1.2.0/29"}], [{"subnet": "fd00::/125"}]]}));
    assert_eq!(ip_of_pod(&net, "a1", "a"), "10.1.2.2 fd00::2");
    assert_eq!(ip_of_pod(&net, "b1", "b"), "10.1.2.3 fd00::3");
    net.del("a1");
    assert_eq!(ip_of_pod(&net, "c1", "c"), "10.1.2.4 fd00::4");
    assert_eq!(ip_of_pod(&net, "a2", "a"), "10.1.2.2 fd00::2");
    // Round robin avoids the addresses of a and b, which are free, and goes on with others.
    for id in ["a2", "b1"] {
        net.del(id);
    }
    assert_eq!(ip_of_pod(&net, "d1", "d"), "10.1.2.5 fd00::5");
    assert_eq!(ip_of_pod(&net, "e1", "e"), "10.1.2.6 fd00::6");
    // Only a's and b's addresses are free; the one given out first is taken.
    assert_eq!(ip_of_pod(&net, "f1", "f"), "10.1.2.2 fd00::7");
    assert_eq!(ip_of_pod(&net, "b2", "b"), "10.1.2.3 fd00::3");
    let error = pod(&net, "a3", "a").expect_error(999).text();
    assert!(error.contains("5 of 5 addresses are held"), "{error}");
    net.del("e1");
    assert_eq!(ip_of_pod(&net, "a3", "a"), "10.1.2.6 fd00::2");
    // The second interface of a container has a key of its own.
    net.del("c1");
    net.del("d1");
    let args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=a";
    let second = call(&ours(), "ADD", "a3", &net.conf)
        .ifname("eth1")
        .args(args);
    assert_eq!(addresses(&second.run().expect_ok().json())[0], "10.1.2.4");
}

#[test]
fn the_reservation_key_consists_of_the_named_arguments() {
    let mut net = sticky(json!({"subnet": "10.1.2.0/24"}));
    let error = net.add_error("a");
    let expected = "ipam.strategy sticky: CNI_ARGS has no K8S_POD_NAMESPACE, which is part of the reservation key; \
                    list names that the runtime sets in ipam.reservationKey, or use another strategy";
    assert_eq!(error, expected);
    assert!(net.reserved().is_empty());
    // STATUS and DEL have no arguments.
    ours().status(&net.conf).expect_ok();
    net.del("a");
    net.conf["ipam"]["reservationKey"] = json!(["JOB", "SLOT"]);
    let add = |id: &str, args: &str| {
        let run = call(&ours(), "ADD", id, &net.conf).args(args).run();
        addresses(&run.expect_ok().json()).remove(0)
    };
    // Named keys are known, without IgnoreUnknown.
    assert_eq!(add("a", "JOB=web;SLOT=1"), "10.1.2.2");
    assert_eq!(add("b", "JOB=web;SLOT=2"), "10.1.2.3");
    assert_eq!(add("c", "JOB=we;SLOT=b1"), "10.1.2.4");
    for id in ["a", "b", "c"] {
        net.del(id);
    }
    assert_eq!(add("d", "JOB=web;SLOT=2"), "10.1.2.3");
    assert_eq!(add("e", "SLOT=1;JOB=web"), "10.1.2.2");
}

#[test]
fn a_freed_address_cools_down() {
    let mut net = Net::new(json!({"subnet": "10.1.2.0/30", "coolDown": 3600}));
    assert_eq!(net.add("a"), ["10.1.2.2"]);
    net.del("a");
    let full = "no IP addresses available in range set: 10.1.2.1-10.1.2.2; 0 of 1 addresses are held by 0 containers; \
                1 cool down, the first one for 3";
    let error = net.add_error("b");
    assert!(error.contains(full), "{error}");
    ours().status(&net.conf).expect_error(50).mentions(full);
    // A requested address is given out all the same.
    net.conf["args"] = json!({"cni": {"ips": ["10.1.2.2"]}});
    assert_eq!(net.add("c"), ["10.1.2.2"]);
    net.conf["args"] = json!({});
    // GC begins a cool-down, too.
    net.conf["cni.dev/valid-attachments"] = json!([]);
    ours().gc(&net.conf).expect_ok();
    assert!(net.reserved().is_empty());
    assert!(net.add_error("d").contains("cool down"));
    // It ends.
    net.conf["ipam"]["coolDown"] = 2.into();
    let start = Instant::now();
    while !net.run("ADD", "e").is_ok() {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "still cools down"
        );
    }
    let before = Instant::now();
    net.del("e");
    while !net.run("ADD", "f").is_ok() {
        assert!(
            before.elapsed() < Duration::from_secs(60),
            "still cools down"
        );
    }
    assert!(before.elapsed() >= Duration::from_secs(2), "too early");
    // Without the key the record has no effect.
    net.del("f");
    net.conf["ipam"]["coolDown"] = 0.into();
    assert_eq!(net.add("g"), ["10.1.2.2"]);
}

#[test]
fn a_failed_add_begins_no_cool_down() {
    let mut net = Net::new(json!({
        "ranges": [[{"subnet": "10.1.2.0/24"}], [{"subnet": "10.1.3.0/30"}]],
        "coolDown": 3600,
    }));
    net.add("a");
    for _ in 0..3 {
        net.add_error("b");
    }
    assert!(!net.files().contains(".freed"));
    net.conf["ipam"]["ranges"] = json!([[{"subnet": "10.1.2.0/29"}]]);
    for id in ["c", "d", "e", "f"] {
        net.add(id);
    }
}

#[test]
fn a_reboot_ends_the_cool_down() {
    let host = Host::new();
    let net = Net::new(json!({"subnet": "10.1.2.0/30", "coolDown": 3600}));
    net.add("a");
    net.del("a");
    net.add_error("b");
    let id = host.write("boot_id", "01234567-89ab-cdef-0123-456789abcdef\n");
    let id = id.display().to_string();
    host.command(&["mount", "--bind", &id, "/proc/sys/kernel/random/boot_id"]);
    assert_eq!(net.add("b"), ["10.1.2.2"]);
}

/// Damaged or unreadable, the files cost at most what they remember.
#[test]
fn damaged_files_prevent_nothing() {
    for damage in [
        &b""[..],
        b"\0\0\0\0",
        b"10.1.2.2 \xff\n",
        b"10.1.2.2",
        b"\n\n \n",
    ] {
        let mut net = sticky(json!({"subnet": "10.1.2.0/24", "coolDown": 3600}));
        net.write(".freed", damage);
        net.write(".sticky", damage);
        assert_eq!(ip_of_pod(&net, "a", "a"), "10.1.2.2");
        net.del("a");
        assert_eq!(ip_of_pod(&net, "b", "b"), "10.1.2.3");
        ours().status(&net.conf).expect_ok();
        // A directory in the way is an error of ADD that names it, and none of DEL.
        for name in [".freed", ".sticky"] {
            let path = net.dir().join(name);
            let _ = fs::remove_file(&path);
            fs::create_dir(&path).expect("directory");
            let error = pod(&net, "c", "c").expect_error(999).text();
            assert_eq!(error, format!("read {}: is a directory", path.display()));
            assert_eq!(net.reserved().len(), 1);
            fs::remove_dir(&path).expect("directory");
        }
        fs::create_dir(net.dir().join(".freed")).expect("directory");
        let log = net.run("DEL", "b").expect_ok().stderr_text();
        assert!(log.contains("10.1.2.3 is free without cool-down"), "{log}");
        assert!(net.reserved().is_empty());
        net.conf["ipam"]["coolDown"] = 0.into();
        ip_of_pod(&net, "c", "c");
    }
}

/// Upstream ignores the keys and the files.
#[test]
fn upstream_uses_the_same_directory_and_configuration() {
    let net = Net::of_version(
        "1.0.0",
        json!({
            "subnet": "10.1.2.0/28", "exclude": ["10.1.2.4"], "strategy": "sticky",
            "reservationKey": ["K8S_POD_NAME"], "coolDown": 3600, "reclaim": true,
        }),
    );
    assert_eq!(ip_of_pod(&net, "a", "a"), "10.1.2.2");
    let args = "IgnoreUnknown=1;K8S_POD_NAME=b";
    let theirs = |verb: &str, id: &str| {
        call(&peer(), verb, id, &net.conf)
            .args(args)
            .run()
            .expect_ok()
    };
    assert_eq!(addresses(&theirs("ADD", "b").json()), ["10.1.2.3"]);
    assert_eq!(addresses(&theirs("ADD", "c").json()), ["10.1.2.4"]);
    net.run("CHECK", "c").expect_ok();
    theirs("CHECK", "a");
    theirs("DEL", "a");
    net.del("b");
    // Freed by upstream, so without a cool-down, but kept for a.
    assert_eq!(ip_of_pod(&net, "d", "d"), "10.1.2.5");
    assert_eq!(ip_of_pod(&net, "a2", "a"), "10.1.2.2");
    theirs("DEL", "a2");
    for id in ["c", "d"] {
        theirs("DEL", id);
    }
    assert!(net.reserved().is_empty());
}
