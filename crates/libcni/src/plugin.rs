//! Configurations of single plugins.

use crate::Error;
use cni_core::json;
use cni_core::types::NetConf;
use serde_json::{Map, Value};
use std::path::Path;

/// The configuration of one plugin of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginConf {
    /// The keys that the specification defines.
    pub conf: NetConf,
    /// The document: of a file as it was read, of a list's element with its keys sorted.
    pub bytes: Vec<u8>,
    /// The document, parsed, with its keys sorted.
    object: Map<String, Value>,
}

impl PluginConf {
    /// Decodes a configuration, such as the content of a `.conf` file.
    ///
    /// # Errors
    /// [`Error::InvalidPlugin`]: `error parsing configuration: <why>`.
    pub fn from_bytes(bytes: &[u8]) -> Result<PluginConf, Error> {
        let document = json::parse(bytes).map_err(Error::invalid_plugin)?;
        PluginConf::decode(document, Some(bytes))
    }

    /// Reads a configuration from a file.
    ///
    /// # Errors
    /// [`Error::Read`], and as [`PluginConf::from_bytes`] with the file's name added.
    pub fn from_file(path: &Path) -> Result<PluginConf, Error> {
        let bytes = read(path)?;
        PluginConf::from_bytes(&bytes).map_err(|error| error.in_file(path))
    }

    /// Decodes an element of a list.
    pub(crate) fn from_value(document: Value) -> Result<PluginConf, Error> {
        PluginConf::decode(document, None)
    }

    fn decode(document: Value, bytes: Option<&[u8]>) -> Result<PluginConf, Error> {
        let (conf, object) = match document {
            // As in upstream, an object without keys.
            Value::Null => (NetConf::default(), Map::new()),
            document => {
                let conf = json::decode(&document).map_err(Error::invalid_plugin)?;
                match sorted(document) {
                    Value::Object(object) => (conf, object),
                    // Decoding has refused everything but objects.
                    _ => (conf, Map::new()),
                }
            }
        };
        if conf.kind.is_empty() {
            return Err(Error::invalid_plugin("missing 'type'"));
        }
        let bytes = match bytes {
            Some(bytes) => bytes.to_vec(),
            None => json::to_string(&object.clone().into()).into_bytes(),
        };
        Ok(PluginConf {
            conf,
            bytes,
            object,
        })
    }

    /// Returns the document with the members `keys`, which override its own, and with its
    /// keys sorted, as a plugin receives it.
    pub(crate) fn with(&self, keys: Vec<(&str, Value)>) -> Vec<u8> {
        let mut object = self.object.clone();
        for (key, value) in keys {
            object.insert(key.to_owned(), value);
        }
        object.sort_keys();
        json::to_string(&object.into()).into_bytes()
    }

    /// Returns whether the plugin declares the capability `name`.
    pub(crate) fn has_capability(&self, name: &str) -> bool {
        self.conf.capabilities.get(name) == Some(&true)
    }

    /// Returns the parsed document.
    pub(crate) fn object(&self) -> &Map<String, Value> {
        &self.object
    }
}

/// Returns the document with the keys of all its objects sorted by their bytes, as upstream
/// writes maps.
pub(crate) fn sorted(mut document: Value) -> Value {
    document.sort_all_objects();
    document
}

/// Returns the content of a configuration file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| Error::Read {
        path: path.to_owned(),
        error,
    })
}
