//! `cargo xtask build`: release binaries of all plugins, for this machine or another platform.

mod compiler;
mod platform;
mod recipe;
mod rustup;
mod selection;
mod zig;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use lexopt::Arg;

use crate::{bench, commands, project, text};
pub(crate) use platform::Platform;
pub(crate) use recipe::{Libc, Recipe};
pub(crate) use selection::Selection;

/// A built plugin binary.
pub(crate) struct Binary {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// Bytes.
    pub(crate) size: u64,
}

/// The binaries for a platform.
pub(crate) struct Build {
    pub(crate) platform: &'static Platform,
    /// The directory that contains them, and nothing else but the directory [`TOOLS`].
    pub(crate) dir: PathBuf,
    /// The plugins.
    pub(crate) binaries: Vec<Binary>,
    /// All plugins in one.
    pub(crate) all_in_one: Binary,
    /// The command line on libcni.
    pub(crate) cnitool: Binary,
    /// The program that checks plugins.
    pub(crate) conformance: Binary,
}

impl Build {
    /// The programs that are not plugins.
    pub(crate) fn tools(&self) -> [&Binary; 2] {
        [&self.cnitool, &self.conformance]
    }
}

/// The package that contains all plugins, and its binary.
pub(crate) const ALL_IN_ONE: &str = "cni-plugins";
/// Its size limit, in bytes.
const ALL_IN_ONE_BUDGET: u64 = 5_000_000;
/// The package and binary of the command line on libcni. It is not a plugin, and not in their directory: Nomad executes
/// every file there.
pub(crate) const CNITOOL: &str = "cnitool";
/// Its size limit, in bytes.
const CNITOOL_BUDGET: u64 = 3_000_000;
/// The package and binary of the program that checks plugins of any origin.
pub(crate) const CONFORMANCE: &str = "cni-conformance";
/// Its size limit, in bytes.
const CONFORMANCE_BUDGET: u64 = 3_000_000;
/// The directory of programs that are not plugins, below that of the plugins.
const TOOLS: &str = "tools";

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let mut libc = None;
    let mut platform = None;
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("libc") => libc = Some(Libc::from_name(&text(parser.value()?)?)?),
            Arg::Long("platform") => {
                platform = Some(Platform::named(&text(parser.value()?)?)?);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let platform = platform.map_or_else(Platform::host, Ok)?;
    build(platform, libc).map(drop)
}

/// Builds all plugins for this machine into `bin/`, or returns those of an earlier build.
pub(crate) fn provide(no_build: bool) -> Result<Vec<Binary>> {
    Ok(for_platform(Platform::host()?, no_build)?.binaries)
}

/// Builds all plugins for a platform, or returns those of an earlier build.
///
/// # Errors
///
/// When a build fails, or a binary is missing, is not static, or is larger than its budget.
pub(crate) fn for_platform(platform: &'static Platform, no_build: bool) -> Result<Build> {
    if no_build {
        built(platform)
    } else {
        build(platform, None)
    }
}

/// Builds all plugins and prints the table of sizes.
fn build(platform: &'static Platform, libc: Option<Libc>) -> Result<Build> {
    let plugins = project::plugins()?;
    let recipe = Recipe::choose(platform, libc)?;
    println!(
        "building {} for {}, {}",
        project::version(),
        platform.name,
        recipe.description()
    );

    let packages = plugins
        .iter()
        .flat_map(|plugin| ["--package", plugin.name.as_str()]);
    let others = [ALL_IN_ONE, CNITOOL, CONFORMANCE];
    let others = others.iter().flat_map(|name| ["--package", *name]);
    let out = recipe.cargo_build(packages.chain(others).chain(["--bins"]))?;

    let dir = directory(platform);
    let tools = dir.join(TOOLS);
    fs::create_dir_all(&tools).with_context(|| tools.display().to_string())?;
    let names = plugins.iter().flat_map(|plugin| &plugin.binaries);
    for name in names.map(String::as_str).chain([ALL_IN_ONE]) {
        replace(&out.join(name), &dir.join(name))?;
    }
    for name in [CNITOOL, CONFORMANCE] {
        replace(&out.join(name), &tools.join(name))?;
    }
    let built = built(platform)?;
    report(&built, &recipe)?;
    Ok(built)
}

/// Builds only the executable with all plugins for a platform, or returns that of an earlier build.
///
/// # Errors
///
/// When the build fails, or it is missing.
pub(crate) fn all_in_one(platform: &'static Platform, no_build: bool) -> Result<PathBuf> {
    let path = directory(platform).join(ALL_IN_ONE);
    if !no_build {
        let recipe = Recipe::choose(platform, None)?;
        let out = recipe.cargo_build(["--package", ALL_IN_ONE, "--bins"])?;
        let dir = directory(platform);
        fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        replace(&out.join(ALL_IN_ONE), &path)?;
    } else if !path.is_file() {
        bail!("{} is missing; leave out --no-build", path.display());
    }
    Ok(path)
}

/// Builds these plugins with a feature that only measurements use. Returns their directory.
///
/// # Errors
///
/// When the build fails.
pub(crate) fn variant(feature: &str, names: &[&str]) -> Result<PathBuf> {
    let plugins = project::plugins()?;
    let is_wanted = |name: &String| names.contains(&name.as_str());
    let packages = plugins
        .iter()
        .filter(|plugin| plugin.binaries.iter().any(is_wanted))
        .flat_map(|plugin| ["--package", plugin.name.as_str()]);
    let arguments = packages.chain(["--bins", "--features", feature]);
    let out = Recipe::choose(Platform::host()?, None)?.cargo_build(arguments)?;
    let dir = project::target().join("variants").join(feature);
    fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    for name in names {
        replace(&out.join(name), &dir.join(name))?;
    }
    Ok(dir)
}

/// Where the binaries for a platform are put: `bin/` for this machine's.
fn directory(platform: &Platform) -> PathBuf {
    if platform.is_host() {
        project::bin()
    } else {
        project::target().join("platforms").join(platform.name)
    }
}

/// The binaries of an earlier build.
fn built(platform: &'static Platform) -> Result<Build> {
    let dir = directory(platform);
    let plugins = project::plugins()?;
    let names = plugins.iter().flat_map(|plugin| &plugin.binaries);
    let binary = |dir: &Path, name: &str| {
        let path = dir.join(name);
        let metadata = fs::metadata(&path).with_context(|| {
            format!(
                "{}; run cargo xtask build --platform {}",
                path.display(),
                platform.name
            )
        })?;
        Ok(Binary {
            name: name.to_owned(),
            path,
            size: metadata.len(),
        })
    };
    Ok(Build {
        platform,
        binaries: names
            .map(|name| binary(&dir, name))
            .collect::<Result<_>>()?,
        all_in_one: binary(&dir, ALL_IN_ONE)?,
        cnitool: binary(&dir.join(TOOLS), CNITOOL)?,
        conformance: binary(&dir.join(TOOLS), CONFORMANCE)?,
        dir,
    })
}

/// Replaces a binary that may be running by a new file with the same name.
fn replace(from: &Path, to: &Path) -> Result<()> {
    let new = to.with_extension("new");
    fs::copy(from, &new)
        .and_then(|_| fs::rename(&new, to))
        .with_context(|| format!("copy {} to {}", from.display(), to.display()))
}

/// Prints the sizes.
///
/// # Errors
///
/// When a binary is not static or larger than its budget.
fn report(build: &Build, recipe: &Recipe) -> Result<()> {
    let budget = recipe.libc().budget();
    let plugins = build.binaries.iter().map(|binary| (binary, budget));
    let all: Vec<(&Binary, u64)> = plugins
        .chain([
            (&build.all_in_one, ALL_IN_ONE_BUDGET),
            (&build.cnitool, CNITOOL_BUDGET),
            (&build.conformance, CONFORMANCE_BUDGET),
        ])
        .collect();
    let row = |(binary, budget): &(&Binary, u64)| {
        let share = format!("{}%", binary.size * 100 / budget);
        vec![binary.name.clone(), binary.size.to_string(), share]
    };
    let mut rows: Vec<Vec<String>> = all.iter().map(row).collect();
    let total: u64 = build.binaries.iter().map(|binary| binary.size).sum();
    let summary = vec!["all plugins".into(), total.to_string(), String::new()];
    rows.insert(build.binaries.len(), summary);
    println!(
        "\n{}\n\n{} static binaries ({}) in {}",
        bench::table(&["binary", "bytes", "of budget"], rows),
        all.len(),
        recipe.libc().name(),
        build.dir.display()
    );
    let mut faults = Vec::new();
    for (binary, budget) in all {
        if !is_static(&binary.path)? {
            faults.push(format!("{} is not static", binary.name));
        }
        if binary.size > budget {
            faults.push(format!(
                "{} has {} bytes, its budget is {budget}",
                binary.name, binary.size
            ));
        }
    }
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    Ok(())
}

/// Whether a binary has no dynamic loader. `readelf` comes with every linker.
fn is_static(path: &Path) -> Result<bool> {
    let headers = commands::read(
        Command::new("readelf")
            .args(["--wide", "--program-headers"])
            .arg(path),
    )?;
    Ok(!headers.contains("INTERP"))
}

/// The commit's date in seconds since 1970, for reproducible archives: `SOURCE_DATE_EPOCH`, else that of git, else 0.
pub(crate) fn source_date() -> String {
    if let Ok(date) = std::env::var("SOURCE_DATE_EPOCH") {
        return date;
    }
    let mut git = Command::new("git");
    git.current_dir(project::root())
        .args(["log", "-1", "--format=%ct"]);
    commands::read(&mut git).unwrap_or_else(|_| "0".into())
}
