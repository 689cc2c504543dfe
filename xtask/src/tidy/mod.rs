//! `cargo xtask tidy`: the layout of plugins, the direction of dependencies, the length of files and functions, unused
//! public functions, and names.

mod sources;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::project::{self, Package};
use crate::{new_plugin, no_arguments};
use sources::Source;

/// The longest Rust file, in lines.
const LONGEST: usize = 500;

/// The longest `main.rs` of a plugin, in lines: it only passes the plugin to skel.
const LONGEST_MAIN: usize = 8;

/// Crates, and the packages on which they must not depend.
const LAYERS: &[(&str, &[&str])] = &[
    (
        "rtnl-batch",
        &[
            "cni-core",
            "plugin-kit",
            "libcni",
            "netfilter",
            "runtime-api",
        ],
    ),
    // It shares the netlink socket of rtnl.
    (
        "netfilter",
        &["cni-core", "plugin-kit", "libcni", "runtime-api"],
    ),
    (
        "cni-core",
        &[
            "plugin-kit",
            "libcni",
            "rtnl-batch",
            "netfilter",
            "runtime-api",
        ],
    ),
    ("plugin-kit", &["libcni", "runtime-api"]),
    // HTTP stays out of what runtimes and plugins link.
    (
        "libcni",
        &["plugin-kit", "rtnl-batch", "netfilter", "runtime-api"],
    ),
    ("testkit", &["plugin-kit", "libcni", "runtime-api"]),
];

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    no_arguments(arguments)?;
    let packages = project::packages()?;
    let mut faults = Vec::new();
    for package in &packages {
        if package.is_plugin() {
            faults.extend(layout(package));
            faults.extend(manifest(package));
        }
        faults.extend(dependencies(package, &packages));
    }
    let mut sources = Vec::new();
    for dir in ["crates", "plugins", "tests", "xtask"] {
        rust_files(&project::root().join(dir), &mut sources);
    }
    faults.extend(sources.iter().filter_map(|path| length(path)));
    let source = |path: &PathBuf| Source {
        path: project::shown(path),
        text: read(path),
    };
    let texts: Vec<Source> = sources.iter().map(source).collect();
    faults.extend(sources::faults(&texts));
    if !faults.is_empty() {
        bail!("{} faults\n{}", faults.len(), faults.join("\n"));
    }
    println!(
        "tidy: {} packages, {} Rust files, no faults",
        packages.len(),
        sources.len()
    );
    Ok(())
}

/// The files that every plugin has. Those for tests share a page, and may have no configuration of their own.
fn layout(plugin: &Package) -> Vec<String> {
    let mut faults = Vec::new();
    let mut files = ["src/main.rs", "src/lib.rs"]
        .map(|file| plugin.dir.join(file))
        .to_vec();
    if !plugin.is_test_plugin() {
        files.push(plugin.dir.join("src/config.rs"));
        let page = format!("Documentation/plugins/{}.md", plugin.dir_name());
        files.push(project::root().join(page));
    }
    for path in files.iter().filter(|path| !path.is_file()) {
        faults.push(format!("{}: missing", project::shown(path)));
    }
    let mut tests = Vec::new();
    rust_files(&plugin.dir.join("tests"), &mut tests);
    if tests.is_empty() {
        faults.push(format!("{}/tests: no tests of the binary", plugin.place()));
    }
    let lines = read(&plugin.dir.join("src/main.rs")).lines().count();
    if lines > LONGEST_MAIN {
        faults.push(format!(
            "{}/src/main.rs: {lines} lines, at most {LONGEST_MAIN} are allowed: it only passes the plugin to skel",
            plugin.place()
        ));
    }
    faults
}

/// A plugin's manifest follows the template up to the dependencies.
fn manifest(plugin: &Package) -> Vec<String> {
    let head = |text: &str| -> Vec<String> {
        let head = text.split("[dependencies]").next().unwrap_or_default();
        // The description differs between plugins, and so may additional sections.
        let lines = head.lines().map(str::trim);
        lines
            .filter(|l| !l.is_empty() && !l.starts_with("description"))
            .map(String::from)
            .collect()
    };
    let own = head(&read(&plugin.dir.join("Cargo.toml")));
    let template = head(&new_plugin::manifest(&plugin.dir_name()));
    let missing = template.iter().filter(|line| !own.contains(line));
    missing
        .map(|line| format!("{}/Cargo.toml: lacks the line {line}", plugin.place()))
        .collect()
}

/// Dependencies point downwards, and no plugin depends on another.
fn dependencies(package: &Package, all: &[Package]) -> Vec<String> {
    let mut forbidden: Vec<&str> = Vec::new();
    if let Some((_, below)) = LAYERS.iter().find(|(name, _)| *name == package.name) {
        forbidden.extend(*below);
    }
    if package.is_plugin() {
        forbidden.extend(
            all.iter()
                .filter(|other| other.is_plugin())
                .map(|other| other.name.as_str()),
        );
    }
    let crossing = package
        .dependencies
        .iter()
        .filter(|name| forbidden.contains(&name.as_str()));
    crossing
        .map(|name| {
            format!(
                "{}/Cargo.toml: must not depend on {name}: dependencies point downwards",
                package.place()
            )
        })
        .collect()
}

fn length(path: &Path) -> Option<String> {
    let lines = read(path).lines().count();
    let fault = || {
        format!(
            "{}: {lines} lines, at most {LONGEST} are allowed; split it by topic",
            project::shown(path)
        )
    };
    (lines > LONGEST).then(fault)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && entry.file_name() != "target" {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}
