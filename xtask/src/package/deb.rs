//! Packages for dpkg, written by `dpkg-deb`.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::catalogue::{self, File, PROJECT, Package};
use super::version::{Relation, of_package};
use super::{Format, commit_date, empty_stage, maintainer, open_directories, put, stage, wrapped};
use crate::build::{self, Build};
use crate::commands;
use crate::machine::{self, Need};

const NEEDS: &[Need] = &[Need {
    what: "dpkg-deb",
    package: "dpkg",
    why: "writes .deb packages",
}];

/// Debian's name of an architecture, or `None` if Debian has none for it.
pub(crate) fn architecture(platform: &str) -> Option<&str> {
    match platform {
        "arm" => Some("armhf"),
        // Debian's armel is older and has no floating-point unit.
        "armv6" => None,
        "ppc64le" => Some("ppc64el"),
        "mips64le" => Some("mips64el"),
        same => Some(same),
    }
}

/// Writes the packages of a release into `out`. Returns their paths.
pub(crate) fn write(build: &Build, version: &str, out: &Path) -> Result<Vec<PathBuf>> {
    let Some(architecture) = architecture(build.platform.name) else {
        return Ok(Vec::new());
    };
    machine::provide(NEEDS)?;
    let packages = catalogue::packages(Format::Deb, build, version)?;
    let stage = empty_stage(&format!("deb-{architecture}"))?;
    let version = of_package(version);
    let mut paths = Vec::new();
    for package in &packages {
        let root = stage.join(&package.name);
        let architecture = if package.has_binaries {
            architecture
        } else {
            "all"
        };
        fill(package, &root, architecture, &version)?;
        open_directories(&root)?;
        let path = out.join(format!("{}_{version}_{architecture}.deb", package.name));
        let mut command = Command::new("dpkg-deb");
        command
            .env("SOURCE_DATE_EPOCH", build::source_date())
            .args([
                "--root-owner-group",
                "-Zxz",
                "-z9",
                "--threads-max=1",
                "--build",
            ])
            .arg(&root)
            .arg(&path);
        commands::read(&mut command)?;
        paths.push(path);
    }
    Ok(paths)
}

/// Writes the content of a package and its control files.
fn fill(package: &Package, root: &Path, architecture: &str, version: &str) -> Result<()> {
    let documents = documents(package, version)?;
    let files: Vec<&File> = package.files.iter().chain(&documents).collect();
    let paths = stage(&files, root)?;
    let size = installed_size(root, &paths)?;
    let names: Vec<&str> = paths
        .iter()
        .map(|path| path.trim_start_matches('/'))
        .collect();
    let sums = commands::read(Command::new("md5sum").current_dir(root).args(&names))?;
    let control_dir = root.join("DEBIAN");
    put(&control_dir.join("md5sums"), sums + "\n", 0o644)?;
    put(
        &control_dir.join("control"),
        control(package, architecture, version, size),
        0o644,
    )?;
    for (name, text) in package.scripts.deb {
        let mode = if *name == "triggers" { 0o644 } else { 0o755 };
        put(&control_dir.join(name), text, mode)?;
    }
    Ok(())
}

/// The files that the policy of Debian wants in every package.
fn documents(package: &Package, version: &str) -> Result<Vec<File>> {
    let name = &package.name;
    let dir = format!("/usr/share/doc/{name}");
    let copyright = include_str!("../../packaging/copyright.in");
    let mut overrides =
        "# These packages are not uploaded to the archive of Debian, which has no report to close.\n".to_owned();
    let _ = writeln!(overrides, "{name}: initial-upload-closes-no-bugs *");
    if package.has_binaries {
        overrides += "# Static on purpose: one build for every distribution and container image.\n";
        let _ = writeln!(overrides, "{name}: statically-linked-binary *");
    }
    if package.files.iter().any(is_started_by_firewalld) {
        overrides += "# The unit has work to do only while firewalld runs.\n";
        let _ = writeln!(
            overrides,
            "{name}: systemd-service-file-refers-to-unusual-wantedby-target firewalld.service *"
        );
    }
    let changelog = format!(
        "{PROJECT} ({version}) stable; urgency=medium\n\n  \
         * The changes of this version are in the project's CHANGELOG.md.\n\n \
         -- {}  {}\n",
        maintainer(),
        commit_date("+%a, %d %b %Y %H:%M:%S +0000")?
    );
    let copyright = copyright.replace("@YEAR@", &commit_date("+%Y")?);
    Ok(vec![
        File::data(format!("{dir}/copyright"), copyright),
        File::data(format!("{dir}/changelog.Debian"), changelog),
        File::data(format!("/usr/share/lintian/overrides/{name}"), overrides),
    ])
}

/// Whether the file is a unit that systemd starts together with firewalld.
fn is_started_by_firewalld(file: &File) -> bool {
    file.path.ends_with(".service")
        && String::from_utf8_lossy(&file.content).contains("WantedBy=firewalld.service")
}

/// The space that a package takes, in KiB: each file in whole KiB.
fn installed_size(root: &Path, paths: &[String]) -> Result<u64> {
    let mut size = 0;
    for path in paths {
        let path = root.join(path.trim_start_matches('/'));
        let metadata = fs::metadata(&path).with_context(|| path.display().to_string())?;
        size += metadata.len().div_ceil(1024);
    }
    Ok(size)
}

fn control(package: &Package, architecture: &str, version: &str, size: u64) -> String {
    let mut text = format!(
        "Package: {}\nSource: {PROJECT}\nVersion: {version}\nArchitecture: {architecture}\n\
         Maintainer: {}\nInstalled-Size: {size}\n",
        package.name,
        maintainer()
    );
    // Policy 7.6.2: a package that provides what it replaces conflicts with it, and dpkg removes the other one. One
    // that only takes over files breaks it, and dpkg keeps the other one's files until it is removed.
    let against = if package.provides.is_empty() {
        "Breaks"
    } else {
        "Conflicts"
    };
    let relations = [
        ("Depends", &package.depends),
        ("Suggests", &package.suggests),
        ("Provides", &package.provides),
        (against, &package.supersedes),
        ("Replaces", &package.supersedes),
    ];
    for (field, relations) in relations {
        if !relations.is_empty() {
            let relations: Vec<String> = relations.iter().map(Relation::deb).collect();
            let _ = writeln!(text, "{field}: {}", relations.join(", "));
        }
    }
    // Programs are executed, not linked: those of one architecture serve callers of every other.
    text += "Section: net\nPriority: optional\nMulti-Arch: foreign\n";
    let homepage = env!("CARGO_PKG_REPOSITORY");
    if !homepage.is_empty() {
        let _ = writeln!(text, "Homepage: {homepage}");
    }
    let _ = writeln!(text, "Description: {}", package.summary);
    for line in wrapped(&package.description) {
        let _ = writeln!(text, " {line}");
    }
    text
}
