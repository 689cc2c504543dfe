//! GC, STATUS and validation of a network.

use crate::attach::is_at_least;
use crate::{Attachment, CachedAttachment, Cni, Error, NetworkList, request};
use cni_core::{Version, invoke, json, types};
use serde::Deserialize;
use std::collections::BTreeSet;

impl Cni {
    /// Deletes what is left of attachments that are no longer valid: runs DEL for those
    /// that the cache knows, and then, from version 1.1.0 on, GC of each plugin. Does
    /// nothing if the network disables it.
    ///
    /// Without `valid` **no attachment is valid**: all of the network that the cache knows
    /// are deleted, and plugins are not told which are valid.
    ///
    /// # Errors
    /// Those of all steps; each is tried. When the cache cannot be listed, GC of the plugins
    /// is run all the same, while upstream returns success and does nothing.
    pub fn gc(&self, list: &NetworkList, valid: Option<&[types::Attachment]>) -> Result<(), Error> {
        if list.disable_gc {
            return Ok(());
        }
        let mut errors: Vec<Error> = self.cache.sweep().err().into_iter().collect();
        match self.cache.attachments("") {
            Ok(cached) => {
                let stale = cached
                    .iter()
                    .filter(|cached| cached.network == list.name && !is_valid(cached, valid));
                errors.extend(stale.filter_map(|stale| self.del_stale(list, stale).err()));
            }
            Err(error) => errors = vec![error],
        }
        if is_at_least(list, Version::V1_1_0).unwrap_or(false) {
            for plugin in &list.plugins {
                let stdin = request::of_gc(list, plugin, valid);
                let collected = self.call("GC", plugin, &Attachment::default(), &stdin);
                if let Err(error) = collected {
                    errors.push(Error::Gc {
                        kind: plugin.conf.kind.clone(),
                        source: Box::new(error),
                    });
                }
            }
        }
        Error::join(errors)
    }

    /// Asks each plugin whether it can serve ADD, from version 1.1.0 on.
    ///
    /// # Errors
    /// That of the first plugin that cannot: [`Error::cni_error`] has code 50 or 51.
    pub fn status(&self, list: &NetworkList) -> Result<(), Error> {
        if !is_at_least(list, Version::V1_1_0).unwrap_or(false) {
            return Ok(());
        }
        for plugin in &list.plugins {
            let stdin = request::of_network(list, plugin);
            self.call("STATUS", plugin, &Attachment::default(), &stdin)?;
        }
        Ok(())
    }

    /// Checks that each plugin is there and supports the version of the network. Returns the
    /// capabilities that plugins of the network declare.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the faults of all plugins.
    pub fn validate(&self, list: &NetworkList) -> Result<BTreeSet<String>, Error> {
        let version = match list.cni_version.as_str() {
            "" => Version::V0_1_0.as_str(),
            version => version,
        };
        let mut capabilities = BTreeSet::new();
        let mut errors = Vec::new();
        for plugin in &list.plugins {
            let kind = &plugin.conf.kind;
            match self.supported_versions(kind) {
                Ok(supported) if supported.iter().any(|one| one == version) => {}
                Ok(_) => errors.push(Error::VersionUnsupported {
                    kind: kind.clone(),
                    version: version.to_owned(),
                }),
                Err(error) => errors.push(error),
            }
            let declared = plugin.conf.capabilities.iter().filter(|(_, is_on)| **is_on);
            capabilities.extend(declared.map(|(name, _)| name.clone()));
        }
        match errors.is_empty() {
            true => Ok(capabilities),
            false => Err(Error::Invalid(errors)),
        }
    }

    /// Returns the versions that the plugin `kind` supports, as it answers VERSION.
    ///
    /// # Errors
    /// [`Error::Find`], [`Error::Plugin`], [`Error::VersionReply`]
    pub fn supported_versions(&self, kind: &str) -> Result<Vec<String>, Error> {
        let path = self.find(kind)?;
        let stdin = format!(r#"{{"cniVersion":"{}"}}"#, Version::CURRENT);
        // Plugins built on old versions of the reference library demand them.
        let dummy = Attachment::new("", "dummy", "dummy");
        let limit = invoke::time_limit(kind, None);
        match self.execute(&path, "VERSION", &dummy, stdin.as_bytes(), limit) {
            Ok(stdout) => decode_versions(&stdout),
            Err(Error::Plugin(error)) if error.to_string() == "unknown CNI_COMMAND: VERSION" => {
                Ok(vec![Version::V0_1_0.to_string()])
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the attachment in the cache with the names of `attachment`, with what it was
    /// made with: a runtime that has lost its own records can call DEL with it.
    ///
    /// # Errors
    /// [`Error::CacheContent`] when the file is damaged, or of a version of libcni before
    /// 0.8, which kept results only.
    pub fn cached_attachment(
        &self,
        network: &str,
        attachment: &Attachment,
    ) -> Result<Option<CachedAttachment>, Error> {
        self.cache.attachment(network, attachment)
    }

    /// Returns the attachments in the cache: of one container, or of all if `container_id`
    /// is empty. Files that are damaged are left out.
    ///
    /// # Errors
    /// [`Error::Cache`] when the directory cannot be read. A missing one is empty.
    pub fn cached_attachments(&self, container_id: &str) -> Result<Vec<CachedAttachment>, Error> {
        self.cache.attachments(container_id)
    }

    fn del_stale(&self, list: &NetworkList, stale: &CachedAttachment) -> Result<(), Error> {
        let attachment = &stale.attachment;
        self.del(list, attachment).map_err(|error| Error::Stale {
            container_id: attachment.container_id.clone(),
            if_name: attachment.if_name.clone(),
            source: Box::new(error),
        })
    }
}

fn is_valid(cached: &CachedAttachment, valid: Option<&[types::Attachment]>) -> bool {
    let own = &cached.attachment;
    valid
        .unwrap_or_default()
        .iter()
        .any(|valid| valid.container_id == own.container_id && valid.if_name == own.if_name)
}

/// Decodes the reply to VERSION.
fn decode_versions(stdout: &[u8]) -> Result<Vec<String>, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    #[derive(Default)]
    struct Reply {
        cni_version: String,
        supported_versions: Vec<String>,
    }
    let reply = json::parse(stdout).and_then(|document| json::decode::<Reply>(&document));
    let reply = reply.map_err(|error| Error::VersionReply(error.to_string()))?;
    let missing = |key: &str| Err(Error::VersionReply(format!("missing field {key}")));
    match (reply.cni_version.as_str(), reply.supported_versions) {
        ("", _) => missing("cniVersion"),
        ("0.2.0", supported) if supported.is_empty() => {
            Ok(vec!["0.1.0".to_owned(), "0.2.0".to_owned()])
        }
        (_, supported) if supported.is_empty() => missing("supportedVersions"),
        (_, supported) => Ok(supported),
    }
}
