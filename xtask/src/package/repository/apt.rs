//! The part for apt: `pool` has the packages, `dists/stable` the signed index.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::super::catalogue::PROJECT;
use super::{Publication, copy_beside, publish, unpublished};
use crate::commands;

/// Adds packages and writes the index of all that are there.
pub(super) fn add<'a>(
    packages: impl Iterator<Item = &'a PathBuf>,
    dir: &Path,
    publication: &Publication,
) -> Result<()> {
    let pool = dir.join("pool");
    for package in packages {
        if let Some(place) = unpublished(package, &pool, |path| Ok(fs::read(path)?))? {
            publish(&copy_beside(package, &place)?, &place)?;
        }
    }
    let suite = dir.join("dists/stable");
    for architecture in architectures(&pool)? {
        let index = suite.join(format!("main/binary-{architecture}"));
        fs::create_dir_all(&index).with_context(|| index.display().to_string())?;
        let mut command = Command::new("apt-ftparchive");
        command.current_dir(dir);
        let packages = commands::read(command.args(["--arch", &architecture, "packages", "pool"]))?;
        let path = index.join("Packages");
        fs::write(&path, packages + "\n").with_context(|| path.display().to_string())?;
        let mut gzip = Command::new("gzip");
        commands::run(
            gzip.args(["--no-name", "--best", "--keep", "--force"])
                .arg(&path),
        )?;
    }
    sign(&suite, publication)
}

/// The architectures of packages, which are the ends of their names. The package of links has none.
fn architectures(pool: &Path) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(pool).with_context(|| pool.display().to_string())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let architecture = name.trim_end_matches(".deb").rsplit('_').next();
        found.extend(architecture.filter(|a| *a != "all").map(String::from));
    }
    Ok(found)
}

fn sign(suite: &Path, publication: &Publication) -> Result<()> {
    let [release, inline, detached] =
        ["Release", "InRelease", "Release.gpg"].map(|name| suite.join(name));
    for path in [&release, &inline, &detached] {
        // They must not become part of the new index.
        if path.exists() {
            fs::remove_file(path).with_context(|| path.display().to_string())?;
        }
    }
    let mut command = Command::new("apt-ftparchive");
    let label = format!("Label={PROJECT}");
    let fields = [
        label.as_str(),
        &format!("Origin={PROJECT}"),
        "Suite=stable",
        "Codename=stable",
        "Components=main",
        "Description=CNI plugins",
        "MD5=false",
        "SHA1=false",
    ];
    for field in fields {
        command.args(["-o", &format!("APT::FTPArchive::Release::{field}")]);
    }
    let architectures: Vec<String> = architectures(&suite.join("../../pool"))?
        .into_iter()
        .collect();
    command.args([
        "-o",
        &format!(
            "APT::FTPArchive::Release::Architectures={}",
            architectures.join(" ")
        ),
    ]);
    let text = commands::read(command.arg("release").arg(suite))?;
    fs::write(&release, text + "\n").with_context(|| release.display().to_string())?;
    publication.sign("--clear-sign", &release, &inline)?;
    publication.sign("--detach-sign", &release, &detached)
}
