//! `cargo xtask tidy`: that the rooms are alike.

use std::fs;
use std::path::{Path, PathBuf};

use crate::project::{self, Plugin};
use crate::{Outcome, new_plugin};

/// The longest Rust file, in lines.
const LONGEST: usize = 500;

/// Files that may be longer, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// The longest `main.rs` of a plugin, in lines: it hands the plugin to skel, and that is all.
const LONGEST_MAIN: usize = 8;

/// Crates that must not know of CNI, and those that only plugins may know.
const LAYERS: &[(&str, &[&str])] = &[
    (
        "crates/rtnl",
        &["cni-core", "plugin-kit", "libcni", "netfilter"],
    ),
    (
        "crates/netfilter",
        // It shares the netlink socket of rtnl.
        &["cni-core", "plugin-kit", "libcni"],
    ),
    (
        "crates/cni-core",
        &["plugin-kit", "libcni", "rtnl", "netfilter"],
    ),
    ("crates/plugin-kit", &["libcni"]),
    ("crates/libcni", &["plugin-kit", "rtnl", "netfilter"]),
    ("crates/testkit", &["plugin-kit"]),
];

pub(crate) fn run(arguments: &[String]) -> Outcome {
    crate::options::Options::new(arguments).end()?;
    let root = project::root();
    let plugins = project::plugins()?;
    let mut faults = Vec::new();
    for plugin in &plugins {
        faults.extend(rooms(&root, plugin));
        faults.extend(manifest(&root, plugin, &plugins));
    }
    for (member, forbidden) in LAYERS {
        let dependencies = dependencies(&root.join(member).join("Cargo.toml"));
        let crossing = forbidden
            .iter()
            .filter(|name| dependencies.iter().any(|d| d == *name));
        faults.extend(crossing.map(|name| {
            format!("{member}/Cargo.toml: depends on {name}: dependencies point downwards")
        }));
    }
    let mut sources = Vec::new();
    for dir in ["crates", "plugins", "tests", "xtask"] {
        rust_files(&root.join(dir), &mut sources);
    }
    faults.extend(lengths(&root, &sources));
    if faults.is_empty() {
        println!(
            "tidy: {} plugins, {} Rust files, all in order",
            plugins.len(),
            sources.len()
        );
        return Ok(());
    }
    Err(format!(
        "{} things to put in order\n{}",
        faults.len(),
        faults.join("\n")
    ))
}

fn shown(root: &Path, path: &Path) -> String {
    path.strip_prefix(root)
        .unwrap_or(path)
        .display()
        .to_string()
}

/// The files that every plugin has.
fn rooms(root: &Path, plugin: &Plugin) -> Vec<String> {
    let mut faults = Vec::new();
    let page = root.join(format!("Documentation/plugins/{}.md", plugin.name));
    for path in [
        plugin.dir.join("src/main.rs"),
        plugin.dir.join("src/lib.rs"),
        plugin.dir.join("src/config.rs"),
        page,
    ] {
        if !path.is_file() {
            faults.push(format!("{}: missing", shown(root, &path)));
        }
    }
    let mut tests = Vec::new();
    rust_files(&plugin.dir.join("tests"), &mut tests);
    if tests.is_empty() {
        faults.push(format!(
            "{}/tests: no tests through the binary",
            shown(root, &plugin.dir)
        ));
    }
    let lines = line_count(&plugin.dir.join("src/main.rs"));
    if lines > LONGEST_MAIN {
        faults.push(format!(
            "{}/src/main.rs: {lines} lines, {LONGEST_MAIN} hand a plugin to skel",
            shown(root, &plugin.dir)
        ));
    }
    faults
}

/// The manifest follows the template up to the dependencies, and names no other plugin.
fn manifest(root: &Path, plugin: &Plugin, all: &[Plugin]) -> Vec<String> {
    let path = plugin.dir.join("Cargo.toml");
    let mut faults = Vec::new();
    let head = |text: &str| {
        let head = text.split("[dependencies]").next().unwrap_or_default();
        // The description is the plugin's own, and so may be further sections.
        head.lines()
            .map(str::trim)
            .filter(|l| !l.is_empty() && !l.starts_with("description"))
            .map(String::from)
            .collect()
    };
    let own: Vec<String> = head(&fs::read_to_string(&path).unwrap_or_default());
    let template: Vec<String> = head(&new_plugin::manifest(&plugin.name));
    let missing = template.iter().filter(|line| !own.contains(line));
    faults.extend(missing.map(|line| format!("{}: lacks the line {line}", shown(root, &path))));
    let dependencies = dependencies(&path);
    let others = all
        .iter()
        .filter(|other| dependencies.contains(&other.package));
    faults.extend(others.map(|other| {
        format!(
            "{}: depends on the plugin {}",
            shown(root, &path),
            other.name
        )
    }));
    faults
}

/// The names under `[dependencies]` of a manifest; what tests alone need does not count.
fn dependencies(manifest: &Path) -> Vec<String> {
    let text = fs::read_to_string(manifest).unwrap_or_default();
    let mut inside = false;
    let mut names = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line == "[dependencies]"
                || line.starts_with("[target.") && line.ends_with("dependencies]");
        } else if inside && !line.starts_with('#') {
            let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
            if !name.is_empty() {
                names.push(name.to_owned());
            }
        }
    }
    names
}

fn lengths(root: &Path, sources: &[PathBuf]) -> Vec<String> {
    let mut faults = Vec::new();
    for path in sources {
        let lines = line_count(path);
        let name = shown(root, path);
        let excused = LONG_FILES.iter().any(|(file, _)| *file == name);
        if lines > LONGEST && !excused {
            faults.push(format!(
                "{name}: {lines} lines, {LONGEST} are the most; split it by topic"
            ));
        }
        if lines <= LONGEST && excused {
            faults.push(format!(
                "{name}: short enough now, take it off the list in xtask/src/tidy.rs"
            ));
        }
    }
    faults
}

fn line_count(path: &Path) -> usize {
    fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && entry.file_name() != "target" {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}
