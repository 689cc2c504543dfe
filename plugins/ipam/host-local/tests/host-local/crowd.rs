//! Many processes at the lock, and a lock that is never released.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Net, addresses, call, ours};
use serde_json::json;
use testkit::{Running, patience};

const WAITING: usize = 500;

/// Memory of a waiting process in KiB, of which most is shared.
const MEMORY_MAX: u64 = 8 * 1024;

/// Returns how many processes wait for a lock on a file.
fn waiters(file: &File) -> usize {
    let inode = file.metadata().expect("metadata").ino();
    let end = format!(":{inode} 0 EOF");
    let locks = fs::read_to_string("/proc/locks").expect("locks");
    let waits = |line: &&str| line.contains("->") && line.ends_with(&end);
    locks.lines().filter(waits).count()
}

/// Returns the peak memory of a process in KiB.
fn memory(running: &Running) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", running.pid())).expect("status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|number| number.parse().ok())
        .expect("VmHWM")
}

/// All of 500 waiting commands are served, though others keep coming.
#[test]
fn five_hundred_waiting_commands_are_served() {
    let net = Net::new(json!({"subnet": "10.1.0.0/16"}));
    net.add("first");
    let lock = File::open(net.dir().join("lock")).expect("lock");
    lock.lock().expect("lock");
    let start = |i: usize| {
        let call = call(&ours(), "ADD", &format!("c{i}"), &net.conf);
        call.deadline(Duration::from_secs(120)).start()
    };
    let running: Vec<Running> = (0..WAITING).map(start).collect();
    // A command gives up after 30 s.
    let deadline = Instant::now() + Duration::from_secs(20);
    while waiters(&lock) < WAITING && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
    let peak = running.iter().map(memory).max();
    assert!(peak < Some(MEMORY_MAX), "{peak:?} KiB");
    let (is_over, overtakers) = (AtomicBool::new(false), AtomicUsize::new(0));
    let released = Instant::now();
    drop(lock);
    let all = thread::scope(|scope| {
        for worker in 0..4 {
            let (net, is_over, overtakers) = (&net, &is_over, &overtakers);
            scope.spawn(move || {
                let id = format!("late{worker}");
                while !is_over.load(Ordering::Relaxed) {
                    net.run("ADD", &id).expect_ok();
                    net.run("DEL", &id).expect_ok();
                    overtakers.fetch_add(2, Ordering::Relaxed);
                }
            });
        }
        let serve = |one: Running| addresses(&one.wait().expect_ok().json()).remove(0);
        let all: BTreeSet<String> = running.into_iter().map(serve).collect();
        is_over.store(true, Ordering::Relaxed);
        all
    });
    let took = released.elapsed();
    assert_eq!(all.len(), WAITING);
    assert!(took < Duration::from_secs(30) * patience(), "{took:?}");
    // The kernel serves waiters in turn; a few may be overtaken.
    let overtakers = overtakers.into_inner();
    assert!(
        overtakers < WAITING,
        "{overtakers} came later and were served before"
    );
    eprintln!("{WAITING} waiters in {took:?}, {overtakers} overtook, {peak:?} KiB each");
}

/// Every verb fails in time, names the lock, and works again.
#[test]
fn a_lock_that_is_never_released() {
    let mut net = Net::new(json!({"subnet": "10.1.2.0/24"}));
    net.add("a");
    net.conf["cni.dev/valid-attachments"] = json!([]);
    let lock = File::open(net.dir().join("lock")).expect("lock");
    lock.lock().expect("lock");
    let verbs = ["ADD", "DEL", "CHECK", "GC", "STATUS"];
    let start = |verb: &&str| {
        let id = if *verb == "ADD" { "b" } else { "a" };
        let call = call(&ours(), verb, id, &net.conf);
        call.deadline(Duration::from_secs(90)).start()
    };
    let running: Vec<Running> = verbs.iter().map(start).collect();
    for running in running {
        let run = running.wait();
        assert!(run.elapsed >= Duration::from_secs(30), "{}", run.report());
        let text = run.expect_error(999).text();
        let expected = format!(
            "lock {}/lock: another process holds it for more than 30 s; find that process (\"fuser {0}/lock\") and end it \
             if it hangs",
            net.dir().display()
        );
        assert_eq!(text, expected);
    }
    assert_eq!(net.reserved().len(), 1);
    drop(lock);
    net.add("b");
    net.del("a");
}
