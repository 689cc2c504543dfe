//! `cargo xtask new-plugin`: creates the files of a new plugin, or proves that such a plugin compiles.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::{commands, project};

/// Classes of plugins, the directories below `plugins/`.
const CLASSES: &[&str] = &["main", "ipam", "meta"];

const MANIFEST: &str = include_str!("../templates/plugin/Cargo.toml.in");

/// The manifest of a new plugin; `tidy` compares the part before `[dependencies]`.
pub(crate) fn manifest(name: &str) -> String {
    fill(MANIFEST, name)
}

/// A template with the plugin's names filled in.
fn fill(template: &str, name: &str) -> String {
    template
        .replace("@name@", name)
        .replace("@library@", &name.replace('-', "_"))
        .replace("@plugin@", &type_name(name))
}

/// Returns the type name of a plugin: `HostDevice` for `host-device`.
fn type_name(name: &str) -> String {
    let word = |word: &str| {
        let (first, rest) = word.split_at(1);
        first.to_ascii_uppercase() + rest
    };
    name.split('-').map(word).collect()
}

fn is_plugin_name(name: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty()
            && word
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    };
    name.split('-').all(is_word) && name.starts_with(|c: char| c.is_ascii_lowercase())
}

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    match arguments {
        [prove] if prove == "--prove" => prove_templates(),
        [class, name] => create(class, name),
        _ => bail!("usage: cargo xtask new-plugin CLASS NAME, or --prove"),
    }
}

/// Creates a plugin, runs its test, and deletes it again.
fn prove_templates() -> Result<()> {
    let (class, name) = ("meta", "new-plugin-trial");
    let _deleted = Deleted::register(class, name)?;
    create(class, name)?;
    let root = project::root();
    let package = format!("cni-{name}");
    commands::run(&mut commands::cargo(
        &root,
        ["build", "--package", &package],
    ))?;
    commands::run(&mut commands::cargo(&root, ["test", "--package", &package]))
}

/// Deletes a plugin's files when it is dropped, and restores the lock file.
struct Deleted {
    dir: PathBuf,
    page: PathBuf,
    lock: Vec<u8>,
}

impl Deleted {
    fn register(class: &str, name: &str) -> Result<Deleted> {
        let (dir, page) = places(class, name);
        let lock = fs::read(project::root().join("Cargo.lock")).context("Cargo.lock")?;
        Ok(Deleted { dir, page, lock })
    }
}

impl Drop for Deleted {
    fn drop(&mut self) {
        // What cannot be deleted shows as a new file in git's status.
        let _ = fs::remove_dir_all(&self.dir);
        let _ = fs::remove_file(&self.page);
        let _ = fs::write(project::root().join("Cargo.lock"), &self.lock);
    }
}

/// The directory of a plugin, and its page.
fn places(class: &str, name: &str) -> (PathBuf, PathBuf) {
    let root = project::root();
    let page = root.join(format!("Documentation/plugins/{name}.md"));
    (root.join("plugins").join(class).join(name), page)
}

fn create(class: &str, name: &str) -> Result<()> {
    if !CLASSES.contains(&class) {
        bail!("class {class} is not one of {}", CLASSES.join(", "));
    }
    if !is_plugin_name(name) {
        bail!("{name}: a plugin's name consists of lower-case letters, digits and single dashes");
    }
    let (dir, page) = places(class, name);
    if dir.exists() {
        bail!("{} exists already", dir.display());
    }
    let test = format!("tests/{}.rs", name.replace('-', "_"));
    let files = [
        (dir.join("Cargo.toml"), MANIFEST),
        (
            dir.join("src/main.rs"),
            include_str!("../templates/plugin/src/main.rs.in"),
        ),
        (
            dir.join("src/lib.rs"),
            include_str!("../templates/plugin/src/lib.rs.in"),
        ),
        (
            dir.join("src/config.rs"),
            include_str!("../templates/plugin/src/config.rs.in"),
        ),
        (
            dir.join(test),
            include_str!("../templates/plugin/tests/plugin.rs.in"),
        ),
        (page, include_str!("../templates/plugin/page.md.in")),
    ];
    for (path, template) in files {
        fs::create_dir_all(path.parent().unwrap_or(&dir))
            .and_then(|()| fs::write(&path, fill(template, name)))
            .with_context(|| path.display().to_string())?;
        println!("wrote {}", project::shown(&path));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled_in() {
        assert_eq!(
            fill("@name@ @library@ @plugin@", "host-device"),
            "host-device host_device HostDevice"
        );
    }

    #[test]
    fn names_are_checked() {
        assert!(
            ["bridge", "host-local", "l2tp"]
                .iter()
                .all(|name| is_plugin_name(name))
        );
        let bad = ["", "Bridge", "a/b", "../x", "-x", "x-", "x--y", "2x"];
        assert!(bad.iter().all(|name| !is_plugin_name(name)));
    }
}
