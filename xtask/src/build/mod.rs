//! `cargo xtask build`: the shipping form of every plugin.

mod musl;
mod recipe;

use std::fs;
use std::path::{Path, PathBuf};

use crate::options::Options;
use crate::project::{self, Plugin};
use crate::{Outcome, commands, elf};
pub(crate) use recipe::{Libc, Recipe};

/// A built plugin binary.
pub(crate) struct Binary {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// Bytes.
    pub(crate) size: u64,
}

pub(crate) fn run(arguments: &[String]) -> Outcome {
    let mut options = Options::new(arguments);
    let libc = options
        .value("--libc")?
        .map(|name| Libc::from_name(&name))
        .transpose()?;
    options.end()?;
    build(libc).map(drop)
}

/// Builds all plugins into `bin/` and prints the table of sizes.
///
/// # Errors
///
/// When a build fails, and when a result is not static or over its budget.
pub(crate) fn build(libc: Option<Libc>) -> Outcome<Vec<Binary>> {
    // Windows plugins are another platform's.
    let plugins: Vec<Plugin> = project::plugins()?
        .into_iter()
        .filter(|p| p.class != "windows")
        .collect();
    let recipe = Recipe::choose(libc)?;
    let version = project::version();
    println!("building {version}, {}", recipe.description());

    let packages = plugins
        .iter()
        .flat_map(|plugin| ["--package", plugin.package.as_str()]);
    let out = recipe.cargo_build(packages.chain(["--bins"]), &version)?;

    let bin = project::bin();
    fs::create_dir_all(&bin).map_err(|err| format!("{}: {err}", bin.display()))?;
    let mut binaries = Vec::new();
    for name in plugins.iter().flat_map(|plugin| &plugin.binaries) {
        let path = bin.join(name);
        replace(&out.join(name), &path)?;
        let size = fs::metadata(&path)
            .map_err(|err| format!("{}: {err}", path.display()))?
            .len();
        binaries.push(Binary {
            name: name.clone(),
            path,
            size,
        });
    }
    report(&binaries, &recipe)?;
    Ok(binaries)
}

/// The binaries of an earlier build.
///
/// # Errors
///
/// Names what has not been built.
pub(crate) fn built() -> Outcome<Vec<Binary>> {
    let mut binaries = Vec::new();
    for plugin in project::plugins()?.iter().filter(|p| p.class != "windows") {
        for name in &plugin.binaries {
            let path = project::bin().join(name);
            let size = fs::metadata(&path)
                .map_err(|err| format!("{}: {err}; run cargo xtask build", path.display()))?
                .len();
            binaries.push(Binary {
                name: name.clone(),
                path,
                size,
            });
        }
    }
    Ok(binaries)
}

/// Copies a binary over an old one that may be running this moment: a new file under the old name.
fn replace(from: &Path, to: &Path) -> Outcome {
    let new = to.with_extension("new");
    fs::copy(from, &new)
        .and_then(|_| fs::rename(&new, to))
        .map_err(|err| format!("copy {} to {}: {err}", from.display(), to.display()))
}

fn report(binaries: &[Binary], recipe: &Recipe) -> Outcome {
    let width = binaries
        .iter()
        .map(|b| b.name.len())
        .max()
        .unwrap_or(0)
        .max("total".len());
    let budget = recipe.libc().budget();
    let mut faults = Vec::new();
    println!("\n{:width$}  {:>10}  of budget", "plugin", "bytes");
    for binary in binaries {
        println!(
            "{:width$}  {:>10}  {:>8}%",
            binary.name,
            binary.size,
            binary.size * 100 / budget
        );
        if let Some(loader) = elf::interpreter(&binary.path)? {
            faults.push(format!(
                "{} is not static: it asks for {loader}",
                binary.name
            ));
        }
        if binary.size > budget {
            faults.push(format!(
                "{} has {} bytes, its budget is {budget}",
                binary.name, binary.size
            ));
        }
    }
    println!(
        "{:width$}  {:>10}",
        "total",
        binaries.iter().map(|b| b.size).sum::<u64>()
    );
    println!(
        "\n{} static binaries ({}) in {}",
        binaries.len(),
        recipe.libc().name(),
        project::bin().display()
    );
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults.join("\n"))
    }
}

/// The commit's date in seconds since 1970, for reproducible archives: `SOURCE_DATE_EPOCH`, else what git says,
/// else 0.
pub(crate) fn source_date() -> String {
    if let Ok(date) = std::env::var("SOURCE_DATE_EPOCH") {
        return date;
    }
    let mut git = std::process::Command::new("git");
    git.current_dir(project::root())
        .args(["log", "-1", "--format=%ct"]);
    commands::read(&mut git).unwrap_or_else(|_| "0".into())
}
