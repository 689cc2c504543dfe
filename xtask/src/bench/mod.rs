//! `cargo xtask bench`: every plugin and verb, compared with a peer and with the bare kernel operations (the floor).
//!
//! Everything runs in a private host. In each case every side has a container, a bridge and a data directory of its
//! own. Calls are interleaved (ours, peer, floor, ours, …), so that other load slows all sides alike, and medians are
//! taken. Cases whose kernel features this kernel lacks run in User Mode Linux.

mod cases;
mod measure;
mod reuse;
mod run;
mod scale;
mod shaping;
mod side;
mod table;
mod targets;
mod uml;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use lexopt::Arg;
use serde_json::json;

use crate::build::{self, Binary, Recipe};
use crate::machine::{self, Need, private_host};
use crate::{project, text};
use cases::{CASES, Case};
use run::{Figures, Tools};
pub(crate) use table::table;

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

/// Rounds of a full and of a quick run.
const ROUNDS: (usize, usize) = (100, 15);

/// The command line.
#[derive(Default)]
struct Options {
    peer: Option<PathBuf>,
    json: Option<PathBuf>,
    quick: bool,
    no_build: bool,
    /// The directory of the tools, inside User Mode Linux.
    inside: Option<PathBuf>,
    wanted: Vec<String>,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Options> {
        let mut options = Options::default();
        let mut parser = lexopt::Parser::from_args(arguments);
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Long("peer") => options.peer = Some(parser.value()?.into()),
                Arg::Long("json") => options.json = Some(parser.value()?.into()),
                Arg::Long("quick") => options.quick = true,
                Arg::Long("no-build") => options.no_build = true,
                Arg::Long(uml::INSIDE) => options.inside = Some(parser.value()?.into()),
                Arg::Value(case) => options.wanted.push(text(case)?),
                other => return Err(other.unexpected().into()),
            }
        }
        if let Some(peer) = options
            .peer
            .as_ref()
            .filter(|peer| !peer.is_dir() && *peer != Path::new("/usr/lib/cni"))
        {
            bail!("--peer {}: no such directory", peer.display());
        }
        Ok(options)
    }

    /// Whether a case is selected: all are, unless the arguments name some by a part of their names.
    fn wants(&self, name: &str) -> bool {
        let matches = |wanted: &String| match self.inside {
            // The program outside of User Mode Linux passes whole names.
            Some(_) => wanted == name,
            None => name.contains(wanted.as_str()),
        };
        self.wanted.is_empty() || self.wanted.iter().any(matches)
    }
}

/// The results of a run.
struct Measured {
    figures: Vec<Figures>,
    flows: Vec<shaping::Flow>,
    scaled: Vec<scale::Row>,
    reused: Vec<reuse::Row>,
    /// The time of an empty process, in milliseconds.
    empty: f64,
}

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let options = Options::parse(arguments)?;
    let mut needs = vec![
        machine::IPROUTE2,
        machine::IPTABLES,
        machine::NFTABLES,
        STRACE,
    ];
    needs.extend(
        options
            .peer
            .iter()
            .any(|dir| dir.join("bridge") == Path::new(PEER.what))
            .then_some(PEER),
    );
    machine::provide(&needs)?;
    let cases: Vec<&Case> = CASES
        .iter()
        .filter(|case| options.wants(case.name))
        .collect();
    if let Some(dir) = &options.inside {
        uml::print(&measure_cases(&cases, &options, &Tools::in_dir(dir))?);
        return Ok(());
    }
    if cases.is_empty()
        && ![shaping::NAME, scale::NAME, reuse::NAME]
            .iter()
            .any(|name| options.wants(name))
    {
        bail!("no case is called {}", options.wanted.join(" or "));
    }
    let binaries = build::provide(options.no_build)?;
    let tools = build_tools()?;
    let measured = measure(&cases, &options, &tools)?;
    println!("{}", machine());
    report(&measured, &binaries, &options)
}

/// Builds the programs that measure, in the same way as the plugins.
fn build_tools() -> Result<Tools> {
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
    let dir = Recipe::choose(None)?.cargo_build(arguments, &project::version())?;
    Ok(Tools::in_dir(&dir))
}

fn measure(cases: &[&Case], options: &Options, tools: &Tools) -> Result<Measured> {
    let is_here = |case: &&&Case| case.needs.iter().all(|feature| testkit::has(feature));
    let (here, there): (Vec<&Case>, Vec<&Case>) = cases.iter().partition(is_here);
    let mut figures = measure_cases(&here, options, tools)?;
    let (peer, quick) = (options.peer.as_deref(), options.quick);
    if !there.is_empty() {
        let dir = tools
            .floor
            .parent()
            .context("the tools are in a directory")?;
        figures.extend(uml::run(&there, peer, dir, quick)?);
    }
    let bin = project::bin();
    let sides: Vec<(&'static str, &Path)> = [("ours", Some(bin.as_path())), ("peer", peer)]
        .into_iter()
        .filter_map(|(side, dir)| Some((side, dir?)))
        .collect();
    let mut measured = Measured {
        figures,
        flows: Vec::new(),
        scaled: Vec::new(),
        reused: Vec::new(),
        empty: run::empty(tools, ROUNDS.1)?,
    };
    if options.wants(reuse::NAME) {
        eprintln!("measuring {}", reuse::NAME);
        measured.reused = reuse::measure(&sides, quick)?;
    }
    if options.wants(shaping::NAME) {
        eprintln!("measuring {}", shaping::NAME);
        measured.flows = shaping::measure(&sides, quick)?;
    }
    if options.wants(scale::NAME) {
        measured.scaled = scale::measure(peer, tools, quick)?;
    }
    Ok(measured)
}

fn measure_cases(cases: &[&Case], options: &Options, tools: &Tools) -> Result<Vec<Figures>> {
    let rounds = if options.quick { ROUNDS.1 } else { ROUNDS.0 };
    let host = private_host()?;
    let mut figures = Vec::new();
    for case in cases {
        eprintln!("measuring {} ({rounds} rounds)", case.name);
        figures.extend(run::case(
            &host,
            case,
            options.peer.as_deref(),
            tools,
            rounds,
        )?);
    }
    Ok(figures)
}

/// Describes the machine, for readers of the table.
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
    let release = read("/proc/sys/kernel/osrelease");
    let mut text = format!(
        "\n{model}, {processors} processors, Linux {}, load {load:.1}",
        release.trim()
    );
    // The measurement itself causes a load of one.
    if load > 1.5 {
        text += "\nThe machine is busy with other tasks, so times above the floor are mostly waiting time.";
    }
    text
}

fn report(measured: &Measured, binaries: &[Binary], options: &Options) -> Result<()> {
    let peer = options.peer.as_deref();
    println!("\n{}", table::figures(&measured.figures));
    println!(
        "An empty static process takes {:.2} ms from start to exit. The floor is as many of these as we\n\
         run processes, plus the same kernel operations issued bare by one process. Times are medians in ms;\n\
         memory is the largest resident set of any process of the call.",
        measured.empty
    );
    if measured.figures.iter().any(|row| row.uml) {
        println!(
            "(UML): in User Mode Linux, because the machine's kernel lacks these links; only the ratios are meaningful."
        );
    }
    println!();
    let tables = [
        (measured.reused.is_empty(), reuse::shown(&measured.reused)),
        (measured.flows.is_empty(), shaping::shown(&measured.flows)),
        (measured.scaled.is_empty(), scale::shown(&measured.scaled)),
    ];
    for (_, table) in tables.iter().filter(|(is_empty, _)| !is_empty) {
        println!("{table}\n");
    }
    println!("{}\n", table::sizes(binaries, peer));
    let mut targets = targets::judge(&measured.figures, binaries);
    targets.extend(reuse::judge(&measured.reused));
    targets.extend(shaping::judge(&measured.flows));
    targets.extend(scale::judge(&measured.scaled));
    println!("{}", table::targets(&targets));
    let Some(file) = &options.json else {
        return Ok(());
    };
    let json = json!({
        "version": project::version(),
        "machine": machine().trim(),
        "empty_process_ms": measured.empty,
        "figures": measured.figures.iter().map(Figures::to_json).collect::<Vec<_>>(),
        "scale": measured.scaled.iter().map(scale::Row::to_json).collect::<Vec<_>>(),
        "flows": measured.flows.iter().map(shaping::Flow::to_json).collect::<Vec<_>>(),
        "reused": measured.reused.iter().map(reuse::Row::to_json).collect::<Vec<_>>(),
        "binaries": binaries.iter().map(|b| json!({"name": b.name, "bytes": b.size})).collect::<Vec<_>>(),
        "targets": targets.iter().map(targets::Target::to_json).collect::<Vec<_>>(),
    });
    std::fs::write(file, format!("{json:#}\n")).with_context(|| file.display().to_string())?;
    println!("results as JSON: {}", file.display());
    Ok(())
}
