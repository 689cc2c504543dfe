//! Chains with a link that is missing, killed, or out of space, each followed by the next ADD or by GC, after which no
//! address, rule or link may be left.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use blackbox::chain::Chain;
use blackbox::state;
use serde_json::Value;
use testkit::{Container, Host, Node, Snapshot};

use crate::fault::{self, Fault};
use crate::network::{self, Network};
use crate::random::Random;
use crate::results::Results;
use crate::{SEED, WORKERS, setting};

/// The number of chains.
const CHAINS: &str = "CNI_LOAD_CHAINS";

/// Directories with files that plugins write, each on a file system of its own.
const RECORDS: &str = "/run/cni";
const RESERVATIONS: &str = "/var/lib/cni";

/// Files that these file systems can contain.
const FILES: &str = "nr_inodes=200,mode=0700";

/// Less than so many files can still be created when a chain runs out of space.
const ROOM: usize = 3;

/// Time in which the kernel deletes links on a busy machine.
const GONE_WITHIN: Duration = Duration::from_secs(20);

#[test]
fn nothing_is_left_of_broken_chains() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let (chains, seed) = (setting(CHAINS, 60), setting(SEED, now.as_secs()));
    let workers = setting(WORKERS, 2);
    let results = Results::default();
    thread::scope(|scope| {
        for worker in 0..workers {
            let chains = chains.div_ceil(workers);
            let (random, results) = (Random::new(seed + worker), &results);
            scope.spawn(move || break_chains(chains, random, results));
        }
    });
    println!("{chains} broken chains, {workers} hosts, seed {seed}\n{results}");
    results.assert_explained();
}

/// Breaks so many chains on a host of its own, until something is left.
fn break_chains(chains: u64, mut random: Random, results: &Results) {
    let host = Host::new();
    for directory in [RECORDS, RESERVATIONS] {
        host.mount_tmpfs(directory, FILES);
    }
    let mut networks = network::all(&host);
    networks.retain(|network| ["nft", "ipt", "ptp", "mac"].contains(&&*network.chain.network));
    // Attachments that live on, and keep what is shared.
    let _living: Vec<Container> = networks.iter().map(|one| attach(&host, one)).collect();
    let before = state::of(&host);
    for number in 0..chains {
        let network = &networks[random.below(networks.len())];
        let container = host.container(&format!("b{number}"));
        break_chain(network, &container, &mut random, results);
        results.count("broken chain");
        if let Some(difference) = difference(&before, &host, container.name()) {
            let network = &network.chain.network;
            results.unexplained(format!("chain {number} of {network} left\n{difference}"));
            return;
        }
    }
}

/// Attaches a new container to a network.
fn attach(host: &Host, network: &Network) -> Container {
    let mut chain = network.chain.clone();
    chain.container_id = format!("living-{}", chain.network);
    let container = host.container(&chain.container_id);
    network.register(&chain.container_id);
    let added = fault::add(&chain, container.netns(), &Fault::None, &Results::default());
    assert!(added.is_ok(), "{added:?}");
    container
}

/// Breaks a chain. Then GC runs as if the runtime had forgotten the attachment, while the container still exists; or DEL, as the
/// specification demands of a runtime, and ADD and DEL of another attachment of the container.
fn break_chain(network: &Network, container: &Container, random: &mut Random, results: &Results) {
    let chain = chain(network, container.id());
    let plugins = chain.plugins.len();
    let mut full = None;
    let fault = match random.below(6) {
        0 | 1 => Fault::Missing(random.below(plugins)),
        2 | 3 => Fault::kill(plugins, random),
        4 => fill(RECORDS, random, &mut full),
        _ => fill(RESERVATIONS, random, &mut full),
    };
    let outcome = fault::add(&chain, container.netns(), &fault, results);
    match &outcome {
        Err(Some(run)) if full.is_some() && run.stdout_text().contains("no space left") => {
            results.count("chain out of space");
        }
        Err(Some(run)) => results.unexplained(format!("ADD\n{}", run.report())),
        Err(None) => {}
        Ok(_) => results.count("chain that was complete nevertheless"),
    }
    if is_collectable(network, full.as_deref()) && random.per_cent(50) {
        drop_files(full);
        network.collect(results);
        return;
    }
    del(
        network,
        &chain,
        container,
        &outcome.unwrap_or_default(),
        results,
    );
    drop_files(full);
    let next = self::chain(network, &format!("{}-next", container.id()));
    match fault::add(&next, container.netns(), &Fault::None, results) {
        Ok(result) => {
            for gateway in &network.gateways {
                if !container.can_reach(*gateway, GONE_WITHIN) {
                    results.unexplained(format!("{gateway} does not answer"));
                }
            }
            del(network, &next, container, &result, results);
            results.count("next ADD");
        }
        Err(run) => results.unexplained(format!("next ADD\n{}", run.unwrap().report())),
    }
}

fn chain(network: &Network, id: &str) -> Chain {
    let mut chain = network.chain.clone();
    id.clone_into(&mut chain.container_id);
    for plugin in &mut chain.plugins {
        if plugin["type"] == "portmap" {
            plugin["runtimeConfig"]["portMappings"][0]["hostPort"] = 20_000.into();
        }
    }
    chain
}

/// Whether GC finds everything. It finds the rules of firewall with iptables by the record only.
fn is_collectable(network: &Network, full: Option<&Path>) -> bool {
    let has_record = full.is_none_or(|full| !full.starts_with(RECORDS));
    network.is_collectable && (has_record || network.chain.network != "ipt")
}

fn del(network: &Network, chain: &Chain, container: &Container, result: &Value, results: &Results) {
    for call in chain.calls("DEL", container.netns(), result) {
        network.until_done(call, "DEL", results);
    }
}

/// Creates files in a directory of its own until there is room for some more only.
fn fill(directory: &str, random: &mut Random, full: &mut Option<PathBuf>) -> Fault {
    let files = Path::new(directory).join("ballast");
    fs::create_dir(&files).unwrap();
    let created = (0..).take_while(|number| File::create(files.join(number.to_string())).is_ok());
    let created = created.count();
    for number in 0..random.below(ROOM).min(created) {
        fs::remove_file(files.join(number.to_string())).unwrap();
    }
    *full = Some(files);
    Fault::None
}

fn drop_files(full: Option<PathBuf>) {
    if let Some(files) = full {
        fs::remove_dir_all(files).unwrap();
    }
}

/// Returns the difference between the host and its earlier state, without this container; `None` if there is none.
fn difference(before: &Snapshot, host: &Host, container: &str) -> Option<String> {
    let end = Instant::now() + GONE_WITHIN;
    loop {
        let now = state::of(host).without_node(container);
        if now == *before {
            return None;
        }
        if Instant::now() >= end {
            return Some(before.diff(&now));
        }
        thread::sleep(Duration::from_millis(50));
    }
}
