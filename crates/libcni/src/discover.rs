//! Finds networks among the files of a directory.

use crate::{Error, NetworkList, PluginConf};
use std::io;
use std::path::{Path, PathBuf};

/// Returns the files of a directory whose name ends with one of `extensions`, such as
/// `.conflist`, in the order of their names. A directory that is missing has none.
///
/// # Errors
/// [`Error::List`] when it cannot be read.
pub fn conf_files(dir: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>, Error> {
    let failed = |error| Error::List {
        dir: dir.to_owned(),
        error,
    };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let bytes = name.as_encoded_bytes();
        let dot = bytes.iter().rposition(|byte| *byte == b'.');
        let has_extension = dot.is_some_and(|dot| {
            let extension = &bytes[dot..];
            extensions.iter().any(|one| one.as_bytes() == extension)
        });
        // Of a link the type of the entry is that of the link.
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if has_extension && !is_directory {
            names.push(name);
        }
    }
    names.sort();
    Ok(names.into_iter().map(|name| dir.join(name)).collect())
}

/// Returns the network `name` of the configuration directory `dir`: the first `.conflist`
/// file of that name, else the first `.conf` or `.json` file, as a list of one plugin.
///
/// Files are read in the order of their names until the network is found, and one that
/// cannot be read or decoded ends the search, as in upstream.
///
/// # Errors
/// As [`NetworkList::from_file`] and [`load_plugin`].
pub fn load_list(dir: &Path, name: &str) -> Result<NetworkList, Error> {
    let files = conf_files(dir, &[".conflist"])?;
    for file in &files {
        let list = NetworkList::from_file(file)?;
        if list.name == name {
            return Ok(list);
        }
    }
    match load_plugin(dir, name) {
        Ok(plugin) => NetworkList::from_plugin(&plugin),
        // There are configurations, though none of this name.
        Err(Error::NoConfigs { .. }) if !files.is_empty() => Err(not_found(dir, name)),
        Err(error) => Err(error),
    }
}

/// Returns the configuration `name` among the `.conf` and `.json` files of `dir`.
///
/// # Errors
/// [`Error::NoConfigs`], [`Error::NotFound`], and as [`PluginConf::from_file`] for a file
/// that precedes it.
pub fn load_plugin(dir: &Path, name: &str) -> Result<PluginConf, Error> {
    let files = conf_files(dir, &[".conf", ".json"])?;
    if files.is_empty() {
        return Err(Error::NoConfigs {
            dir: dir.to_owned(),
        });
    }
    for file in &files {
        let plugin = PluginConf::from_file(file)?;
        if plugin.conf.name == name {
            return Ok(plugin);
        }
    }
    Err(not_found(dir, name))
}

/// Returns the plugins in the folder of the network `name` in `dir`.
pub(crate) fn plugins_of(dir: &Path, name: &str) -> Result<Vec<PluginConf>, Error> {
    let folder = dir.join(name);
    let files = conf_files(&folder, &[".conf"]).map_err(|error| Error::Folder {
        dir: folder.clone(),
        source: Box::new(error),
    })?;
    files
        .iter()
        .map(|file| PluginConf::from_file(file))
        .collect()
}

fn not_found(dir: &Path, name: &str) -> Error {
    Error::NotFound {
        dir: dir.to_owned(),
        name: name.to_owned(),
    }
}
