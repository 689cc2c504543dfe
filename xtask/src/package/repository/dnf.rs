//! The part for dnf: signed packages and a signed index, `repodata`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::{Publication, copy_beside, publish, unpublished};
use crate::{build, commands};

/// Adds packages and writes the index of all that are there.
pub(super) fn add<'a>(
    packages: impl Iterator<Item = &'a PathBuf>,
    dir: &Path,
    publication: &Publication,
) -> Result<()> {
    let mut new = Vec::new();
    for package in packages {
        if let Some(place) = unpublished(package, &dir.join("packages"), header)? {
            new.push((copy_beside(package, &place)?, place));
        }
    }
    if !new.is_empty() {
        let mut command = Command::new("rpmsign");
        command
            .args(["--define", &format!("_gpg_name {}", publication.key)])
            // The default of some distributions is gpg2, which others do not have.
            .args(["--define", "__gpg /usr/bin/gpg"])
            .arg("--addsign")
            .args(new.iter().map(|(new, _)| new));
        commands::read(&mut command)?;
    }
    for (new, place) in &new {
        publish(new, place)?;
    }
    let mut command = Command::new("createrepo_c");
    command
        .args(["--quiet", "--no-database", "--set-timestamp-to-revision"])
        .args(["--revision", &build::source_date()])
        .arg(dir);
    commands::read(&mut command)?;
    let index = dir.join("repodata/repomd.xml");
    publication.sign("--detach-sign", &index, &index.with_extension("xml.asc"))
}

/// The digest of a package's header, which covers its content. A signature is outside of it.
fn header(package: &Path) -> Result<Vec<u8>> {
    let mut command = Command::new("rpm");
    command.args([
        "--query",
        "--nosignature",
        "--queryformat",
        "%{SHA256HEADER}",
        "--package",
    ]);
    Ok(commands::read(command.arg(package))?.into_bytes())
}
