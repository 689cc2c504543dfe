//! `cargo xtask bench`: every plugin and verb, compared with a peer and with the bare kernel operations (the floor).
//!
//! Everything runs in a private host. In each case every side has a container, a bridge and a data directory of its
//! own. Calls are interleaved (ours, peer, floor, ours, …), so that other load slows all sides alike, and medians are
//! taken. Cases whose kernel features this kernel lacks run in User Mode Linux.
//!
//! The [cases] make up one section per group; each other section is a module with a constant in [`SECTIONS`].

mod ablations;
mod all_in_one;
mod cases;
mod chart;
mod crowds;
mod dhcp;
mod environment;
mod figures;
mod library;
pub(crate) mod limits;
mod measure;
mod report;
mod reuse;
mod rival;
mod run;
mod runtimes;
mod scale;
mod shaping;
mod side;
mod sizes;
mod start_up;
mod table;
mod targets;
mod uml;

use std::path::{Path, PathBuf, absolute};

use anyhow::{Result, bail};
use lexopt::Arg;

use crate::build::{self, Binary, Platform, Recipe};
use crate::machine::{self, Need, private_host};
use crate::{project, text};
use cases::{CASES, Case};
use figures::Figures;
use report::{Report, Results};
use run::{Contender, Tools};
pub(crate) use table::table;

const STRACE: Need = Need {
    what: "strace",
    package: "strace",
    why: "counts the system calls and programs of a plugin",
};
/// Debian's binaries of the reference plugins.
pub(crate) const PEER: Need = Need {
    what: "/usr/lib/cni/bridge",
    package: "containernetworking-plugins",
    why: "the peer to compare with",
};

/// Debian's binary of netavark.
const NETAVARK: Need = Need {
    what: "/usr/lib/podman/netavark",
    package: "netavark",
    why: "Podman's own networks to compare with",
};

/// Rounds of a full and of a quick run.
const ROUNDS: (usize, usize) = (100, 15);

/// The sections besides the cases.
const SECTIONS: &[Section] = &[
    start_up::SECTION,
    reuse::SECTION,
    shaping::SECTION,
    scale::filters::SECTION,
    scale::host::SECTION,
    crowds::SECTION,
    runtimes::podman::SECTION,
    runtimes::containerd::SECTION,
    rival::SECTION,
    dhcp::SECTION,
    all_in_one::SECTION,
    library::SECTION,
    ablations::SECTION,
    sizes::SECTION,
];

/// A part of the benchmark with a table of its own.
struct Section {
    /// The name on the command line, in the results, and in the markers of a page.
    name: &'static str,
    /// The programs that it requires besides those of all measurements.
    needs: &'static [Need],
    measure: fn(&Setup<'_>) -> Result<Report>,
}

/// What a section needs to measure.
struct Setup<'a> {
    /// The directory of the peer's plugins.
    peer: Option<&'a Path>,
    /// The directory of another build of our plugins.
    before: Option<&'a Path>,
    /// The directory of netavark.
    rival: Option<&'a Path>,
    tools: &'a Tools,
    binaries: &'a [Binary],
    quick: bool,
}

impl<'a> Setup<'a> {
    /// Chooses from the numbers for a full and for a quick run.
    fn rounds(&self, (full, quick): (usize, usize)) -> usize {
        if self.quick { quick } else { full }
    }

    /// Our plugins and, if there is one, the peer's: the name of the side and its directory.
    fn sides(&self) -> Vec<(&'static str, PathBuf)> {
        let peer = self.peer.map(|dir| ("peer", dir.to_path_buf()));
        [("ours", project::bin())].into_iter().chain(peer).collect()
    }

    /// The sides of the cases; those after ours may lack some plugins.
    fn contenders(&self) -> Vec<Contender> {
        let before = self.before.map(|dir| ("before", dir.to_path_buf()));
        let sides = self.sides().into_iter().chain(before);
        sides
            .map(|(tag, dir)| Contender {
                tag,
                dir,
                env: None,
            })
            .collect()
    }
}

/// The command line.
#[derive(Default)]
struct Options {
    peer: Option<PathBuf>,
    before: Option<PathBuf>,
    rival: Option<PathBuf>,
    json: Option<PathBuf>,
    /// Results of an earlier run, shown instead of measuring.
    from: Option<PathBuf>,
    /// A page whose tables are replaced.
    into: Option<PathBuf>,
    /// An SVG file to write.
    chart: Option<PathBuf>,
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
                Arg::Long("rival") => options.rival = Some(parser.value()?.into()),
                Arg::Long("before") => options.before = Some(parser.value()?.into()),
                // Absolute: a private host that has ended leaves the program in the root directory.
                Arg::Long("json") => options.json = Some(absolute(parser.value()?)?),
                Arg::Long("from") => options.from = Some(parser.value()?.into()),
                Arg::Long("into") => options.into = Some(absolute(parser.value()?)?),
                Arg::Long("chart") => options.chart = Some(absolute(parser.value()?)?),
                Arg::Long("quick") => options.quick = true,
                Arg::Long("no-build") => options.no_build = true,
                Arg::Long(uml::INSIDE) => options.inside = Some(parser.value()?.into()),
                Arg::Value(case) => options.wanted.push(text(case)?),
                other => return Err(other.unexpected().into()),
            }
        }
        // The packages with the default ones may still have to be installed.
        let defaults = ["/usr/lib/cni", "/usr/lib/podman"].map(Path::new);
        let dirs = [
            ("--peer", &options.peer),
            ("--before", &options.before),
            ("--rival", &options.rival),
        ];
        for (option, dir) in dirs {
            let dir = dir.as_deref().filter(|dir| !defaults.contains(dir));
            if let Some(dir) = dir.filter(|dir| !dir.is_dir()) {
                bail!("{option} {}: no such directory", dir.display());
            }
        }
        Ok(options)
    }

    /// Whether a case or section is selected: all are, unless the arguments name some by a part of their names.
    fn wants(&self, name: &str) -> bool {
        let matches = |wanted: &String| match self.inside {
            // The program outside of User Mode Linux passes whole names.
            Some(_) => wanted == name,
            None => name.contains(wanted.as_str()),
        };
        self.wanted.is_empty() || self.wanted.iter().any(matches)
    }

    fn wants_case(&self, case: &Case) -> bool {
        self.wants(case.name) || (self.inside.is_none() && self.wants(case.group))
    }
}

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let options = Options::parse(arguments)?;
    let mut faults = Vec::new();
    let results = match &options.from {
        Some(file) => Results::read(file)?,
        None => match measure_wanted(&options, &mut faults)? {
            Some(results) => results,
            None => return Ok(()),
        },
    };
    results.print();
    if let Some(file) = &options.json {
        results.write(file)?;
        println!("results as JSON: {}", file.display());
    }
    if let Some(page) = &options.into {
        results.insert_into(page)?;
    }
    if let Some(file) = &options.chart {
        chart::write(&results, file)?;
    }
    if !faults.is_empty() {
        bail!("not measured:\n{}", faults.join("\n"));
    }
    Ok(())
}

/// Measures what the options select. `None` inside of User Mode Linux, where the figures are printed for the program
/// outside. The sections that could not be measured are described in `faults`, so that the others are not lost.
fn measure_wanted(options: &Options, faults: &mut Vec<String>) -> Result<Option<Results>> {
    let environment = environment::describe();
    install_needs(options)?;
    let cases = CASES.iter().filter(|case| options.wants_case(case));
    let cases: Vec<&Case> = cases.collect();
    let sections = SECTIONS
        .iter()
        .filter(|section| options.wants(section.name));
    let sections: Vec<&Section> = sections.collect();
    if cases.is_empty() && sections.is_empty() {
        bail!("no case is called {}", options.wanted.join(" or "));
    }
    let (binaries, tools) = match &options.inside {
        Some(dir) => (Vec::new(), Tools::in_dir(dir)),
        None => (build::provide(options.no_build)?, build_tools()?),
    };
    let setup = Setup {
        peer: options.peer.as_deref(),
        before: options.before.as_deref(),
        rival: options.rival.as_deref(),
        tools: &tools,
        binaries: &binaries,
        quick: options.quick,
    };
    if options.inside.is_some() {
        uml::print(measure_cases(&cases, &setup)?.iter().map(Figures::to_json));
        return Ok(None);
    }
    let is_here = |case: &&&Case| case.needs.iter().all(|feature| testkit::has(feature));
    let (here, there): (Vec<&Case>, Vec<&Case>) = cases.iter().partition(is_here);
    let mut figures = measure_cases(&here, &setup)?;
    if !there.is_empty() {
        match uml::run(&there, &setup) {
            Ok(more) => figures.extend(more),
            // Its kernel does not boot on every processor.
            Err(error) => faults.push(format!("{}: {error:#}", cases::UML)),
        }
    }
    let mut reports = figures::reports(&figures, &setup)?;
    for section in sections {
        eprintln!("measuring {}", section.name);
        match (section.measure)(&setup) {
            Ok(report) => reports.push(report),
            Err(error) => faults.push(format!("{}: {error:#}", section.name)),
        }
    }
    Ok(Some(Results {
        version: project::version(),
        environment,
        reports,
    }))
}

/// Installs the programs that the selected measurements require.
fn install_needs(options: &Options) -> Result<()> {
    let of_debian = [
        (&options.peer, "bridge", PEER),
        (&options.rival, "netavark", NETAVARK),
    ];
    let of_debian = of_debian.into_iter().filter(|(dir, program, need)| {
        let path = dir.as_ref().map(|dir| dir.join(program));
        path.is_some_and(|path| path == Path::new(need.what))
    });
    let wanted = SECTIONS
        .iter()
        .filter(|section| options.wants(section.name));
    let mut needs = vec![
        machine::IPROUTE2,
        machine::IPTABLES,
        machine::NFTABLES,
        STRACE,
    ];
    needs.extend(of_debian.map(|(.., need)| need));
    needs.extend(wanted.flat_map(|section| section.needs).copied());
    machine::provide(&needs)
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
        "--bin",
        "chain",
        "--bin",
        "sandbox",
    ];
    let dir = Recipe::choose(Platform::host()?, None)?.cargo_build(arguments)?;
    Ok(Tools::in_dir(&dir))
}

/// Measures cases on this kernel.
fn measure_cases(cases: &[&Case], setup: &Setup<'_>) -> Result<Vec<Figures>> {
    let rounds = setup.rounds(ROUNDS);
    if cases.is_empty() {
        return Ok(Vec::new());
    }
    let host = private_host()?;
    let mut figures = Vec::new();
    for case in cases {
        eprintln!("measuring {} ({rounds} rounds)", case.name);
        figures.extend(run::case(
            &host,
            case,
            setup.contenders(),
            setup.tools,
            rounds,
        )?);
    }
    Ok(figures)
}
