//! Installs the executable under the names of all plugins, rolls the last change back, and
//! uninstalls.
//!
//! Every name is a hard link to one file in the directory `.cni-plugins` beside them, so
//! that each is a regular file, wherever it is copied or mounted; where the file system has
//! no hard links, each is a copy. A name is replaced by rename: a plugin that runs or is
//! being executed is never written to, and at any moment each name is a complete plugin.
//! What is replaced stays in `.cni-plugins` for a rollback.

mod manifest;
mod store;

use crate::{plugins, sys};
use anyhow::Result;
use cni_core::skel::build_version;
use manifest::{Change, Manifest, Step};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use store::{Store, failed};

/// What to install, and where.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// The directory of the plugins.
    pub(crate) dest: PathBuf,
    /// Names that are left alone.
    pub(crate) skip: BTreeSet<String>,
    /// Whether files of other versions are replaced.
    pub(crate) update: bool,
    /// Whether files that this program did not install are replaced.
    pub(crate) replace_foreign: bool,
}

/// What a name is at present.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    /// A version of the executable.
    Ours(String),
    /// Another file.
    Foreign(String),
    /// A directory, a link, or another thing without content.
    Special,
}

impl Found {
    fn look(store: &Store, manifest: &Manifest, name: &str) -> Result<Found> {
        let path = store.path(name);
        let metadata = match fs::symlink_metadata(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            metadata => failed("look at", &path, metadata)?,
        };
        if !metadata.is_file() {
            return Ok(Found::Special);
        }
        let content = store.hash(&path)?;
        Ok(match manifest.is_ours(&content) {
            true => Found::Ours(content),
            false => Found::Foreign(content),
        })
    }

    fn content(self) -> Option<String> {
        match self {
            Found::Ours(content) | Found::Foreign(content) => Some(content),
            Found::Nothing | Found::Special => None,
        }
    }
}

/// The names to install: those of all plugins, and the executable's own.
fn names() -> BTreeSet<&'static str> {
    plugins::names().chain(["cni-plugins"]).collect()
}

/// Installs this executable.
///
/// # Errors
/// When a file cannot be written. Files that were not reached are as before.
pub(crate) fn install(options: &Options) -> Result<()> {
    let store = Store::create(&options.dest)?;
    let mut manifest = store.manifest()?;
    let executable = Path::new("/proc/self/exe");
    let content = store.hash(executable)?;
    let version = build_version().to_owned();
    manifest.versions.insert(content.clone(), version);
    let mut report = Report::default();
    for name in options
        .skip
        .iter()
        .filter(|name| !names().contains(name.as_str()))
    {
        report.say(name, "cannot be skipped: there is no such plugin");
    }
    let mut changes = Vec::new();
    for name in names() {
        let found = Found::look(&store, &manifest, name)?;
        let verdict = judge(options, &manifest, name, &found, &content);
        report.say(name, verdict.text);
        if verdict.is_changed {
            changes.push(Change {
                name: name.to_owned(),
                from: found.content(),
                to: Some(content.clone()),
            });
        }
    }
    if !changes.is_empty() {
        let label = changes.iter().find_map(|change| {
            change.from.as_ref()?;
            sys::label(&File::open(store.path(&change.name)).ok()?)
        });
        store.add(executable, &content, label.as_deref())?;
    }
    apply(&store, &mut manifest, &changes, true)?;
    report.print(changes.len(), "installed", &options.dest);
    Ok(())
}

/// Whether a name is changed, and what is said of it.
struct Verdict {
    is_changed: bool,
    text: String,
}

fn judge(
    options: &Options,
    manifest: &Manifest,
    name: &str,
    found: &Found,
    content: &str,
) -> Verdict {
    let version = manifest.version(content);
    let change = |text: String| Verdict {
        is_changed: true,
        text,
    };
    let keep = |text: &str| Verdict {
        is_changed: false,
        text: text.to_owned(),
    };
    match found {
        _ if options.skip.contains(name) => keep("skipped"),
        Found::Nothing => change(format!("installed {version}")),
        Found::Ours(old) if old == content => keep("up to date"),
        Found::Ours(old) if options.update => {
            change(format!("replaced {} by {version}", manifest.version(old)))
        }
        Found::Ours(old) => keep(&format!(
            "left at {}; --update replaces it",
            manifest.version(old)
        )),
        Found::Foreign(_) if options.replace_foreign => {
            change(format!("replaced a foreign file by {version}"))
        }
        Found::Foreign(_) => {
            keep("left alone, since this program did not install it; --replace-foreign replaces it")
        }
        Found::Special => keep("left alone, since it is not a regular file; remove it first"),
    }
}

/// Undoes the last change. Doing it twice restores the state before the first.
///
/// # Errors
/// When there is nothing to undo, or a file cannot be written.
pub(crate) fn rollback(dest: &Path) -> Result<()> {
    let store = Store::open(dest)?;
    let mut manifest = store.manifest()?;
    let (mut changes, mut report) = (Vec::new(), Report::default());
    for (name, Step { before, after }) in manifest.last.clone() {
        let found = Found::look(&store, &manifest, &name)?;
        let is_special = found == Found::Special;
        let from = found.content();
        let is_known = !is_special && (from == after || from == before);
        match &before {
            _ if !is_known => report.say(&name, "left alone, since it has been replaced by others"),
            _ if from == before => report.say(&name, "up to date"),
            Some(content) => report.say(&name, format!("restored {}", manifest.version(content))),
            None => report.say(&name, "removed"),
        }
        if is_known && from != before {
            changes.push(Change {
                name,
                from,
                to: before,
            });
        }
    }
    apply(&store, &mut manifest, &changes, false)?;
    report.print(changes.len(), "rolled back", dest);
    Ok(())
}

/// Removes everything that was installed, and restores the foreign files that were replaced.
///
/// # Errors
/// When nothing was installed, or a file cannot be written.
pub(crate) fn uninstall(dest: &Path) -> Result<()> {
    let store = Store::open(dest)?;
    let mut manifest = store.manifest()?;
    let (mut changes, mut report) = (Vec::new(), Report::default());
    for (name, installed) in manifest.files.clone() {
        match Found::look(&store, &manifest, &name)? {
            Found::Ours(content) => {
                report.say(
                    &name,
                    match &installed.original {
                        Some(_) => "restored the foreign file",
                        None => "removed",
                    },
                );
                changes.push(Change {
                    name,
                    from: Some(content),
                    to: installed.original,
                });
            }
            Found::Nothing => report.say(&name, "is gone already"),
            Found::Foreign(_) | Found::Special => {
                report.say(&name, "left alone, since it has been replaced by others");
            }
        }
    }
    apply(&store, &mut manifest, &changes, false)?;
    store.destroy()?;
    report.print(changes.len(), "uninstalled", dest);
    Ok(())
}

/// Makes changes; `continues` says whether they belong to an interrupted earlier change. The
/// manifest is written before and after them, so that an installer that was killed between
/// two of them knows all files as its own.
fn apply(
    store: &Store,
    manifest: &mut Manifest,
    changes: &[Change],
    continues: bool,
) -> Result<()> {
    if changes.is_empty() && !manifest.was_interrupted() {
        return Ok(());
    }
    for change in changes {
        match &change.from {
            Some(content) if !manifest.is_ours(content) => store.keep(&change.name, content)?,
            _ => {}
        }
    }
    manifest.begin(changes, continues);
    store.write_manifest(manifest)?;
    for change in changes {
        match &change.to {
            Some(content) => store.install(&change.name, content)?,
            None => store.remove(&change.name)?,
        }
    }
    store.sync_names()?;
    manifest.end();
    store.write_manifest(manifest)?;
    store.collect(manifest)
}

/// What is said of each name once all is done.
#[derive(Default)]
struct Report(Vec<String>);

impl Report {
    fn say(&mut self, name: &str, what: impl Display) {
        self.0.push(format!("{name}: {what}\n"));
    }

    fn print(mut self, changed: usize, verb: &str, dest: &Path) {
        let dest = dest.display();
        self.0.push(match changed {
            0 => format!("nothing to do in {dest}\n"),
            _ => format!("{verb} in {dest}: {changed} files\n"),
        });
        // Nobody may be listening, and all is done.
        let _ = io::stdout().write_all(self.0.concat().as_bytes());
    }
}
