//! A daemon and shims that end while pods run or start.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::statfs::{NSFS_MAGIC, statfs};
use testkit::tool;

use crate::pods::{Pod, Pods, list, pod};

/// Kills the shim of a pod, which is the parent of its first process.
#[track_caller]
fn kill_shim(pods: &Pods, pod: &Pod) {
    let tasks = pods.containerd.run("ctr -n k8s.io tasks list");
    let task = tasks.lines().find(|line| line.starts_with(&pod.id));
    let process = task.and_then(|line| line.split_whitespace().nth(1));
    let status = format!("cat /proc/{}/status", process.expect("its number"));
    let status = pods.containerd.run(&status);
    let parent = status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:"))
        .expect("a process has a parent");
    pods.containerd.kill("KILL", parent.trim());
}

/// Waits until the CRI says that a pod does not run any more.
#[track_caller]
fn wait_until_it_ended(pods: &Pods, pod: &Pod) {
    let end = Instant::now() + Duration::from_secs(30);
    let runs = || {
        let sandboxes = pods.cri.sandboxes().unwrap();
        sandboxes.iter().any(|one| one.id == pod.id && one.is_ready)
    };
    while runs() {
        assert!(Instant::now() < end, "{} runs", pod.id);
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn pods_outlive_the_daemon_and_end_without_their_shim() {
    let pods = Pods::new(&list("1.0.0", "iptables"));
    let ports = [8081, 8082, 8083];
    let all: Vec<Pod> = ports
        .iter()
        .map(|port| pods.run(pod(&format!("pod{port}"), i32::from(*port))))
        .collect();
    for signal in ["TERM", "KILL"] {
        pods.containerd.restart(signal);
        for (one, port) in all.iter().zip(ports) {
            assert_eq!(pods.pod(one.id.clone()).addresses, one.addresses);
            pods.assert_connected(one, port);
            pods.assert_whole(one);
        }
    }
    kill_shim(&pods, &all[0]);
    wait_until_it_ended(&pods, &all[0]);
    // Its attachment remains until the pod is stopped.
    pods.assert_whole(&all[0]);
    pods.end(&all[0]);
    pods.assert_closed(8081);
    // The daemon is not there when a shim ends, and learns of it when it starts.
    kill_shim(&pods, &all[1]);
    pods.containerd.restart("KILL");
    pods.end(&all[1]);
    pods.assert_connected(&all[2], 8083);
    pods.end(&all[2]);
    pods.assert_nothing_left();
}

/// The namespaces that containerd has made.
fn namespaces() -> Vec<PathBuf> {
    let entries = fs::read_dir("/run/netns").unwrap().flatten();
    let paths = entries.map(|entry| entry.path());
    paths.filter(|path| !path.ends_with("outside")).collect()
}

/// Starts six pods at once, and kills the daemon when there are so many namespaces.
#[track_caller]
fn interrupt(pods: &Pods, round: &str, enough: usize) {
    thread::scope(|scope| {
        for number in 0..6 {
            let cri = pods.another_cri();
            let config = pod(&format!("{round}-{number}"), 8100 + number);
            // Whether it was fast enough is left open.
            scope.spawn(move || drop(cri.run(config)));
        }
        let end = Instant::now() + Duration::from_secs(30);
        while namespaces().len() < enough && Instant::now() < end {
            thread::sleep(Duration::from_millis(2));
        }
        pods.containerd.restart("KILL");
    });
    for sandbox in pods.cri.sandboxes().unwrap() {
        pods.cri.stop(&sandbox.id).unwrap();
        pods.cri.remove(&sandbox.id).unwrap();
    }
    // It has created a file, and not yet bound a namespace to it.
    for path in namespaces() {
        if statfs(&path).unwrap().filesystem_type() != NSFS_MAGIC {
            fs::remove_file(path).unwrap();
        }
    }
}

/// containerd forgets pods that it was starting when it was killed, and never calls GC: cnitool collects them.
#[test]
fn pods_that_a_killed_daemon_was_starting_are_collected() {
    let mut network = list("1.0.0", "nftables");
    let pods = Pods::new(&network);
    // GC is of specification 1.1, which this containerd refuses.
    network["cniVersion"] = "1.1.0".into();
    let collectable = pods.host.dir().join("collect.d");
    fs::create_dir(&collectable).unwrap();
    fs::write(collectable.join("10-pods.conflist"), network.to_string()).unwrap();
    let socket = pods.containerd.socket().display().to_string();
    let collect = || {
        let arguments = ["gc", "--from-cri", &socket, "--min-age", "0", "--execute"];
        let call = tool("cnitool").arguments(&arguments);
        let call = call.arguments(&["--plugins"]);
        call.env("NETCONFPATH", &collectable).run().expect_ok();
    };
    // Different moments: while namespaces are made, while plugins run, while sandboxes start.
    for (round, enough) in [("a", 1), ("b", 4), ("c", 6)] {
        interrupt(&pods, round, enough);
        // containerd leaves the namespaces that it has forgotten, with the pods' ends of links in them.
        let on_the_host = || {
            let left = namespaces();
            let names = left.iter().filter_map(|path| path.file_name()?.to_str());
            names.fold(pods.state(), |state, name| state.without_node(name))
        };
        // A plugin that was running when the daemon was killed goes on, and is waited for.
        let end = Instant::now() + Duration::from_secs(60);
        collect();
        while pods.before != on_the_host() && Instant::now() < end {
            thread::sleep(Duration::from_millis(100));
            collect();
        }
        pods.before.assert_same(&on_the_host());
        for namespace in namespaces() {
            pods.host.unmount(&namespace);
            fs::remove_file(&namespace).unwrap();
        }
        pods.assert_nothing_left();
    }
}
