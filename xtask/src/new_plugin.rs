//! `cargo xtask new-plugin`: creates the files of a new plugin.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::project;

/// Classes of plugins, the directories below `plugins/`.
const CLASSES: &[&str] = &["main", "ipam", "meta", "debug"];

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
    let [class, name] = arguments else {
        bail!("usage: cargo xtask new-plugin CLASS NAME");
    };
    if !CLASSES.contains(&class.as_str()) {
        bail!("class {class} is not one of {}", CLASSES.join(", "));
    }
    if !is_plugin_name(name) {
        bail!("{name}: a plugin's name consists of lower-case letters, digits and single dashes");
    }
    let root = project::root();
    let dir = root.join("plugins").join(class).join(name);
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
        (
            root.join(format!("Documentation/plugins/{name}.md")),
            include_str!("../templates/plugin/page.md.in"),
        ),
    ];
    for (path, template) in files {
        fs::create_dir_all(path.parent().unwrap_or(&root))
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
