//! When DEL returns, the links are gone and their names are free, however often and however many at a time.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use blackbox::{answer, networks, state};
use serde_json::{Value, json};
use testkit::{Container, Host, Invocation, Node, Plugin, Run, run_all};

use crate::processes::{assert_nothing_left, masquerading};

/// The sysfs of a container, mounted for the test.
fn sysfs_of(host: &Host, container: &Container) -> PathBuf {
    let directory = host.dir().join(format!("sys-{}", container.name()));
    std::fs::create_dir(&directory).expect("make a directory");
    let path = directory.to_str().expect("a path in UTF-8");
    container.command(&["mount", "-t", "sysfs", "none", path]);
    directory.join("class/net")
}

/// Demands that neither end of a pair exists, for netlink and in sysfs.
#[track_caller]
fn assert_gone(host: &Host, container: &Container, sysfs: &Path, host_name: &str) {
    assert!(
        !Path::new("/sys/class/net").join(host_name).exists(),
        "{host_name} is in sysfs"
    );
    assert!(!sysfs.join("eth0").exists(), "eth0 is in sysfs");
    assert!(
        !container.link_names().contains(&"eth0".to_owned()),
        "eth0 exists"
    );
    assert!(
        !host.link_names().contains(&host_name.to_owned()),
        "{host_name} exists"
    );
}

/// The name of the host's end of the pair in the result of `bridge`.
fn host_end(added: &Run) -> String {
    let name = &answer::result(added)["interfaces"][1]["name"];
    name.as_str().expect("a name").to_owned()
}

/// The container gets the same name and the same address each time.
#[test]
fn bridge_is_added_and_deleted_three_hundred_times() {
    let host = Host::new();
    let container = host.container("c1");
    let sysfs = sysfs_of(&host, &container);
    let config = networks::with(
        masquerading(),
        &json!({"ipam": {"type": "static", "subnet": null, "addresses": [{"address": "10.70.0.9/24", "gateway": "10.70.0.1"}]}}),
    );
    let bridge = Plugin::new("bridge");
    for _ in 0..300 {
        let added = bridge.add(&container, &config);
        let host_name = host_end(&added);
        answer::silent(bridge.del(&container, &config));
        assert_gone(&host, &container, &sysfs, &host_name);
    }
    assert_nothing_left("bridge", &host, &[container]);
}

/// The ifb of a container has the same name each time.
#[test]
fn bandwidth_is_added_and_deleted_sixty_times() {
    let host = Host::new();
    let container = host.container("c1");
    let added =
        Plugin::new("bridge").add(&container, &networks::bridged("1.1.0", &["10.71.0.0/24"]));
    let config = json!({
        "cniVersion": "1.1.0", "name": "net", "type": "bandwidth",
        "egressRate": 5_000_000, "egressBurst": 500_000, "prevResult": answer::result(&added),
    });
    let before = host.link_names();
    let bandwidth = Plugin::new("bandwidth");
    for _ in 0..60 {
        answer::result(&bandwidth.add(&container, &config));
        assert_eq!(host.link_names().len(), before.len() + 1);
        answer::silent(bandwidth.del(&container, &config));
        assert_eq!(host.link_names(), before);
    }
    assert_nothing_left("bandwidth", &host, &[container]);
}

const CONTAINERS: usize = 16;

fn containers(host: &Host) -> Vec<Container> {
    (0..CONTAINERS)
        .map(|n| host.container(&format!("c{n}")))
        .collect()
}

fn calls<'a>(
    verb: &'a str,
    containers: &'a [Container],
    config: &'a Value,
) -> impl Iterator<Item = Invocation> + 'a {
    containers.iter().map(move |container| {
        Plugin::new("bridge")
            .command(verb)
            .container(container)
            .config(config)
    })
}

#[test]
fn sixteen_at_a_time() {
    let host = Host::new();
    let config = masquerading();
    let containers = containers(&host);
    let sysfs: Vec<PathBuf> = containers.iter().map(|c| sysfs_of(&host, c)).collect();
    for _ in 0..12 {
        let names: Vec<String> = run_all(calls("ADD", &containers, &config))
            .iter()
            .map(host_end)
            .collect();
        let running: Vec<_> = calls("DEL", &containers, &config)
            .map(Invocation::start)
            .collect();
        for (n, running) in running.into_iter().enumerate() {
            answer::silent(running.wait());
            assert_gone(&host, &containers[n], &sysfs[n], &names[n]);
        }
        assert!(state::leases("net").is_empty());
    }
    assert_nothing_left("bridge", &host, &containers);
}

/// The namespaces are deleted while DEL runs, and new ones with the same names follow at once. A pair whose namespace
/// is deleted first is deleted by the kernel, some time later.
#[test]
fn namespaces_are_deleted_in_the_same_moment() {
    let host = Host::new();
    let config = masquerading();
    for _ in 0..8 {
        let containers = containers(&host);
        for run in run_all(calls("ADD", &containers, &config)) {
            answer::result(&run);
        }
        let running: Vec<_> = calls("DEL", &containers, &config)
            .map(Invocation::start)
            .collect();
        drop(containers);
        for running in running {
            answer::silent(running.wait());
        }
        assert!(state::leases("net").is_empty());
    }
    assert_nothing_left("bridge", &host, &[]);
    let end = Instant::now() + Duration::from_secs(10);
    while !state::veths(&host).is_empty() {
        assert!(
            Instant::now() < end,
            "left after 10 s: {:?}",
            state::veths(&host)
        );
        thread::sleep(Duration::from_millis(20));
    }
}
