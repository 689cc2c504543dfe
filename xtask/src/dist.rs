//! `cargo xtask dist`: the release tarball for the host platform.
//!
//! Name and layout are the same as upstream's, so that installers need no change. The same commit and toolchain give
//! the same bytes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{build, commands, no_build, project};

/// The files besides the binaries.
const DOCUMENTS: &[&str] = &["LICENSE", "README.md"];

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let binaries = build::provide(no_build(arguments)?)?;

    let root = project::root();
    let release = root.join("release");
    let stage = project::target().join("dist-stage");
    if stage.exists() {
        fs::remove_dir_all(&stage).with_context(|| stage.display().to_string())?;
    }
    for dir in [&release, &stage] {
        fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    }
    for binary in &binaries {
        put(&binary.path, &stage, "0755")?;
    }
    for name in DOCUMENTS {
        put(&root.join(name), &stage, "0644")?;
    }
    let archive = format!(
        "cni-plugins-linux-{}-{}.tgz",
        architecture(),
        project::version()
    );
    pack(&stage, &release.join(&archive))?;
    for (program, suffix) in [("sha256sum", "sha256"), ("sha512sum", "sha512")] {
        // A relative name, so that "sha256sum --check" works in any directory.
        let sum = commands::read(Command::new(program).current_dir(&release).arg(&archive))?;
        let path = release.join(format!("{archive}.{suffix}"));
        fs::write(&path, sum + "\n").with_context(|| path.display().to_string())?;
    }
    let size = fs::metadata(release.join(&archive))
        .with_context(|| archive.clone())?
        .len();
    println!(
        "\n{} ({size} bytes), with .sha256 and .sha512",
        release.join(&archive).display()
    );
    Ok(())
}

/// Copies `file` into `stage` with this mode.
fn put(file: &Path, stage: &Path, mode: &str) -> Result<()> {
    commands::run(
        Command::new("install")
            .args(["-m", mode])
            .arg(file)
            .arg(stage),
    )
}

/// Creates a tarball whose bytes depend only on names and contents.
fn pack(stage: &Path, archive: &Path) -> Result<()> {
    let tar: PathBuf = archive.with_extension("tar");
    let mut command = Command::new("tar");
    command
        .args([
            "--sort=name",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
            "--format=gnu",
        ])
        .arg(format!("--mtime=@{}", build::source_date()))
        .arg("--directory")
        .arg(stage)
        .arg("--create")
        .arg("--file")
        .arg(&tar)
        .arg(".");
    commands::run(&mut command)?;
    commands::run(
        Command::new("gzip")
            .args(["--no-name", "--best", "--force"])
            .arg(&tar),
    )?;
    // From the name that gzip chooses to the final one.
    let made = tar.with_extension("tar.gz");
    fs::rename(&made, archive).with_context(|| made.display().to_string())
}

/// Go's name of this machine's architecture, as in upstream's file names.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        "mips64" => "mips64le",
        other => other,
    }
}
