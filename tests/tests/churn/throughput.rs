//! Calls per second of the plugins under test and of the peer's, with the same load: without faults and without GC, on
//! networks that both have.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use blackbox::state;
use serde_json::json;
use testkit::{Container, Host, Node, bin_dir, peer_dir};

use crate::network::Network;
use crate::random::Random;
use crate::results::Results;
use crate::worker::Worker;
use crate::{SECONDS, SEED, setting};

/// The file that gets the table. If it is set, workers and turns are those of a long run.
const TABLE: &str = "CNI_LOAD_TABLE";

const HEADING: &str = "| workers | calls/s | calls/s of the peer | ratio | failed | failed, peer |\n\
    |---|---|---|---|---|---|\n";

/// Containers of all workers together in a long and in a short run, so that the tables of the kernel have the same size
/// whatever the number of workers.
const CONTAINERS: (usize, usize) = (256, 32);

/// More workers than processors add nothing, so a rate that stays within this share counts as no fall.
const NOISE: f64 = 0.05;

/// What one side has done with a number of workers.
#[derive(Default)]
struct Total {
    calls: u64,
    time: Duration,
    failures: Vec<String>,
}

impl Total {
    #[expect(clippy::cast_precision_loss, reason = "far fewer calls than 2^52")]
    fn rate(&self) -> f64 {
        self.calls as f64 / self.time.as_secs_f64()
    }
}

#[test]
fn the_same_load_with_the_peers_plugins() {
    let table = env::var_os(TABLE).map(PathBuf::from);
    let (workers, turns, containers): (&[usize], u64, usize) = match table {
        Some(_) => (&[1, 8, 32], 3, CONTAINERS.0),
        None => (&[4], 1, CONTAINERS.1),
    };
    let time = Duration::from_secs(setting(SECONDS, 3)) / u32::try_from(turns).unwrap();
    let seed = setting(SEED, 1);
    let mut rows = Vec::new();
    for &workers in workers {
        let (mut ours, mut peers) = (Total::default(), Total::default());
        for turn in 0..turns {
            let load = Load {
                workers,
                containers,
                time,
                seed: seed + turn,
            };
            load.run(&bin_dir(), true, &mut ours);
            load.run(&peer_dir(), false, &mut peers);
        }
        rows.push((workers, ours, peers));
    }
    let text = report(&rows);
    println!("{text}");
    if let Some(path) = table {
        fs::write(path, text).unwrap();
    }
    for (workers, ours, peers) in &rows {
        assert!(ours.calls > 0, "no call in {time:?} by {workers} workers");
        for failure in &peers.failures {
            println!("peer: {failure}");
        }
    }
}

/// What the workers do, the same for both sides.
struct Load {
    workers: usize,
    containers: usize,
    time: Duration,
    seed: u64,
}

impl Load {
    /// Runs the workers with the binaries in `bin` on a host of their own. If they are ours, nothing may fail, and
    /// nothing may be left.
    fn run(&self, bin: &Path, is_ours: bool, total: &mut Total) {
        let host = Host::new();
        let networks = networks(&host, bin);
        let containers: Vec<Container> = (0..self.containers)
            .map(|number| host.container(&format!("load{number}")))
            .collect();
        for network in &networks {
            network.warm_up(&containers[0]);
        }
        let before = state::of(&host);
        let paths: Vec<_> = containers.iter().map(Container::netns).collect();
        let (results, is_over) = (Results::default(), AtomicBool::new(false));
        let start = Instant::now();
        thread::scope(|scope| {
            for (number, paths) in paths.chunks(self.containers / self.workers).enumerate() {
                let random = Random::new(self.seed + number as u64);
                let mut worker = Worker::new(number, paths, &networks, &results, random).calm();
                let is_over = &is_over;
                scope.spawn(move || {
                    while !is_over.load(Ordering::Relaxed) {
                        worker.step();
                    }
                    worker.finish();
                });
            }
            thread::sleep(self.time);
            is_over.store(true, Ordering::Relaxed);
        });
        total.time += start.elapsed();
        total.calls += results.sum(" of a plugin");
        total.failures.extend(results.failures());
        if is_ours {
            results.assert_explained();
            state::assert_back(&before, &host);
        }
    }
}

/// Returns networks of plugins and keys that upstream has had since v1.1.1.
fn networks(host: &Host, bin: &Path) -> Vec<Network> {
    host.ip_batch(&[
        "link add m0 up type veth peer name m1",
        "link set m1 up",
        "addr add 10.83.0.1/16 dev m1",
    ]);
    let ipam = |number: u8| {
        let subnet = format!("10.{number}.0.0/16");
        json!({"type": "host-local", "ranges": [[{"subnet": subnet, "rangeStart": format!("10.{number}.0.10")}]]})
    };
    let bridge = |number: u8| json!({"type": "bridge", "bridge": format!("lb{number}"), "isGateway": true, "ipam": ipam(number)});
    let port = json!({
        "type": "portmap", "backend": "iptables", "capabilities": {"portMappings": true},
        "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}
    });
    let firewall = json!({"type": "firewall", "backend": "iptables"});
    let chains = vec![
        ("plain", 80, vec![bridge(80)]),
        ("node", 81, vec![bridge(81), port, firewall]),
        ("ptp", 82, vec![json!({"type": "ptp", "ipam": ipam(82)})]),
        (
            "mac",
            83,
            vec![json!({"type": "macvlan", "master": "m0", "ipam": ipam(83)})],
        ),
    ];
    let network = |(name, number, plugins)| {
        let mut network = Network::new(name, number, plugins);
        network.chain.bin = bin.into();
        network.chain.version = "1.0.0";
        network
    };
    chains.into_iter().map(network).collect()
}

fn report(rows: &[(usize, Total, Total)]) -> String {
    let mut text = HEADING.to_owned();
    for (workers, ours, peers) in rows {
        let (rate, peer) = (ours.rate(), peers.rate());
        let _ = writeln!(
            text,
            "| {workers} | {rate:.0} | {peer:.0} | {:.1} | {} | {} |",
            rate / peer,
            ours.failures.len(),
            peers.failures.len()
        );
    }
    let rates: Vec<f64> = rows.iter().map(|(_, ours, _)| ours.rate()).collect();
    let falls = rates.windows(2).any(|two| two[1] < two[0] * (1.0 - NOISE));
    let verdict = match (falls, rates.first() < rates.last()) {
        (true, _) => "falls with more workers",
        (false, true) => "rises with workers",
        (false, false) => "does not change with workers",
    };
    let list: Vec<String> = rates.iter().map(|rate| format!("{rate:.0}")).collect();
    let list = list.join(", ");
    let _ = write!(text, "\nThe rate of ours {verdict}: {list} calls/s.");
    text
}
