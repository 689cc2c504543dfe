//! `cargo xtask build`: release binaries of all plugins.

mod musl;
mod recipe;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use lexopt::Arg;

use crate::{bench, commands, project, text};
pub(crate) use recipe::{Libc, Recipe};

/// A built plugin binary.
pub(crate) struct Binary {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// Bytes.
    pub(crate) size: u64,
}

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let mut libc = None;
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("libc") => libc = Some(Libc::from_name(&text(parser.value()?)?)?),
            other => return Err(other.unexpected().into()),
        }
    }
    build(libc).map(drop)
}

/// Builds all plugins into `bin/`, or returns those of an earlier build.
pub(crate) fn provide(no_build: bool) -> Result<Vec<Binary>> {
    if no_build { built() } else { build(None) }
}

/// Builds all plugins into `bin/` and prints the table of sizes.
///
/// # Errors
///
/// When a build fails, or a binary is not static or larger than its budget.
fn build(libc: Option<Libc>) -> Result<Vec<Binary>> {
    let plugins = project::plugins()?;
    let recipe = Recipe::choose(libc)?;
    let version = project::version();
    println!("building {version}, {}", recipe.description());

    let packages = plugins
        .iter()
        .flat_map(|plugin| ["--package", plugin.name.as_str()]);
    let out = recipe.cargo_build(packages.chain(["--bins"]), &version)?;

    let bin = project::bin();
    fs::create_dir_all(&bin).with_context(|| bin.display().to_string())?;
    for name in plugins.iter().flat_map(|plugin| &plugin.binaries) {
        replace(&out.join(name), &bin.join(name))?;
    }
    let binaries = built()?;
    report(&binaries, &recipe)?;
    Ok(binaries)
}

/// The binaries in `bin/`.
fn built() -> Result<Vec<Binary>> {
    let plugins = project::plugins()?;
    let names = plugins.iter().flat_map(|plugin| &plugin.binaries);
    let binary = |name: &String| {
        let path = project::bin().join(name);
        let metadata = fs::metadata(&path);
        let metadata =
            metadata.with_context(|| format!("{}; run cargo xtask build", path.display()))?;
        Ok(Binary {
            name: name.clone(),
            path,
            size: metadata.len(),
        })
    };
    names.map(binary).collect()
}

/// Replaces a binary that may be running by a new file with the same name.
fn replace(from: &Path, to: &Path) -> Result<()> {
    let new = to.with_extension("new");
    fs::copy(from, &new)
        .and_then(|_| fs::rename(&new, to))
        .with_context(|| format!("copy {} to {}", from.display(), to.display()))
}

fn report(binaries: &[Binary], recipe: &Recipe) -> Result<()> {
    let budget = recipe.libc().budget();
    let total: u64 = binaries.iter().map(|binary| binary.size).sum();
    let row = |binary: &Binary| {
        let share = format!("{}%", binary.size * 100 / budget);
        vec![binary.name.clone(), binary.size.to_string(), share]
    };
    let rows =
        binaries
            .iter()
            .map(row)
            .chain([vec!["total".into(), total.to_string(), String::new()]]);
    println!(
        "\n{}",
        bench::table(&["plugin", "bytes", "of budget"], rows)
    );
    println!(
        "\n{} static binaries ({}) in {}",
        binaries.len(),
        recipe.libc().name(),
        project::bin().display()
    );
    let mut faults = Vec::new();
    for binary in binaries {
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
