//! Sysctls that several attachments of a container set, since they belong to the whole
//! namespace. Each attachment records the value from before the first of them, and the last
//! one restores it.

use crate::backup::{self, Backup, Saved};
use crate::sysctl::{Change, Values, same};
use anyhow::Context;
use cni_core::Call;
use plugin_kit::{Container, sysctl};
use std::path::Path;

/// The sysctls in the backups of the container's other attachments.
#[derive(Debug, Default)]
pub(crate) struct Others(Vec<Saved>);

impl Others {
    /// Reads the backups in `directory` of the other interfaces that the container has now.
    /// One without its interface is a remnant, and says nothing of this namespace.
    ///
    /// # Errors
    /// When the interfaces cannot be listed.
    pub(crate) fn of(
        call: &Call,
        container: &Container,
        directory: &Path,
    ) -> anyhow::Result<Others> {
        let links = container.rtnl.links();
        let links = links.context("failed to list the container's interfaces")?;
        let names = links.iter().map(|link| link.name.as_str());
        // Most containers have one interface besides lo: then nothing is looked for.
        let others = names.filter(|name| *name != call.if_name && *name != "lo");
        let others: Vec<&str> = others.collect();
        if others.is_empty() {
            return Ok(Others::default());
        }
        let backups = backup::of_interfaces(directory, &call.container_id, &others);
        let sysctls = backups
            .into_iter()
            .flat_map(|Backup { sysctls, .. }| sysctls);
        Ok(Others(sysctls.collect()))
    }

    /// Whether another attachment has recorded the sysctl.
    pub(crate) fn have(&self, path: &str) -> bool {
        self.records(path).next().is_some()
    }

    /// Replaces present values that another attachment set by those before it, for the
    /// backup.
    pub(crate) fn originals(
        &self,
        changes: &[Change],
        dependants: &Values,
    ) -> (Vec<Change>, Values) {
        let original = |path: &str, present: &str| {
            let is_set = |saved: &&Saved| saved.set.as_deref().is_none_or(|s| same(s, present));
            let recorded = self.records(path).find(is_set);
            recorded.map_or_else(|| present.to_owned(), |saved| saved.was.clone())
        };
        let changes = changes.iter().cloned().map(|mut change| {
            change.was = change.was.map(|was| original(&change.path, &was));
            change
        });
        let dependants = dependants.iter();
        let dependants = dependants.map(|(path, was)| (path.clone(), original(path, was)));
        (changes.collect(), dependants.collect())
    }

    /// Returns the value of a sysctl after the DEL of the attachment that recorded `saved`,
    /// in the calling thread's namespace: the original one, or one that another attachment
    /// set. `None` if it has that already.
    pub(crate) fn value_without<'s>(&'s self, saved: &'s Saved) -> Option<&'s str> {
        if !self.have(&saved.path) {
            return Some(&saved.was);
        }
        let present = sysctl::get(&saved.path).ok()?;
        let set: Vec<&str> = self
            .records(&saved.path)
            .filter_map(|saved| saved.set.as_deref())
            .collect();
        match set.iter().any(|value| same(value, &present)) {
            true => None,
            false => set.last().copied(),
        }
    }

    fn records(&self, path: &str) -> impl Iterator<Item = &Saved> {
        self.0.iter().filter(move |saved| saved.path == path)
    }
}
