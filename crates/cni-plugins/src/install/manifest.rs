//! The record of what was installed.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The only format so far.
const FORMAT: u32 = 1;

/// What is installed in a directory. Contents are named by their SHA-256, in hexadecimal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    format: u32,
    /// The versions of the executable, by content.
    pub(super) versions: BTreeMap<String, String>,
    /// The files that were installed, by name.
    pub(super) files: BTreeMap<String, Installed>,
    /// What the last change has done, by name.
    pub(super) last: BTreeMap<String, Step>,
    /// Whether the last change was interrupted.
    interrupted: bool,
}

/// An installed file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Installed {
    /// Its content.
    pub(super) content: String,
    /// The foreign file that it has replaced.
    pub(super) original: Option<String>,
}

/// The content of a file before and after a change; `None` if there was no file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Step {
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
}

/// One file to change.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) name: String,
    /// The present content; `None` if there is no file.
    pub(super) from: Option<String>,
    /// The content to install; `None` to remove the file.
    pub(super) to: Option<String>,
}

impl Default for Manifest {
    fn default() -> Self {
        Manifest {
            format: FORMAT,
            versions: BTreeMap::new(),
            files: BTreeMap::new(),
            last: BTreeMap::new(),
            interrupted: false,
        }
    }
}

impl Manifest {
    /// Returns whether this program can read it.
    pub(super) fn is_known(&self) -> bool {
        self.format == FORMAT
    }

    /// Returns whether a content is a version of the executable.
    pub(super) fn is_ours(&self, content: &str) -> bool {
        self.versions.contains_key(content)
    }

    /// Returns a content's version, for messages.
    pub(super) fn version(&self, content: &str) -> &str {
        self.versions
            .get(content)
            .map_or("a foreign file", String::as_str)
    }

    /// Returns whether the last change was interrupted.
    pub(super) fn was_interrupted(&self) -> bool {
        self.interrupted
    }

    /// Records changes that are about to be made. If they continue one that was
    /// interrupted, a rollback undoes both.
    pub(super) fn begin(&mut self, changes: &[Change], continues: bool) {
        if !(continues && self.interrupted) {
            self.last.clear();
        }
        self.interrupted = true;
        for change in changes {
            let step = Step {
                before: change.from.clone(),
                after: change.to.clone(),
            };
            let last = self.last.entry(change.name.clone());
            last.and_modify(|last| last.after = change.to.clone())
                .or_insert(step);
            let Some(to) = change.to.as_ref().filter(|to| self.is_ours(to)) else {
                self.files.remove(&change.name);
                continue;
            };
            let foreign = change.from.clone().filter(|from| !self.is_ours(from));
            let content = to.clone();
            let earlier = self.files.remove(&change.name);
            let original = foreign.or(earlier.and_then(|earlier| earlier.original));
            let installed = Installed { content, original };
            self.files.insert(change.name.clone(), installed);
        }
    }

    /// Records that the changes have been made, and forgets versions that nothing refers to.
    pub(super) fn end(&mut self) {
        self.interrupted = false;
        let kept = self.contents();
        self.versions.retain(|content, _| kept.contains(content));
    }

    /// All contents that are in use or can be restored.
    pub(super) fn contents(&self) -> BTreeSet<String> {
        let installed = self.files.values();
        let installed =
            installed.flat_map(|file| std::iter::once(&file.content).chain(&file.original));
        installed
            .chain(self.last.values().filter_map(|step| step.before.as_ref()))
            .cloned()
            .collect()
    }
}
