//! Hundreds of attachments that come and go at random, with killed plugins, chains that break, a file system that is full,
//! a range that runs dry, attachments that get no DEL, and GC in between.
//!
//! `cargo xtask load` sets the duration and the number of workers; the suite runs a short form.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, also in its helper functions"
)]

mod broken;
mod daemon;
mod fault;
mod network;
mod random;
mod results;
mod throughput;
mod worker;

use std::env;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use blackbox::state;
use network::Network;
use random::Random;
use results::Results;
use testkit::{Container, Host};
use worker::Worker;

/// Seconds for which the workers run.
const SECONDS: &str = "CNI_LOAD_SECONDS";

/// The number of workers.
const WORKERS: &str = "CNI_LOAD_WORKERS";

/// First number of the sequence of random decisions; printed by each run.
const SEED: &str = "CNI_LOAD_SEED";

/// Attachments that a worker holds at most.
const SLOTS: usize = 8;

fn setting(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn nothing_is_left_of_attachments_that_come_and_go() {
    let seconds = setting(SECONDS, 60);
    let workers = usize::try_from(setting(WORKERS, 8)).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = setting(SEED, now.as_secs());
    let host = Host::new();
    let networks = network::all(&host);
    let _server = daemon::server(&host);
    let daemon = daemon::start();
    let containers: Vec<Container> = (0..workers * SLOTS)
        .map(|number| host.container(&format!("load{number}")))
        .collect();
    for network in &networks {
        network.warm_up(&containers[0]);
    }
    let before = state::of(&host);
    let paths: Vec<_> = containers.iter().map(Container::netns).collect();
    let (results, is_over) = (Results::default(), AtomicBool::new(false));
    let _daemon = thread::scope(|scope| {
        let killer = scope.spawn(|| daemon::kill_now_and_then(daemon, &results, &is_over));
        for (number, paths) in paths.chunks(SLOTS).enumerate() {
            let random = Random::new(seed + number as u64);
            let mut worker = Worker::new(number, paths, &networks, &results, random);
            let is_over = &is_over;
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    worker.step();
                }
                worker.finish();
            });
        }
        collect_now_and_then(&networks, &results, &is_over, Duration::from_secs(seconds));
        killer.join().unwrap()
    });
    for network in &networks {
        network.collect(&results);
    }
    println!("{workers} workers, {seconds} s, seed {seed}\n{results}");
    results.assert_explained();
    state::assert_back(&before, &host);
}

/// Runs GC of one network after the other until the time is over.
fn collect_now_and_then(
    networks: &[Network],
    results: &Results,
    is_over: &AtomicBool,
    time: Duration,
) {
    let end = Instant::now() + time;
    for network in networks.iter().cycle() {
        if Instant::now() >= end {
            break;
        }
        thread::sleep(Duration::from_millis(200));
        network.collect(results);
    }
    is_over.store(true, Ordering::Relaxed);
}
