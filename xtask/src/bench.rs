//! `cargo xtask bench`: every plugin and verb, beside a peer's in the same run, and the floor under both.
//!
//! Everything runs in a private host; per case each side has a container, a bridge and a data directory of its
//! own. Calls are interleaved (ours, peer, floor, ours, …), so that whatever else the machine does falls on all
//! alike, and medians are taken. Cases that this kernel is not good enough for run on another.

mod cases;
mod elsewhere;
mod measure;
mod run;
mod scale;
mod shaping;
mod table;
mod targets;

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::apt::{self, Need};
use crate::build::{self, Binary, Recipe};
use crate::host::private_host;
use crate::options::Options;
use crate::{Outcome, project};
use run::{Figures, Tools};
use shaping::Flow;

const STRACE: Need = Need {
    what: "strace",
    package: "strace",
    why: "counts the processes that a plugin executes",
};
const PEER: Need = Need {
    what: "/usr/lib/cni/bridge",
    package: "containernetworking-plugins",
    why: "the peer to compare with",
};

/// Rounds of a thorough and of a quick run.
const ROUNDS: (usize, usize) = (100, 15);

pub(crate) fn run(arguments: &[String]) -> Outcome {
    let mut options = Options::new(arguments);
    let peer = options.value("--peer")?.map(PathBuf::from);
    let file = options.value("--json")?;
    let quick = options.flag("--quick");
    let skip_build = options.flag("--no-build");
    let inside = options.value(elsewhere::INSIDE)?;
    let wanted = options.positional()?;
    let rounds = if quick { ROUNDS.1 } else { ROUNDS.0 };

    let mut needs = vec![apt::IPROUTE2, apt::IPTABLES, apt::NFTABLES, STRACE];
    if let Some(dir) = &peer
        && dir.join("bridge") == Path::new(PEER.what)
    {
        needs.push(PEER);
    }
    apt::provide(&needs)?;
    if let Some(dir) = peer.as_ref().filter(|dir| !dir.is_dir()) {
        return Err(format!("--peer {}: no such directory", dir.display()));
    }
    let binaries = if skip_build {
        build::built()?
    } else {
        build::build(None)?
    };
    let tools = match &inside {
        Some(dir) => elsewhere::tools(dir),
        None => tools()?,
    };

    let cases: Vec<cases::Case> = cases::all()
        .into_iter()
        .filter(|c| {
            wanted.is_empty()
                || wanted.iter().any(|w| match &inside {
                    // From the one outside, which knows the names.
                    Some(_) => c.name == w.as_str(),
                    None => c.name.contains(w.as_str()),
                })
        })
        .collect();
    let shapes = wanted.is_empty() || wanted.iter().any(|w| shaping::NAME.contains(w.as_str()));
    let scales = wanted.is_empty() || wanted.iter().any(|w| scale::NAME.contains(w.as_str()));
    if cases.is_empty() && !shapes && !scales {
        return Err(format!("no case is called {}", wanted.join(" or ")));
    }
    let host = private_host()?;
    let mut figures = Vec::new();
    let (here, there): (Vec<&cases::Case>, Vec<_>) = cases
        .iter()
        .partition(|case| inside.is_some() || elsewhere::is_here(case));
    for case in here {
        eprintln!("measuring {} ({rounds} rounds)", case.name);
        figures.extend(run::case(&host, case, peer.as_deref(), &tools, rounds)?);
    }
    if inside.is_some() {
        elsewhere::print(&figures);
        return Ok(());
    }
    if !there.is_empty() {
        let dir = tools.floor.parent().unwrap_or(Path::new("/"));
        figures.extend(elsewhere::run(&there, peer.as_deref(), dir, quick)?);
    }
    let empty = run::empty(&tools, rounds)?;
    drop(host);
    let flows = match shapes {
        true => {
            eprintln!("measuring {}", shaping::NAME);
            shaping::measure(&project::bin(), peer.as_deref(), quick)?
        }
        false => Vec::new(),
    };
    let scaled = match scales {
        true => scale::measure(peer.as_deref(), &tools, quick)?,
        false => Vec::new(),
    };
    println!("{}", machine());
    report(
        &Measured {
            figures,
            flows,
            scaled,
            empty,
        },
        &binaries,
        peer.as_deref(),
        file.as_deref(),
    )
}

/// All that a run has measured.
struct Measured {
    figures: Vec<Figures>,
    flows: Vec<Flow>,
    scaled: Vec<scale::Row>,
    /// The time of an empty process, in milliseconds.
    empty: f64,
}

/// What the figures were taken on, for whoever reads the table later.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown processor", |model| {
        model.trim_start_matches([' ', '\t', ':'])
    });
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let load: f64 = read("/proc/loadavg")
        .split(' ')
        .next()
        .and_then(|load| load.parse().ok())
        .unwrap_or(0.0);
    let mut text = format!(
        "\n{model}, {processors} processors, Linux {}, load {load:.1}",
        read("/proc/sys/kernel/osrelease").trim()
    );
    // The measurement itself is a load of one.
    if load > 1.5 {
        text += "\nThe machine is busy with other things: what is over the floor here is mostly waiting.";
    }
    text
}

/// Builds what measures, in the same way as the plugins are built.
fn tools() -> Outcome<Tools> {
    let recipe = Recipe::choose(None)?;
    let arguments = [
        "--package",
        "xtask",
        "--features",
        "floor",
        "--bin",
        "floor",
        "--bin",
        "empty",
    ];
    let dir = recipe.cargo_build(arguments, &project::version())?;
    Ok(Tools {
        floor: dir.join("floor"),
        empty: dir.join("empty"),
    })
}

fn report(
    measured: &Measured,
    binaries: &[Binary],
    peer: Option<&Path>,
    file: Option<&str>,
) -> Outcome {
    let Measured {
        figures,
        flows,
        scaled,
        empty,
    } = measured;
    println!("\n{}", table::figures(figures));
    println!(
        "An empty static process takes {empty:.2} ms from start to exit. The floor is as many of these as we"
    );
    println!(
        "run processes, plus the same kernel operations issued bare by one process. Times are medians in ms;"
    );
    println!("memory is the largest resident set of any process of the call.");
    if figures.iter().any(|row| row.elsewhere) {
        println!(
            "(UML): in User Mode Linux, since the machine's kernel lacks these links; read the ratios."
        );
    }
    println!();
    if !flows.is_empty() {
        println!("{}", shaping::shown(flows));
    }
    if !scaled.is_empty() {
        println!("{}", scale::shown(scaled));
    }
    println!("{}", table::sizes(binaries, peer));
    let mut targets = targets::judge(figures, binaries);
    targets.extend(shaping::judge(flows));
    targets.extend(scale::judge(scaled));
    println!("{}", table::targets(&targets));
    if let Some(file) = file {
        let json = json!({
            "version": project::version(),
            "machine": machine().trim(),
            "empty_process_ms": empty,
            "figures": figures.iter().map(Figures::to_json).collect::<Vec<_>>(),
            "scale": scaled.iter().map(scale::Row::to_json).collect::<Vec<_>>(),
            "flows": flows.iter().map(Flow::to_json).collect::<Vec<_>>(),
            "binaries": binaries.iter().map(|b| json!({"name": b.name, "bytes": b.size})).collect::<Vec<_>>(),
            "targets": targets.iter().map(targets::Target::to_json).collect::<Vec<_>>(),
        });
        std::fs::write(file, format!("{json:#}\n")).map_err(|err| format!("{file}: {err}"))?;
        println!("the same in {file}");
    }
    Ok(())
}
