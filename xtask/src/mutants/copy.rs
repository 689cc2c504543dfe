//! A copy of the workspace in which mutants are built, with a build directory of its own.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::hash;
use super::list::Mutant;
use crate::{commands, project};

/// The directory below the target directory.
const DIR: &str = "mutants";

/// The copy.
pub(super) struct Copy {
    /// Its sources.
    root: PathBuf,
    /// Everything: sources, build directory, logs, results.
    dir: PathBuf,
    /// The hash of all files.
    pub(super) hash: String,
}

/// A mutant in the copy. The original file is restored when this value is dropped.
pub(super) struct Applied<'a> {
    copy: &'a Copy,
    file: &'a str,
    original: String,
}

impl Copy {
    /// Creates the copy, or updates it. Files that are equal keep their times, so that cargo does not rebuild them.
    pub(super) fn new() -> Result<Copy> {
        let dir = project::target().join(DIR);
        let root = dir.join("source");
        let mut list = Command::new("git");
        list.current_dir(project::root()).args([
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
        ]);
        let files = commands::read(&mut list)?;
        let mut known = BTreeSet::new();
        let mut hashes = String::new();
        for file in files.lines() {
            // A file that git knows may have been deleted.
            let Ok(content) = fs::read(project::root().join(file)) else {
                continue;
            };
            let target = root.join(file);
            copy_if_different(&project::root().join(file), &target)
                .with_context(|| target.display().to_string())?;
            hashes += &format!("{file} {:x}\n", hash(&String::from_utf8_lossy(&content)));
            known.insert(target);
        }
        remove_others(&root, &known).with_context(|| root.display().to_string())?;
        fs::create_dir_all(dir.join("logs")).with_context(|| dir.display().to_string())?;
        Ok(Copy {
            hash: format!("{:016x}", hash(&hashes)),
            root,
            dir,
        })
    }

    /// The directory of the programs under test.
    pub(super) fn bin(&self) -> PathBuf {
        self.dir.join("bin")
    }

    /// Fills [`Copy::bin`]: all programs without a mutant, except that those of `mutated` are the ones just built.
    pub(super) fn install(&self, mutated: &[&str]) -> Result<()> {
        let (clean, built) = (self.dir.join("clean"), self.dir.join("build/debug"));
        let bin = self.bin();
        fs::create_dir_all(&bin).with_context(|| bin.display().to_string())?;
        for entry in fs::read_dir(&clean).with_context(|| clean.display().to_string())? {
            let name = entry?.file_name();
            let is_mutated = mutated.iter().any(|program| name == *program);
            let from = if is_mutated { &built } else { &clean }.join(&name);
            let to = bin.join(&name);
            // A program that is running cannot be written, but it can be replaced.
            let _ = fs::remove_file(&to);
            fs::hard_link(&from, &to).with_context(|| from.display().to_string())?;
        }
        Ok(())
    }

    /// Keeps a program that was built without a mutant: it must remain, whatever is built meanwhile.
    pub(super) fn keep(&self, program: &Path, dir: &str) -> Result<PathBuf> {
        let name = program.file_name().unwrap_or_default();
        let kept = self.dir.join(dir).join(name);
        copy_if_different(program, &kept).with_context(|| program.display().to_string())?;
        Ok(kept)
    }

    /// A file beside the sources.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The log of a mutant, which is continued.
    pub(super) fn log(&self, id: &str) -> Result<File> {
        let path = self.dir.join("logs").join(format!("{id}.log"));
        let log = File::options().create(true).append(true).open(&path);
        log.with_context(|| path.display().to_string())
    }

    /// Returns the text of a file of the sources.
    pub(super) fn read(&self, file: &str) -> Result<String> {
        fs::read_to_string(self.root.join(file)).with_context(|| file.to_owned())
    }

    /// Applies a mutant.
    pub(super) fn apply<'a>(&'a self, mutant: &'a Mutant) -> Result<Applied<'a>> {
        let original = self.read(&mutant.file)?;
        let mutated = mutant.apply(&original)?;
        let applied = Applied {
            copy: self,
            file: &mutant.file,
            original,
        };
        fs::write(self.root.join(&mutant.file), mutated).with_context(|| mutant.file.clone())?;
        Ok(applied)
    }

    /// A cargo command in the copy, without network.
    pub(super) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = commands::cargo(&self.root, arguments);
        command
            .env("CARGO_TARGET_DIR", self.dir.join("build"))
            .env("CARGO_NET_OFFLINE", "true")
            // A mutant changes one function.
            .env("CARGO_INCREMENTAL", "1");
        command
    }
}

impl Drop for Applied<'_> {
    fn drop(&mut self) {
        // After a failure, the next run restores it.
        let _ = fs::write(self.copy.root.join(self.file), &self.original);
    }
}

fn copy_if_different(from: &Path, to: &Path) -> io::Result<()> {
    if fs::read(to).is_ok_and(|old| fs::read(from).is_ok_and(|new| old == new)) {
        return Ok(());
    }
    fs::create_dir_all(to.parent().unwrap_or(to))?;
    fs::copy(from, to).map(drop)
}

/// Removes files that are not in `known`.
fn remove_others(dir: &Path, known: &BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let path = entry.path();
        match entry.file_type()?.is_dir() {
            true => remove_others(&path, known)?,
            false if !known.contains(&path) => fs::remove_file(&path)?,
            false => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_files_keep_their_times_and_others_are_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = |name: &str| dir.path().join(name);
        fs::write(path("original"), "text").expect("written");
        for name in ["copy/a/kept", "copy/a/old"] {
            copy_if_different(&path("original"), &path(name)).expect("copied");
        }
        let kept = path("copy/a/kept");
        let time = || {
            fs::metadata(&kept)
                .and_then(|m| m.modified())
                .expect("time")
        };
        let before = time();
        copy_if_different(&path("original"), &kept).expect("nothing to do");
        remove_others(&path("copy"), &BTreeSet::from([kept.clone()])).expect("removed");
        assert_eq!((time(), path("copy/a/old").exists()), (before, false));
        fs::write(path("original"), "new").expect("written");
        copy_if_different(&path("original"), &kept).expect("copied");
        assert_eq!(fs::read(&kept).expect("the file"), b"new");
    }
}
