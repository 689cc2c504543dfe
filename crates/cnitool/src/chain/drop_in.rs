//! Files of additional plugins: their names, and how they are written and found.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use libcni::PluginConf;
use serde_json::Value;

use super::network::Network;
use crate::validate;

/// The numbers in the names of files: two digits, since names are sorted as text, and tens first.
const NUMBERS: &[u8] = &[
    10, 20, 30, 40, 50, 60, 70, 80, 90, 91, 92, 93, 94, 95, 96, 97, 98, 99,
];

/// Returns the name of a new file for a plugin, behind the existing ones.
pub(super) fn next_name(existing: &[PathBuf], kind: &str) -> Result<String> {
    let last = existing.last().and_then(|path| path.file_name());
    let last = last.unwrap_or_default();
    let mut names = NUMBERS.iter().map(|number| format!("{number}-{kind}.conf"));
    // Its number is greater, too, so that plugins can be added in between.
    let is_behind = |name: &String| OsStr::new(&name[..2]) > prefix(last);
    names.find(is_behind).with_context(|| {
        let last = last.display();
        format!("no number is left behind {last}: give the name of the file with --name")
    })
}

/// The first two characters of a name.
fn prefix(name: &OsStr) -> &OsStr {
    name.to_str()
        .and_then(|name| name.get(..2))
        .map_or(name, OsStr::new)
}

/// Returns the name if it can be that of a file in a network's folder.
pub(super) fn checked_name(name: &str) -> Result<String> {
    let stem = name.strip_suffix(".conf").unwrap_or_default();
    if stem.is_empty() || stem.starts_with('.') || name.contains('/') {
        bail!(
            "{name}: not a name of a plugin's file: it ends with .conf, has no slash, and begins with no dot"
        );
    }
    Ok(name.to_owned())
}

/// Checks a plugin's file as `cnitool validate` does, in a copy of the network's files. `given` is what errors call it.
///
/// # Errors
///
/// When it has errors, or the files cannot be copied.
pub(super) fn check(network: &Network, name: &str, content: &[u8], given: &OsStr) -> Result<()> {
    let copy = tempfile::tempdir().context("a directory for a copy of the network")?;
    let folder = copy.path().join(&network.list.name);
    let list = copy
        .path()
        .join(network.file.file_name().unwrap_or_default());
    let file = folder.join(name);
    let prepare = || -> std::io::Result<()> {
        fs::copy(&network.file, &list)?;
        fs::create_dir(&folder)?;
        fs::write(&file, content)
    };
    prepare().with_context(|| copy.path().display().to_string())?;
    for path in network.drop_ins()? {
        let to = folder.join(path.file_name().unwrap_or_default());
        fs::copy(&path, to).with_context(|| path.display().to_string())?;
    }
    let errors = validate::errors_in(&list, &file)?;
    if !errors.is_empty() {
        let errors = errors.replace(&*file.to_string_lossy(), &given.to_string_lossy());
        bail!(
            "nothing was added, since this is wrong:\n{}",
            errors.trim_end()
        );
    }
    Ok(())
}

/// Writes the file of a plugin, with the mode of the network's list. Readers see all of it or nothing.
///
/// # Errors
///
/// When there is a file of this name, or it cannot be written.
pub(super) fn write(network: &Network, name: &str, content: &[u8]) -> Result<PathBuf> {
    let folder = &network.folder;
    let path = folder.join(name);
    match fs::create_dir(folder) {
        Err(error) if !folder.is_dir() => {
            return Err(error).with_context(|| folder.display().to_string());
        }
        _ => {}
    }
    let write = || -> Result<()> {
        let mode = fs::metadata(&network.file)?.permissions().mode() & 0o666;
        // The loader of networks reads only names that end with ".conf".
        let mut file = tempfile::Builder::new()
            .prefix(".new-")
            .tempfile_in(folder)?;
        file.as_file()
            .set_permissions(Permissions::from_mode(mode))?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        file.persist_noclobber(&path)?;
        File::open(folder)?.sync_all()?;
        Ok(())
    };
    write().with_context(|| path.display().to_string())?;
    Ok(path)
}

/// Finds the file of a plugin by its name, by the plugin's type, or by its content.
///
/// # Errors
///
/// When there is none, or there are several.
pub(super) fn find(network: &Network, wanted: &OsString) -> Result<PathBuf> {
    let mut plugins = Vec::new();
    for path in network.drop_ins()? {
        let plugin = PluginConf::from_file(&path)?;
        plugins.push((path, plugin));
    }
    let content = content(Path::new(wanted));
    // The order in which the three ways to name a plugin count.
    let way = |(path, plugin): &(PathBuf, PluginConf)| {
        let is_content = || content.is_some() && parsed(&plugin.bytes) == content;
        match () {
            () if path.file_name() == Some(wanted) => Some(0),
            () if *plugin.conf.kind == **wanted => Some(1),
            () if is_content() => Some(2),
            () => None,
        }
    };
    if let Some(best) = plugins.iter().filter_map(way).min() {
        let found = plugins.iter().filter(|plugin| way(plugin) == Some(best));
        let found: Vec<&PathBuf> = found.map(|(path, _)| path).collect();
        return match found[..] {
            [path] => Ok(path.clone()),
            _ => bail!(
                "{}: {} are that; give the name of one",
                wanted.display(),
                names(found.into_iter())
            ),
        };
    }
    if plugins.is_empty() {
        bail!(
            "{}: network {} has no additional plugins; those in its list stand in {}",
            wanted.display(),
            network.list.name,
            network.file.display()
        );
    }
    bail!(
        "{}: not an additional plugin of network {}, which has {}",
        wanted.display(),
        network.list.name,
        names(plugins.iter().map(|(path, _)| path))
    )
}

/// The names of files, with commas between.
fn names<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> String {
    let names: Vec<String> = paths
        .map(|path| path.file_name().unwrap_or_default().display().to_string())
        .collect();
    names.join(", ")
}

fn content(file: &Path) -> Option<Value> {
    parsed(&fs::read(file).ok()?)
}

fn parsed(bytes: &[u8]) -> Option<Value> {
    serde_json::from_slice(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_files_are_behind_the_others() {
        let next = |existing: &[&str]| {
            let existing: Vec<PathBuf> = existing
                .iter()
                .map(|name| Path::new("/x").join(name))
                .collect();
            next_name(&existing, "tuning")
        };
        assert_eq!(next(&[]).unwrap(), "10-tuning.conf");
        assert_eq!(next(&["10-a.conf"]).unwrap(), "20-tuning.conf");
        assert_eq!(next(&["10-a.conf", "25-b.conf"]).unwrap(), "30-tuning.conf");
        assert_eq!(
            next(&["10-tuning.conf", "90-z.conf"]).unwrap(),
            "91-tuning.conf"
        );
        for last in ["99-a.conf", "portmap.conf", "é.conf"] {
            let error = next(&[last]).unwrap_err().to_string();
            assert!(error.contains(last) && error.contains("--name"), "{error}");
        }
    }

    #[test]
    fn names_are_plain_and_end_with_conf() {
        assert_eq!(checked_name("15-x.conf").unwrap(), "15-x.conf");
        for bad in [
            "",
            ".conf",
            "x",
            "x.json",
            "../x.conf",
            "a/b.conf",
            ".x.conf",
        ] {
            assert!(checked_name(bad).is_err(), "{bad}");
        }
    }
}
