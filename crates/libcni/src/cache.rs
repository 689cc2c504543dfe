//! The cache of attachments, in upstream's form.
//!
//! One file per attachment, `results/<network>-<container ID>-<interface>`. Since each of
//! the names may contain the separator, two attachments can have the same file name; what
//! a file says of itself decides.

use crate::{Attachment, Error, NetworkList, PluginResult};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cni_core::{AddResult, Version, json};
use cni_state::Directory;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The value of `kind`.
const KIND: &str = "cniCacheV1";

/// Longest name of a file (`NAME_MAX` of limits.h). Upstream's library cannot cache an
/// attachment whose name would be longer; here a hash takes its place.
const NAME_MAX: usize = 255;

/// What the name of such a file begins with. A network's name begins with a letter or digit.
const HASHED: char = '~';

/// How old a file is that a killed writer has left; writing one takes an instant.
const LEFTOVER_AGE: Duration = Duration::from_secs(600);

/// The directory of the cache.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    dir: PathBuf,
}

/// An attachment that the cache knows: the arguments and the result of its ADD.
#[derive(Clone, Debug, PartialEq)]
pub struct CachedAttachment {
    /// The network's name.
    pub network: String,
    /// What the attachment was made with.
    pub attachment: Attachment,
    /// The network list at the time of ADD, as it was read. Plugins from the folder beside
    /// it are not part of it.
    pub config: Vec<u8>,
    /// The result of ADD as a document, which need not be valid.
    pub result: Option<Value>,
}

/// The content of a cache file. Keys that a writer omits when they are empty are optional.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Entry {
    kind: String,
    container_id: String,
    config: String,
    if_name: String,
    network_name: String,
    netns: String,
    cni_args: Vec<Vec<String>>,
    capability_args: Map<String, Value>,
    result: Option<Value>,
}

impl Cache {
    pub(crate) fn new(dir: &Path) -> Cache {
        Cache {
            dir: dir.join("results"),
        }
    }

    /// Writes the file of an attachment.
    ///
    /// # Errors
    /// [`Error::CacheKey`], [`Error::Cache`]
    pub(crate) fn write(
        &self,
        list: &NetworkList,
        attachment: &Attachment,
        result: Option<&PluginResult>,
    ) -> Result<(), Error> {
        let name = file_name(&list.name, attachment)?;
        let result = result.map(PluginResult::to_sorted_value).transpose()?;
        let document = document(list, attachment, result);
        Ok(Directory::write_shared(
            &self.dir,
            &name,
            json::to_string(&document).as_bytes(),
        )?)
    }

    /// Returns the result of an attachment; `None` if there is none, also when the file
    /// cannot be read or is another attachment's.
    ///
    /// # Errors
    /// [`Error::CacheKey`], and when the content is no result.
    pub(crate) fn result(
        &self,
        network: &str,
        attachment: &Attachment,
    ) -> Result<Option<PluginResult>, Error> {
        let name = file_name(network, attachment)?;
        let Some(bytes) = self.read(&name) else {
            return Ok(None);
        };
        let result = match decode(network, &bytes) {
            Ok(entry) if entry.is_of(network, attachment) => entry.result,
            Ok(_) => None,
            Err(error) => match json::parse(&bytes) {
                // Versions of libcni before 0.8 wrote the bare result.
                Ok(document) if !json::has_key(&document, "kind") => Some(document),
                _ => return Err(error),
            },
        };
        result.map(|document| decode_result(&document)).transpose()
    }

    /// Returns the attachment that a file describes.
    ///
    /// # Errors
    /// [`Error::CacheKey`], [`Error::CacheContent`]
    pub(crate) fn attachment(
        &self,
        network: &str,
        attachment: &Attachment,
    ) -> Result<Option<CachedAttachment>, Error> {
        let name = file_name(network, attachment)?;
        let Some(bytes) = self.read(&name) else {
            return Ok(None);
        };
        let entry = decode(network, &bytes)?;
        let is_own = entry.is_of(network, attachment);
        Ok(is_own.then(|| entry.into_attachment()))
    }

    /// Returns all attachments, of all containers if `container_id` is empty, in the order of
    /// the names of their files. Files that are none are left out.
    ///
    /// # Errors
    /// [`Error::Cache`] when the directory cannot be listed.
    pub(crate) fn attachments(&self, container_id: &str) -> Result<Vec<CachedAttachment>, Error> {
        let Some(directory) = Directory::open(&self.dir)? else {
            return Ok(Vec::new());
        };
        let mut names = directory.names()?;
        let part = format!("-{container_id}-");
        names.retain(|name| {
            container_id.is_empty() || name.contains(&part) || name.starts_with(HASHED)
        });
        names.sort();
        let attachments = names.iter().filter_map(|name| {
            let bytes = directory.read(name).ok()??;
            let entry = decode("", &bytes).ok()?;
            let is_complete = !entry.if_name.is_empty() && !entry.network_name.is_empty();
            let is_wanted = container_id.is_empty() || entry.container_id == container_id;
            (is_complete && is_wanted).then(|| entry.into_attachment())
        });
        Ok(attachments.collect())
    }

    /// Removes what writers that were killed have left.
    ///
    /// # Errors
    /// [`Error::Cache`]
    pub(crate) fn sweep(&self) -> Result<(), Error> {
        match Directory::open(&self.dir)? {
            Some(directory) => Ok(directory.sweep_shared(LEFTOVER_AGE)?),
            None => Ok(()),
        }
    }

    /// Removes the file of an attachment, also one that is damaged, but not one that says
    /// it is another attachment's. Nothing is left to do about a failure.
    pub(crate) fn remove(&self, network: &str, attachment: &Attachment) {
        let Ok(name) = file_name(network, attachment) else {
            return;
        };
        let Ok(Some(directory)) = Directory::open(&self.dir) else {
            return;
        };
        let content = directory.read(&name).ok().flatten();
        let is_foreign = content
            .and_then(|bytes| decode(network, &bytes).ok())
            .is_some_and(|entry| !entry.is_of(network, attachment));
        if !is_foreign {
            // The next ADD or DEL of the attachment tries again.
            let _ = directory.remove_shared(&name);
        }
    }

    /// Returns the content of a file. As in upstream, one that cannot be read is missing.
    fn read(&self, name: &str) -> Option<Vec<u8>> {
        Directory::open(&self.dir).ok()??.read(name).ok()?
    }
}

impl Entry {
    fn is_of(&self, network: &str, attachment: &Attachment) -> bool {
        self.network_name == network
            && self.container_id == attachment.container_id
            && self.if_name == attachment.if_name
    }

    fn into_attachment(self) -> CachedAttachment {
        let pair = |mut pair: Vec<String>| {
            pair.resize(2, String::new());
            let value = pair.pop().unwrap_or_default();
            (pair.pop().unwrap_or_default(), value)
        };
        CachedAttachment {
            network: self.network_name,
            attachment: Attachment {
                container_id: self.container_id,
                netns: self.netns.into(),
                if_name: self.if_name,
                args: self.cni_args.into_iter().map(pair).collect(),
                capability_args: self.capability_args,
            },
            // What is no base64 cannot be a configuration either.
            config: STANDARD.decode(self.config).unwrap_or_default(),
            result: self.result,
        }
    }
}

/// Decodes the content of a file; the network is for the error.
fn decode(network: &str, bytes: &[u8]) -> Result<Entry, Error> {
    let entry = json::parse(bytes).and_then(|document| json::decode::<Entry>(&document));
    let text = match entry {
        Ok(entry) if entry.kind == KIND => return Ok(entry),
        Ok(entry) => format!("wrong kind: {}", entry.kind),
        Err(error) => error.to_string(),
    };
    Err(Error::CacheContent {
        network: network.to_owned(),
        text,
    })
}

fn document(list: &NetworkList, attachment: &Attachment, result: Option<Value>) -> Value {
    let mut document = Map::new();
    let mut put = |key: &str, value: Value| document.insert(key.to_owned(), value);
    put("kind", KIND.into());
    put("containerId", attachment.container_id.as_str().into());
    put("config", STANDARD.encode(&list.bytes).into());
    put("ifName", attachment.if_name.as_str().into());
    put("networkName", list.name.as_str().into());
    let netns = attachment.netns.to_string_lossy();
    if !netns.is_empty() {
        put("netns", netns.into());
    }
    if !attachment.args.is_empty() {
        let pair = |(key, value): &(String, String)| vec![key.as_str(), value.as_str()].into();
        let pairs: Vec<Value> = attachment.args.iter().map(pair).collect();
        put("cniArgs", pairs.into());
    }
    if !attachment.capability_args.is_empty() {
        // The order inside of a value is the caller's.
        let mut values = attachment.capability_args.clone();
        values.sort_keys();
        put("capabilityArgs", values.into());
    }
    if let Some(result) = result {
        put("result", result);
    }
    document.into()
}

/// Decodes a cached result, in the version that it says.
fn decode_result(document: &Value) -> Result<PluginResult, Error> {
    let text = cni_core::version::of_document(document)?;
    let result = AddResult::decode(&text, document)?;
    // Decoding has refused unknown versions.
    let version = Version::from_text(&text).unwrap_or(Version::CURRENT);
    Ok(PluginResult { version, result })
}

/// Returns the name of an attachment's file.
fn file_name(network: &str, attachment: &Attachment) -> Result<String, Error> {
    let parts = [network, &attachment.container_id, &attachment.if_name];
    // Only DEL and CHECK, whose names are not validated, can have others.
    let is_part = |part: &&str| !part.is_empty() && !part.contains(['/', '\0']);
    let name = parts.join("-");
    match parts.iter().all(is_part) {
        true if name.len() <= NAME_MAX => Ok(name),
        true => Ok(cni_state::bounded(&name, "")),
        false => Err(Error::CacheKey {
            network: network.to_owned(),
            container_id: attachment.container_id.clone(),
            if_name: attachment.if_name.clone(),
        }),
    }
}
