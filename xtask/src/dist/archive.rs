//! Release files whose bytes depend only on names and contents, and their checksums.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{build, commands, project};

/// Programs that print checksums, and the suffixes of their files. Installers of upstream's tarballs read any of them.
const SUMS: &[(&str, &str)] = &[
    ("sha1sum", "sha1"),
    ("sha256sum", "sha256"),
    ("sha512sum", "sha512"),
];

/// The directory of release files, created if it does not exist.
pub(crate) fn release_dir() -> Result<PathBuf> {
    let dir = project::root().join("release");
    fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    Ok(dir)
}

/// An empty directory below `target/`.
pub(crate) fn stage(name: &str) -> Result<PathBuf> {
    let stage = project::target().join("dist-stage").join(name);
    if stage.exists() {
        fs::remove_dir_all(&stage).with_context(|| stage.display().to_string())?;
    }
    fs::create_dir_all(&stage).with_context(|| stage.display().to_string())?;
    Ok(stage)
}

/// Copies `file` into the directory `stage` with this mode.
pub(crate) fn put(file: &Path, stage: &Path, mode: &str) -> Result<()> {
    commands::run(
        Command::new("install")
            .args(["-m", mode])
            .arg(file)
            .arg(stage),
    )
}

/// Packs a directory into the compressed tarball `name` of the release, with checksums.
pub(crate) fn pack(stage: &Path, name: &str) -> Result<()> {
    let archive = release_dir()?.join(name);
    let tar = archive.with_extension("tar");
    self::tar(stage, &tar)?;
    commands::run(
        Command::new("gzip")
            .args(["--no-name", "--best", "--force"])
            .arg(&tar),
    )?;
    // From the name that gzip chooses to the final one.
    let made = tar.with_extension("tar.gz");
    fs::rename(&made, &archive).with_context(|| made.display().to_string())?;
    finish(&archive)
}

/// Packs a directory into a tar file.
pub(crate) fn tar(stage: &Path, tar: &Path) -> Result<()> {
    let mut command = Command::new("tar");
    command
        .args([
            "--sort=name",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
            "--format=gnu",
            "--mode=go-w",
        ])
        .arg(format!("--mtime=@{}", build::source_date()))
        .arg("--directory")
        .arg(stage)
        .arg("--create")
        .arg("--file")
        .arg(tar)
        .arg(".");
    commands::run(&mut command)
}

/// Writes the checksums of a release file and prints its size.
pub(crate) fn finish(file: &Path) -> Result<()> {
    let name = file.file_name().unwrap_or_default();
    let dir = release_dir()?;
    for (program, suffix) in SUMS {
        // A relative name, so that "sha256sum --check" works in any directory.
        let sum = commands::read(Command::new(program).current_dir(&dir).arg(name))?;
        let path = dir.join(format!("{}.{suffix}", name.to_string_lossy()));
        fs::write(&path, sum + "\n").with_context(|| path.display().to_string())?;
    }
    let size = fs::metadata(file)
        .with_context(|| file.display().to_string())?
        .len();
    println!("{} ({size} bytes)", project::shown(file));
    Ok(())
}
