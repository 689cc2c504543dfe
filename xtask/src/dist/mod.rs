//! `cargo xtask dist`: the files of a release, in `release/`.
//!
//! Names and layout of the tarballs are the same as upstream's, so that installers need no change. The same commit and
//! toolchain give the same bytes.

pub(crate) mod archive;
mod components;
mod notices;
mod sbom;
pub(crate) mod source;
pub(crate) mod sysext;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::build::{self, Build, Selection};
use crate::package::{self, Publication};
use crate::project;
use components::Component;

/// The files besides the binaries.
const DOCUMENTS: &[&str] = &["LICENSE", "README.md"];

/// The file of the licenses of what is linked into the binaries.
pub(crate) const NOTICES: &str = "LICENSE.third-party";

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let mut arguments = arguments.to_vec();
    let publication = Publication::take(&mut arguments)?;
    let selection = Selection::parse(&arguments)?;
    let linked = components::linked()?;
    components::check_cryptography(&linked)?;
    let notices = project::target().join(NOTICES);
    write(&notices, &notices::text(&linked)?)?;
    for platform in selection.platforms()? {
        let build = build::for_platform(platform, selection.no_build)?;
        tarballs(&build, &notices)?;
        sysext::write(&build)?;
    }
    bill_of_materials(&linked)?;
    if publication.is_some() {
        package::release(&selection, &archive::release_dir()?, publication.as_ref())?;
    }
    Ok(())
}

/// The licenses of what is linked into the binaries.
pub(crate) fn third_party() -> Result<String> {
    notices::text(&components::linked()?)
}

/// Packs the plugins for a platform, the executable that contains all of them with links to it, and the tools.
fn tarballs(build: &Build, notices: &Path) -> Result<()> {
    let (platform, version) = (build.platform.name, project::version());
    let stage = stage(notices)?;
    for binary in &build.binaries {
        archive::put(&binary.path, &stage, "0755")?;
    }
    archive::pack(
        &stage,
        &format!("cni-plugins-linux-{platform}-{version}.tgz"),
    )?;

    let stage = self::stage(notices)?;
    archive::put(&build.all_in_one.path, &stage, "0755")?;
    for binary in &build.binaries {
        let link = stage.join(&binary.name);
        symlink(&build.all_in_one.name, &link).with_context(|| link.display().to_string())?;
    }
    archive::pack(
        &stage,
        &format!("cni-plugins-all-in-one-linux-{platform}-{version}.tgz"),
    )?;

    for tool in build.tools() {
        let stage = self::stage(notices)?;
        archive::put(&tool.path, &stage, "0755")?;
        let name = &tool.name;
        archive::pack(&stage, &format!("{name}-linux-{platform}-{version}.tgz"))?;
    }
    Ok(())
}

/// A directory that contains the documents of a tarball.
fn stage(notices: &Path) -> Result<PathBuf> {
    let stage = archive::stage("tarball")?;
    for name in DOCUMENTS {
        archive::put(&project::root().join(name), &stage, "0644")?;
    }
    archive::put(notices, &stage, "0644")?;
    Ok(stage)
}

fn bill_of_materials(linked: &[Component]) -> Result<()> {
    let document = sbom::document(linked)?;
    let name = format!("cni-plugins-{}.cdx.json", project::version());
    let path = archive::release_dir()?.join(name);
    write(&path, &format!("{document:#}\n"))?;
    archive::finish(&path)
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| path.display().to_string())
}
