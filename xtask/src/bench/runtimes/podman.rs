//! The section `podman run`: `podman run --rm` with two published ports, beside the same without a network.
//!
//! Podman's CNI backend uses our plugins and the peer's in turns, each with a network of its own as `podman network
//! create` writes it, and netavark, Podman's own backend, if it is there.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use testkit::Podman;
use testkit::runtime::{IMAGE, use_plugins};

use super::{ANSWERS, NONE, Operation, read_list, report, sides, wait_for_kernel, with_nftables};
use crate::bench::report::Report;
use crate::bench::{Section, Setup};
use crate::{machine, project};

pub(in crate::bench) const SECTION: Section = Section {
    name: "podman run",
    needs: &[machine::PODMAN, machine::CRUN, machine::BUSYBOX],
    measure,
};

/// Rounds of a full and of a quick run.
const ROUNDS: (usize, usize) = (25, 3);

/// How long Podman's processes may outlive `podman run`.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who makes the network of a container.
struct Maker {
    side: &'static str,
    /// The network.
    network: String,
    /// The directory of its plugins. None has netavark.
    plugins: Option<std::path::PathBuf>,
    /// A file with Podman's settings, unless they are the usual ones.
    settings: Option<String>,
}

fn measure(setup: &Setup<'_>) -> Result<Report> {
    let rounds = setup.rounds(ROUNDS);
    let podman = Podman::ready();
    use_plugins(&podman.host, &project::bin());
    let makers = makers(&podman, setup)?;
    let mut operation = Operation::new("podman run, two ports");
    // The first round creates bridges and chains.
    for round in 0..=rounds {
        let ms = run(&podman, NONE, None)?;
        if round > 0 {
            operation.put(NONE, ms);
        }
        for maker in &makers {
            if let Some(plugins) = &maker.plugins {
                use_plugins(&podman.host, plugins);
            }
            let ms = run(&podman, &maker.network, maker.settings.as_deref())
                .with_context(|| maker.side)?;
            if round > 0 {
                operation.put(maker.side, ms);
            }
        }
    }
    let notes = format!(
        "Medians of {rounds} rounds of `podman run --rm` (4.3) with a program that ends at once."
    );
    Ok(report(SECTION.name, notes, &[operation]))
}

/// Creates the networks.
fn makers(podman: &Podman, setup: &Setup<'_>) -> Result<Vec<Maker>> {
    let mut makers = Vec::new();
    let cni = sides(setup, &podman.host)?.into_iter();
    let nftables = ("ours, nftables", project::bin());
    for (number, (side, dir)) in (1..).zip(cni.chain([nftables])) {
        let network = format!("net{number}");
        let subnet = format!("10.{}.0.0/24", 70 + number);
        podman.run(&[
            "network",
            "create",
            "--disable-dns",
            "--subnet",
            &subnet,
            &network,
        ]);
        if side == "ours, nftables" {
            let file = podman.path(&format!("net.d/{network}.conflist"));
            let list = with_nftables(&read_list(&file)?);
            fs::write(&file, list.to_string()).with_context(|| file.display().to_string())?;
        }
        makers.push(Maker {
            side,
            network,
            plugins: Some(dir),
            settings: None,
        });
    }
    if let Some(dir) = setup.rival {
        makers.push(netavark(podman, dir)?);
    }
    makers.sort_by_key(|maker| maker.side == ANSWERS);
    Ok(makers)
}

/// A network of netavark, whose binary is in `dir`.
fn netavark(podman: &Podman, dir: &Path) -> Result<Maker> {
    let networks = podman.path("netavark.d");
    fs::create_dir_all(&networks).context("a directory")?;
    let usual = fs::read_to_string(podman.path("containers.conf")).context("Podman's settings")?;
    let engine = format!("[engine]\nhelper_binaries_dir = [\"{}\"]\n", dir.display());
    let settings = usual
        .replace("[engine]\n", &engine)
        .replace(
            "network_backend = \"cni\"",
            "network_backend = \"netavark\"",
        )
        .replace(
            &podman.path("net.d").display().to_string(),
            &networks.display().to_string(),
        );
    let settings = podman.host.write("netavark.conf", settings);
    let create = [
        "network",
        "create",
        "--disable-dns",
        "--subnet",
        "10.79.0.0/24",
        "rival",
    ];
    let created = podman.call(&create).env("CONTAINERS_CONF", &settings).run();
    if !created.is_ok() {
        bail!("{}", created.report());
    }
    Ok(Maker {
        side: "netavark",
        network: "rival".into(),
        plugins: None,
        settings: Some(settings.display().to_string()),
    })
}

/// Runs a container, and waits until nothing of it is left. Returns the milliseconds of `podman run`.
fn run(podman: &Podman, network: &str, settings: Option<&str>) -> Result<f64> {
    let mut arguments = vec!["run", "--rm", "--network", network];
    if network != NONE {
        arguments.extend(["--publish", "8001:80", "--publish", "8002:81"]);
    }
    arguments.extend([IMAGE, "/bin/busybox", "true"]);
    let mut call = podman.call(&arguments);
    if let Some(settings) = settings {
        call = call.env("CONTAINERS_CONF", settings);
    }
    let run = call.run();
    if !run.is_ok() {
        bail!("{}", run.report());
    }
    let end = Instant::now() + PATIENCE;
    while is_running()? {
        if Instant::now() > end {
            bail!("Podman is still busy after {PATIENCE:?}");
        }
        thread::sleep(Duration::from_millis(5));
    }
    wait_for_kernel(&podman.host)?;
    Ok(run.elapsed.as_secs_f64() * 1000.0)
}

/// Whether this host still has a process of Podman: the monitor of a container cleans up on its own.
fn is_running() -> Result<bool> {
    let ours = fs::read_link("/proc/thread-self/ns/net").context("this network namespace")?;
    let processes = fs::read_dir("/proc").context("/proc")?.flatten();
    let is_podman = |process: &fs::DirEntry| {
        let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        matches!(name.trim(), "podman" | "conmon")
            && fs::read_link(process.path().join("ns/net")).is_ok_and(|net| net == ours)
    };
    Ok(processes.into_iter().any(|process| is_podman(&process)))
}
