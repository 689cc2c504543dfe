//! Network lists (specification, section "Network configuration objects").

use crate::plugin::{PluginConf, read};
use crate::{Error, discover};
use cni_core::quote::quote;
use cni_core::skel::validate_network_name;
use cni_core::{Version, json, version};
use serde_json::{Map, Value};
use std::cmp::Ordering;
use std::path::Path;

/// A network: the chain of plugins that attach a container to it.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkList {
    /// The network's name. It is validated by ADD only, as in upstream.
    pub name: String,
    /// The version in which plugins are called: the highest known one of `cniVersion` and
    /// `cniVersions`. Without the latter it is `cniVersion` as written, even if it is unknown.
    pub cni_version: String,
    /// CHECK does nothing.
    pub disable_check: bool,
    /// GC does nothing.
    pub disable_gc: bool,
    /// The folder of further plugins beside the list is not read.
    pub load_only_inlined_plugins: bool,
    /// The plugins in the order of ADD.
    pub plugins: Vec<PluginConf>,
    /// The document as it was read, which the cache keeps.
    pub bytes: Vec<u8>,
}

impl NetworkList {
    /// Decodes a list without further plugins from a folder. One without the key `plugins`
    /// has none yet.
    ///
    /// # Errors
    /// [`Error::InvalidList`] for its own keys, [`Error::InvalidElement`] for a plugin.
    pub fn from_bytes(bytes: &[u8]) -> Result<NetworkList, Error> {
        let document = match json::parse(bytes).map_err(Error::invalid_list)? {
            Value::Object(object) => object,
            // As in upstream, an object without keys.
            Value::Null => Map::new(),
            other => {
                let text = format!("expected an object, got {}", type_name(&other));
                return Err(Error::invalid_list(text));
            }
        };
        let name = name(&document)?;
        let cni_version = selected_version(&document)?;
        let disable_check = flag(&document, "disableCheck")?;
        let disable_gc = flag(&document, "disableGC")?;
        let load_only_inlined_plugins = flag(&document, "loadOnlyInlinedPlugins")?;
        let plugins = plugins(document, load_only_inlined_plugins)?;
        Ok(NetworkList {
            name,
            cni_version,
            disable_check,
            disable_gc,
            load_only_inlined_plugins,
            plugins,
            bytes: bytes.to_vec(),
        })
    }

    /// Reads a list from a `.conflist` file. Unless it says `loadOnlyInlinedPlugins`, the
    /// `*.conf` files in the folder of the network's name beside it follow its own plugins,
    /// in the order of their names.
    ///
    /// # Errors
    /// [`Error::Read`]; as [`NetworkList::from_bytes`] and [`PluginConf::from_bytes`], with
    /// the file's name added; [`Error::NoPlugins`].
    pub fn from_file(path: &Path) -> Result<NetworkList, Error> {
        let bytes = read(path)?;
        let mut list = NetworkList::from_bytes(&bytes).map_err(|error| error.in_file(path))?;
        // A name with separators in it would lead to the files of another directory. ADD
        // refuses it; other networks are not to suffer from it.
        if !list.load_only_inlined_plugins && validate_network_name(&list.name).is_ok() {
            let dir = path.parent().unwrap_or(Path::new(""));
            list.plugins.extend(discover::plugins_of(dir, &list.name)?);
        }
        if list.plugins.is_empty() {
            return Err(Error::NoPlugins.in_file(path));
        }
        Ok(list)
    }

    /// Returns the list of a single plugin, with the name and version of its configuration.
    ///
    /// # Errors
    /// As [`NetworkList::from_bytes`]: the configuration needs a `name`.
    pub fn from_plugin(plugin: &PluginConf) -> Result<NetworkList, Error> {
        let mut list = Map::new();
        list.insert("cniVersion".into(), plugin.conf.cni_version.as_str().into());
        list.insert("name".into(), plugin.conf.name.as_str().into());
        list.insert(
            "plugins".into(),
            vec![Value::Object(plugin.object().clone())].into(),
        );
        NetworkList::from_bytes(json::to_string(&list.into()).as_bytes())
    }
}

fn name(document: &Map<String, Value>) -> Result<String, Error> {
    match document.get("name") {
        None => Err(Error::invalid_list("no name")),
        Some(Value::String(name)) => Ok(name.clone()),
        Some(other) => Err(Error::invalid_list(format!(
            "invalid name type {}",
            type_name(other)
        ))),
    }
}

/// Returns the version to use, see [`NetworkList::cni_version`].
fn selected_version(document: &Map<String, Value>) -> Result<String, Error> {
    let single = match document.get("cniVersion") {
        None => "",
        Some(Value::String(version)) => version,
        Some(other) => {
            let text = format!("invalid cniVersion type {}", type_name(other));
            return Err(Error::invalid_list(text));
        }
    };
    let Some(several) = document.get("cniVersions") else {
        return Ok(single.to_owned());
    };
    let Value::Array(several) = several else {
        let text = format!("invalid type for cniVersions: {}", type_name(several));
        return Err(Error::invalid_list(text));
    };
    let mut best: Option<&str> = None;
    for (i, entry) in several.iter().enumerate() {
        let Value::String(entry) = entry else {
            return Err(Error::invalid_list(format!(
                "invalid type for cniVersions index {i}: {}",
                type_name(entry)
            )));
        };
        best = better(best, entry).map_err(|error| {
            Error::invalid_list(format!(
                "invalid cniVersions entry {entry} at index {i}: {error}"
            ))
        })?;
    }
    if !single.is_empty() {
        best = better(best, single).map_err(|error| {
            Error::invalid_list(format!("invalid cniVersion {single}: {error}"))
        })?;
    }
    Ok(best.unwrap_or(single).to_owned())
}

/// Returns the higher of two versions, if it is not newer than those that are known.
fn better<'a>(
    best: Option<&'a str>,
    other: &'a str,
) -> Result<Option<&'a str>, version::ParseError> {
    if version::compare(other, Version::CURRENT.as_str())? == Ordering::Greater {
        return Ok(best);
    }
    let is_better = match best {
        Some(best) => version::compare(other, best)? == Ordering::Greater,
        None => true,
    };
    Ok(if is_better { Some(other) } else { best })
}

/// Returns a boolean that may be written as a string.
fn flag(document: &Map<String, Value>, key: &str) -> Result<bool, Error> {
    match document.get(key) {
        None => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(Value::String(text)) => match text.to_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            other => Err(Error::invalid_list(format!(
                "invalid value {} for {key}",
                quote(other)
            ))),
        },
        Some(other) => Err(Error::invalid_list(format!(
            "invalid type {} for {key}",
            type_name(other)
        ))),
    }
}

fn plugins(
    mut document: Map<String, Value>,
    load_only_inlined_plugins: bool,
) -> Result<Vec<PluginConf>, Error> {
    let elements = match document.remove("plugins") {
        None if load_only_inlined_plugins => {
            return Err(Error::invalid_list(
                "`loadOnlyInlinedPlugins` is true, and no 'plugins' key",
            ));
        }
        None => return Ok(Vec::new()),
        Some(Value::Array(elements)) => elements,
        Some(other) => {
            let text = format!("invalid 'plugins' type {}", type_name(&other));
            return Err(Error::invalid_list(text));
        }
    };
    if elements.is_empty() {
        return Err(Error::invalid_list("no plugins in list"));
    }
    let decode = |(index, element)| {
        PluginConf::from_value(element).map_err(|error| Error::InvalidElement {
            index,
            source: Box::new(error),
        })
    };
    elements.into_iter().enumerate().map(decode).collect()
}

/// Returns the type of a value in upstream's words, which are those of Go.
fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}
