//! A system extension image (systemd-sysext) for hosts whose `/usr` is read-only.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::archive;
use crate::build::{self, Build};
use crate::machine::{self, Need};
use crate::{commands, project};

/// The name under which the image must be installed, without `.raw`: that of its `extension-release` file.
const NAME: &str = "cni-plugins-rs";

/// Where the plugins are, on the host. An extension in `/opt` would make `/opt/cni/bin` read-only for everybody.
const PLUGINS: &str = "usr/libexec/cni";

pub(crate) const SQUASHFS: Need = Need {
    what: "mksquashfs",
    package: "squashfs-tools",
    why: "writes the system extension image",
};

/// Writes the image for a platform.
///
/// # Errors
///
/// When squashfs-tools are missing or fail.
pub(crate) fn write(build: &Build) -> Result<()> {
    machine::provide(&[SQUASHFS])?;
    let root = archive::stage("sysext")?;
    let names: Vec<&str> = build
        .binaries
        .iter()
        .map(|binary| binary.name.as_str())
        .collect();
    fill(
        &root,
        &build.all_in_one.path,
        &names,
        build.platform.systemd,
    )?;
    let image = archive::release_dir()?.join(format!(
        "{NAME}-linux-{}-{}.raw",
        build.platform.name,
        project::version()
    ));
    pack(&root, &image)?;
    archive::finish(&image)
}

/// Writes the content of the image.
fn fill(root: &Path, all_in_one: &Path, plugins: &[&str], architecture: &str) -> Result<()> {
    let dir = |path: &str| -> Result<std::path::PathBuf> {
        let dir = root.join(path);
        fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        Ok(dir)
    };
    let bin = dir(PLUGINS)?;
    archive::put(all_in_one, &bin, "0755")?;
    let target = all_in_one.file_name().unwrap_or_default();
    // For hosts whose runtime looks in /opt/cni/bin. "L" leaves alone what is there.
    let mut links = String::from("d /opt/cni/bin 0755\n");
    for plugin in plugins {
        let link = bin.join(plugin);
        symlink(target, &link).with_context(|| link.display().to_string())?;
        writeln!(links, "L /opt/cni/bin/{plugin} - - - - /{PLUGINS}/{plugin}")?;
    }
    let texts = [
        ("usr/lib/tmpfiles.d", format!("{NAME}.conf"), links),
        (
            "usr/lib/extension-release.d",
            format!("extension-release.{NAME}"),
            // Static binaries run on any distribution.
            format!("ID=_any\nARCHITECTURE={architecture}\n"),
        ),
    ];
    for (place, name, text) in texts {
        let path = dir(place)?.join(name);
        fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    let mut modes = Command::new("chmod");
    commands::run(modes.args(["-R", "u=rwX,go=rX"]).arg(root))
}

/// Writes an image whose times are at most those of the commit.
fn pack(root: &Path, image: &Path) -> Result<()> {
    let mut mksquashfs = Command::new("mksquashfs");
    mksquashfs.arg(root).arg(image).args([
        "-all-root",
        "-noappend",
        "-no-xattrs",
        "-quiet",
        "-no-progress",
    ]);
    commands::read(mksquashfs.env("SOURCE_DATE_EPOCH", build::source_date())).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_the_plugins_and_the_same_bytes_each_time() {
        machine::provide(&[SQUASHFS]).expect("squashfs-tools");
        let image = |name: &str| {
            let dir = tempfile::tempdir().expect("a directory");
            let (root, binary) = (dir.path().join(name), dir.path().join("cni-plugins"));
            fs::create_dir(&root).expect("a root");
            fs::write(&binary, "binary").expect("a binary");
            fill(&root, &binary, &["bridge", "portmap"], "x86-64").expect("content");
            let image = dir.path().join("image.raw");
            pack(&root, &image).expect("an image");
            let mut list = Command::new("unsquashfs");
            let files = commands::read(list.args(["-llc", "-d", ""]).arg(&image)).expect("a list");
            (fs::read(&image).expect("an image"), files)
        };
        let (first, files) = image("one");
        assert!(first == image("two").0, "the bytes differ");
        for line in [
            "/usr/libexec/cni/bridge -> cni-plugins",
            "/usr/lib/extension-release.d/extension-release.cni-plugins-rs",
            "/usr/lib/tmpfiles.d/cni-plugins-rs.conf",
        ] {
            assert!(files.contains(line), "no {line} in\n{files}");
        }
        assert!(
            files.lines().all(|line| line.contains("root/root")),
            "{files}"
        );
    }
}
