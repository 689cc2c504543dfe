//! Addresses of containers that are certainly gone: after a reboot, and when a range runs
//! dry. And those that must be left alone.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::time::{Duration, Instant};

use crate::common::{Net, addresses, call, ours, peer};
use serde_json::json;
use testkit::{Container, Host, Node as _, Run};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Makes the host look as if it had been booted again, except that its containers stay.
fn reboot(host: &Host) {
    let id = host.write("boot_id", "01234567-89ab-cdef-0123-456789abcdef\n");
    host.command(&["mount", "--bind", &id.display().to_string(), BOOT_ID]);
}

fn add(net: &Net, container: &Container) -> Run {
    ours().add(container, &net.conf)
}

fn ip(run: &Run) -> String {
    addresses(&run.json()).join(" ")
}

fn reserved(net: &Net) -> Vec<String> {
    let ips = net.reserved();
    ips.iter().map(IpAddr::to_string).collect()
}

/// Linux 6.18 and later tell root of the initial user namespace whether a network namespace
/// exists.
fn kernel_knows_namespaces() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("release");
    let mut numbers = release.split(['.', '-']).map(|part| part.parse::<u32>());
    let mut number = || numbers.next().expect("a number").expect("a number");
    let user = fs::metadata("/proc/self/ns/user").expect("user namespace");
    (number(), number()) >= (6, 18) && user.ino() == 0xefff_fffd
}

#[test]
fn the_first_add_after_a_reboot_reclaims_addresses() {
    let host = Host::new();
    let net = Net::of_version("1.0.0", json!({"subnet": "10.1.2.0/24"}));
    // Enough for an index.
    let old: Vec<Container> = (0..40)
        .map(|i| host.container(&format!("old{i}")))
        .collect();
    for container in &old {
        assert_eq!(add(&net, container).expect_ok().stderr_text(), "");
    }
    // Not provable: reserved by upstream, by hand, and for something that is no namespace.
    call(&peer(), "ADD", "upstream", &net.conf)
        .run()
        .expect_ok();
    net.write("10.1.2.100", "hand\r\neth0");
    assert_eq!(net.add("elsewhere"), ["10.1.2.43"]);
    reboot(&host);
    let new = host.container("new");
    let run = add(&net, &new).expect_ok();
    assert_eq!(ip(&run), "10.1.2.44");
    let log = run.stderr_text();
    for i in 0..40 {
        let line = format!(
            "host-local: reclaimed 10.1.2.{}, which was held by old{i} eth0: it was reserved before this boot\n",
            i + 2
        );
        assert!(log.contains(&line), "{line:?} in {log}");
    }
    assert_eq!(log.lines().count(), 40, "{log}");
    assert_eq!(
        reserved(&net),
        ["10.1.2.42", "10.1.2.43", "10.1.2.44", "10.1.2.100"]
    );
    // Once is enough.
    assert_eq!(add(&net, &old[0]).expect_ok().stderr_text(), "");
    ours().del(&new, &net.conf).expect_ok();
    ours().del(&old[0], &net.conf).expect_ok();
    assert_eq!(reserved(&net).len(), 3);
}

/// Podman gives a container the same ID after a reboot.
#[test]
fn a_container_comes_back_after_a_reboot() {
    let host = Host::new();
    let container = host.container("c");
    let mut net =
        Net::new(json!({"ranges": [[{"subnet": "10.1.2.0/24"}], [{"subnet": "fd00::/64"}]]}));
    add(&net, &container).expect_ok();
    let error = add(&net, &container).expect_error(999).text();
    assert!(error.contains("duplicate allocation"), "{error}");
    reboot(&host);
    net.conf["args"] = json!({"cni": {"ips": ["10.1.2.2"]}});
    assert_eq!(ip(&add(&net, &container).expect_ok()), "10.1.2.2 fd00::3");
    assert_eq!(reserved(&net), ["10.1.2.2", "fd00::3"]);
}

#[test]
fn what_is_not_certain_is_left_alone() {
    let host = Host::new();
    let net = Net::of_version("1.0.0", json!({"subnet": "10.1.2.0/29"}));
    let containers = ["a", "b", "c"].map(|name| host.container(name));
    for container in &containers {
        add(&net, container).expect_ok();
    }
    let path = |ip: &str| net.dir().join(ip);
    // Upstream frees an address and reserves it for another container.
    peer().del(&containers[0], &net.conf).expect_ok();
    fs::remove_file(path("last_reserved_ip.0")).unwrap();
    let upstream = call(&peer(), "ADD", "new", &net.conf).run().expect_ok();
    assert_eq!(addresses(&upstream.json()), ["10.1.2.2"]);
    // An administrator edits a file, and restores another from a copy.
    fs::write(path("10.1.2.3"), "edited\r\neth0").unwrap();
    fs::copy(path("10.1.2.4"), path("copy")).unwrap();
    fs::rename(path("copy"), path("10.1.2.4")).unwrap();
    reboot(&host);
    let last = host.container("last");
    assert_eq!(add(&net, &last).expect_ok().stderr_text(), "");
    assert_eq!(
        reserved(&net),
        ["10.1.2.2", "10.1.2.3", "10.1.2.4", "10.1.2.5"]
    );
}

#[test]
fn addresses_of_another_machine_are_left_alone() {
    let host = Host::new();
    let net = Net::new(json!({"subnet": "10.1.2.0/24"}));
    let [one, other, third] = ["one", "other", "third"].map(|name| host.container(name));
    host.mount_tmpfs("/etc", "");
    fs::write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n").unwrap();
    add(&net, &one).expect_ok();
    reboot(&host);
    fs::write("/etc/machine-id", "fedcba9876543210fedcba9876543210\n").unwrap();
    assert_eq!(add(&net, &other).expect_ok().stderr_text(), "");
    assert_eq!(reserved(&net).len(), 2);
    // The machine itself reclaims its address, and only that one.
    fs::write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n").unwrap();
    let log = add(&net, &third).expect_ok().stderr_text();
    assert!(
        log.contains("10.1.2.2") && log.lines().count() == 1,
        "{log}"
    );
}

#[test]
fn reclaiming_can_be_switched_off() {
    let host = Host::new();
    let net = Net::new(json!({"subnet": "10.1.2.0/30", "reclaim": false}));
    let [one, two] = ["one", "two"].map(|name| host.container(name));
    add(&net, &one).expect_ok();
    reboot(&host);
    for _ in 0..2 {
        let error = add(&net, &two).expect_error(999).text();
        assert!(error.contains("no IP addresses available"), "{error}");
    }
    ours().status(&net.conf).expect_error(50);
}

/// The namespaces of all containers but one exist.
#[test]
fn an_exhausted_range_reclaims_addresses_whose_namespace_is_gone() {
    let host = Host::new();
    let mut net = Net::new(json!({"subnet": "10.1.2.0/29"}));
    let mut containers: Vec<Container> = (0..5).map(|i| host.container(&format!("c{i}"))).collect();
    for container in &containers {
        add(&net, container).expect_ok();
    }
    let next = host.container("next");
    let refused = |net: &Net| {
        let error = add(net, &next).expect_error(999).text();
        assert!(error.contains("5 of 5 addresses are held by 5"), "{error}");
        ours().status(&net.conf).expect_error(50);
    };
    refused(&net);
    let gone = containers.remove(2);
    gone.delete();
    // The test still has it open.
    refused(&net);
    drop(gone);
    if !kernel_knows_namespaces() {
        refused(&net);
        return;
    }
    net.conf["ipam"]["reclaim"] = false.into();
    refused(&net);
    net.conf["ipam"]["reclaim"] = true.into();
    // The kernel ends a namespace in the background.
    let deadline = Instant::now() + Duration::from_secs(30);
    while !ours().status(&net.conf).is_ok() {
        assert!(Instant::now() < deadline, "the namespace still exists");
    }
    let run = add(&net, &next).expect_ok();
    assert_eq!(ip(&run), "10.1.2.4");
    assert_eq!(
        run.stderr_text(),
        "host-local: reclaimed 10.1.2.4, which was held by c2 eth0: its network namespace no longer exists\n"
    );
    for container in &containers {
        ours().check(container, &net.conf).expect_ok();
    }
}

/// A runtime that lost a DEL uses the ID of the container again.
#[test]
fn an_address_held_in_a_namespace_that_is_gone_is_no_duplicate() {
    if !kernel_knows_namespaces() {
        return;
    }
    let host = Host::new();
    let mut net = Net::new(json!({"subnet": "10.1.2.0/24"}));
    let [first, other] = ["c", "other"].map(|name| host.container(name));
    add(&net, &first).expect_ok();
    drop(first);
    let again = host.container("c");
    let deadline = Instant::now() + Duration::from_secs(30);
    let run = loop {
        let run = add(&net, &again);
        if run.is_ok() {
            break run;
        }
        assert!(Instant::now() < deadline, "{}", run.report());
    };
    assert_eq!(ip(&run), "10.1.2.3");
    assert_eq!(reserved(&net), ["10.1.2.3"]);
    // A requested address, too.
    drop(again);
    net.conf["args"] = json!({"cni": {"ips": ["10.1.2.3"]}});
    while !add(&net, &other).is_ok() {
        assert!(Instant::now() < deadline, "the namespace still exists");
    }
    assert_eq!(reserved(&net), ["10.1.2.3"]);
    ours().check(&other, &net.conf).expect_ok();
}

/// Without the capability, the kernel gives the same answer for namespaces that exist and for
/// others.
#[test]
fn without_rights_over_namespaces_nothing_is_reclaimed() {
    let host = Host::new();
    let net = Net::new(json!({"subnet": "10.1.2.0/30"}));
    let [one, two] = ["one", "two"].map(|name| host.container(name));
    add(&net, &one).expect_ok();
    let plugin = ours().program().display().to_string();
    let script = host.write(
        "limited",
        format!("#!/bin/sh\nexec setpriv --bounding-set -sys_admin {plugin}\n"),
    );
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("mode");
    let limited = testkit::Plugin::in_dir(host.dir(), "limited");
    for confinement in ["on", "off"] {
        let call = |container: &Container| {
            let call = limited
                .command("ADD")
                .container(container)
                .config(&net.conf);
            call.env("CNI_CONFINE", confinement)
                .run()
                .expect_error(999)
                .text()
        };
        assert!(call(&two).contains("no IP addresses available"));
        assert!(call(&one).contains("duplicate allocation"));
    }
    assert_eq!(reserved(&net), ["10.1.2.2"]);
}
