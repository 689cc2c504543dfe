//! `cargo xtask load`: the load tests for as long and with as many workers as wanted, with release binaries.
//!
//! The tests themselves are `tests/tests/churn`; the suite runs a short form of each.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use lexopt::{Arg, ValueExt};

use crate::{bench, build, commands, machine, page, project};

/// Default duration.
const MINUTES: u64 = 10;

/// Default number of workers.
const WORKERS: u64 = 32;

/// The page with the table of the comparison.
const PAGE: &str = "Documentation/reliability.md";

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (mut minutes, mut no_build) = (MINUTES, false);
    let (mut workers, mut seed, mut peer, mut chains) = (None, None, None, None);
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("minutes") => minutes = parser.value()?.parse()?,
            Arg::Long("workers") => workers = Some(parser.value()?.parse::<u64>()?),
            Arg::Long("seed") => seed = Some(parser.value()?.parse::<u64>()?),
            Arg::Long("peer") => peer = Some(PathBuf::from(parser.value()?)),
            Arg::Long("broken-chains") => chains = Some(parser.value()?.parse::<u64>()?),
            Arg::Long("no-build") => no_build = true,
            other => return Err(other.unexpected().into()),
        }
    }
    if minutes == 0 || workers == Some(0) {
        bail!("--minutes and --workers must be at least 1");
    }
    if peer.is_some() && (chains.is_some() || workers.is_some()) {
        bail!(
            "--peer has numbers of workers of its own and cannot be combined with --workers and --broken-chains"
        );
    }
    let mut needs = vec![
        machine::IPROUTE2,
        machine::NFTABLES,
        machine::IPTABLES,
        machine::DNSMASQ,
    ];
    let is_debian = |dir: &PathBuf| dir.join("bridge") == Path::new(bench::PEER.what);
    needs.extend(peer.iter().any(is_debian).then_some(bench::PEER));
    machine::provide(&needs)?;
    if !testkit::is_root() {
        bail!("the load test makes network namespaces: run as root, sudo cargo xtask load");
    }
    build::provide(no_build)?;
    let table = project::target().join("load.md");
    let mut settings = vec![("CNI_LOAD_SECONDS", (minutes * 60).to_string())];
    let test = if let Some(peer) = &peer {
        settings.push(("CNI_TEST_PEER_DIR", peer.display().to_string()));
        settings.push(("CNI_LOAD_TABLE", table.display().to_string()));
        "throughput::the_same_load_with_the_peers_plugins"
    } else if let Some(chains) = chains {
        settings.push(("CNI_LOAD_CHAINS", chains.to_string()));
        "broken::nothing_is_left_of_broken_chains"
    } else {
        workers = workers.or(Some(WORKERS));
        "nothing_is_left_of_attachments_that_come_and_go"
    };
    settings.extend(workers.map(|workers| ("CNI_LOAD_WORKERS", workers.to_string())));
    settings.extend(seed.map(|seed| ("CNI_LOAD_SEED", seed.to_string())));
    run_test(test, settings)?;
    if peer.is_some() {
        let rows = fs::read_to_string(&table).with_context(|| table.display().to_string())?;
        page::replace(PAGE, "load", &rows)?;
    }
    Ok(())
}

fn run_test(name: &str, settings: Vec<(&str, String)>) -> Result<()> {
    let arguments = ["test", "--package", "blackbox", "--test", "churn"];
    let mut test = commands::cargo(&project::root(), arguments);
    test.args(["--", "--nocapture", "--exact", name])
        .env("CNI_TEST_BIN_DIR", project::bin())
        .envs(settings);
    commands::run(&mut test)
}
