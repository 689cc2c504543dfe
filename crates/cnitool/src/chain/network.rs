//! A network with the folder of its additional plugins.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use cni_core::skel::validate_network_name;
use libcni::{NetworkList, PluginConf, conf_files, load_list};

/// A network whose list allows additional plugins.
pub(super) struct Network {
    /// The list, with the additional plugins.
    pub(super) list: NetworkList,
    /// Its file.
    pub(super) file: PathBuf,
    /// The folder of the additional plugins, which need not exist.
    pub(super) folder: PathBuf,
}

impl Network {
    /// Finds a network in the directory of configurations.
    ///
    /// # Errors
    ///
    /// When there is none, it is a single plugin's configuration, or its list excludes additional plugins.
    pub(super) fn find(dir: &Path, name: &str) -> Result<Network> {
        validate_network_name(name).map_err(|error| anyhow::anyhow!("network {name}: {error}"))?;
        for file in conf_files(dir, &[".conflist"])? {
            let list = NetworkList::from_bytes(&read(&file)?)
                .with_context(|| file.display().to_string())?;
            if list.name == name {
                return Network::of(file, &dir.join(name));
            }
        }
        // The error for a network that does not exist.
        load_list(dir, name)?;
        bail!(
            "network {name} is the configuration of a single plugin, which has no chain; make it a list in a \
             .conflist file first"
        );
    }

    fn of(file: PathBuf, folder: &Path) -> Result<Network> {
        let list = NetworkList::from_bytes(&read(&file)?)?;
        if list.load_only_inlined_plugins {
            bail!(
                "{}: loadOnlyInlinedPlugins is true, so that plugins beside the list are not read; set it to false, or \
                 add the plugin to the list",
                file.display()
            );
        }
        let mut network = Network {
            list,
            file,
            folder: folder.to_path_buf(),
        };
        for drop_in in network.drop_ins()? {
            network.list.plugins.push(PluginConf::from_file(&drop_in)?);
        }
        Ok(network)
    }

    /// The files of the additional plugins, in the order of the chain.
    pub(super) fn drop_ins(&self) -> Result<Vec<PathBuf>> {
        Ok(conf_files(&self.folder, &[".conf"])?)
    }

    /// Adds a plugin to the list as its file `name` would.
    ///
    /// # Errors
    ///
    /// When there is such a file.
    pub(super) fn insert(&mut self, name: &str, plugin: PluginConf) -> Result<()> {
        let names = self.drop_ins()?;
        let path = self.folder.join(name);
        if names.contains(&path) {
            bail!(
                "{}: exists; remove it first, or give another --name",
                path.display()
            );
        }
        let before = names.iter().filter(|other| **other < path).count();
        let own = self.list.plugins.len() - names.len();
        self.list.plugins.insert(own + before, plugin);
        Ok(())
    }

    /// Returns the network without the file `name`.
    ///
    /// # Errors
    ///
    /// When no plugin remains.
    pub(super) fn without(&self, name: &str) -> Result<Network> {
        let names = self.drop_ins()?;
        let own = self.list.plugins.len() - names.len();
        let mut list = self.list.clone();
        if let Some(index) = names.iter().position(|path| path.ends_with(name)) {
            list.plugins.remove(own + index);
        }
        if list.plugins.is_empty() {
            bail!(
                "{name} is the only plugin of network {}; remove the network instead: {}",
                list.name,
                self.file.display()
            );
        }
        Ok(Network {
            list,
            file: self.file.clone(),
            folder: self.folder.clone(),
        })
    }
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| file.display().to_string())
}
