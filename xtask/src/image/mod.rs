//! `cargo xtask image`: a container image with the all-in-one executable, which installs the plugins on the host, and
//! Kubernetes manifests for it.
//!
//! It is an OCI image layout, written without a container engine: a directory of blobs named by their hashes, and the
//! same as one tar file. The same executables give the same bytes.

mod layout;
mod manifests;
#[cfg(test)]
mod tests;

use std::fs;

use anyhow::{Context, Result};

use crate::build::{self, Selection};
use crate::dist::archive;
use crate::project;
use layout::Layout;

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (reference, rest) = reference(arguments)?;
    let selection = Selection::parse(&rest)?;
    let mut images = Vec::new();
    for platform in selection.platforms()? {
        images.push((platform, build::all_in_one(platform, selection.no_build)?));
    }
    let release = archive::release_dir()?;
    let name = format!("cni-plugins-image-{}", project::version());
    let dir = release.join(&name);
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| dir.display().to_string())?;
    }
    let layout = Layout::create(&dir)?;
    for (platform, executable) in &images {
        layout.add(platform, executable)?;
    }
    layout.finish(&reference)?;
    let file = release.join(format!("{name}.tar"));
    archive::tar(&dir, &file)?;
    println!("{}", project::shown(&dir));
    archive::finish(&file)?;
    for path in manifests::write(&release, &reference)? {
        println!("{}", project::shown(&path));
    }
    Ok(())
}

/// Takes `--name REFERENCE` out of the arguments: the image's name in the manifests. The default is one that only a
/// node on which it was loaded resolves.
fn reference(arguments: &[String]) -> Result<(String, Vec<String>)> {
    let mut rest = arguments.to_vec();
    let Some(option) = rest.iter().position(|argument| argument == "--name") else {
        return Ok((
            format!("localhost/cni-plugins:{}", project::version()),
            rest,
        ));
    };
    rest.remove(option);
    let missing = "--name needs the image's name, such as registry.example/cni-plugins:2.0.0";
    match option < rest.len() {
        true => Ok((rest.remove(option), rest)),
        false => anyhow::bail!("{missing}"),
    }
}
