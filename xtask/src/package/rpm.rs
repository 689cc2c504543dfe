//! Packages for rpm, written by `rpmbuild` from one generated spec file.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::catalogue::{self, File, PROJECT, Package};
use super::version::{Relation, of_package};
use super::{Format, commit_date, empty_stage, maintainer, open_directories, stage, wrapped};
use crate::build::{self, Build};
use crate::machine::{self, Need};
use crate::{commands, project};

const NEEDS: &[Need] = &[Need {
    what: "rpmbuild",
    package: "rpm",
    why: "writes .rpm packages",
}];

/// Settings that make packages depend on their content only; packages without binaries also not on the platform of
/// the build that they are written with.
const REPRODUCIBLE: &str = "\
%global use_source_date_epoch_as_buildtime 1
%global clamp_mtime_to_source_date_epoch 1
%global _buildhost cni-plugins-rs
%global _binary_payload w9.xzdio
%global _build_id_links none
%global debug_package %{nil}
%global __os_install_post %{nil}
%global _target_platform linux
%global optflags %{nil}
";

/// rpm's name of an architecture.
fn architecture(platform: &str) -> &str {
    match platform {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        "arm" => "armv7hl",
        "armv6" => "armv6hl",
        "mips64le" => "mips64el",
        "loong64" => "loongarch64",
        same => same,
    }
}

/// Writes the packages of a release into `out`. Returns their paths.
pub(crate) fn write(build: &Build, version: &str, out: &Path) -> Result<Vec<PathBuf>> {
    machine::provide(NEEDS)?;
    let packages = catalogue::packages(Format::Rpm, build, version)?;
    let architecture = architecture(build.platform.name);
    let stage = empty_stage(&format!("rpm-{architecture}"))?;
    let version = of_package(version);
    let text = spec(&packages, &version, &stage.join("content"))?;
    let path = stage.join(format!("{PROJECT}.spec"));
    fs::write(&path, text).with_context(|| path.display().to_string())?;

    open_directories(&stage.join("content"))?;
    let mut command = Command::new("rpmbuild");
    command
        .env("SOURCE_DATE_EPOCH", build::source_date())
        .args([
            "-bb",
            "--quiet",
            "--target",
            &format!("{architecture}-linux"),
        ])
        .args(["--define", &format!("_topdir {}", stage.display())])
        .arg(&path);
    commands::read(&mut command)?;

    let mut paths = Vec::new();
    for package in &packages {
        let architecture = if is_noarch(package) {
            "noarch"
        } else {
            architecture
        };
        let file = format!("{}-{version}.{architecture}.rpm", package.name);
        let made = stage.join("RPMS").join(architecture).join(&file);
        let path = out.join(&file);
        fs::copy(&made, &path).with_context(|| made.display().to_string())?;
        paths.push(path);
    }
    Ok(paths)
}

/// The main package of a spec file cannot be independent of the architecture while others are not.
fn is_noarch(package: &Package) -> bool {
    !package.has_binaries && package.name != PROJECT
}

/// The spec file. It also writes the packages' content below `content`.
fn spec(packages: &[Package], version: &str, content: &Path) -> Result<String> {
    let (number, revision) = version.split_once('-').unwrap_or((version, "1"));
    let mut text = REPRODUCIBLE.to_owned();
    let mut files = String::new();
    let main_first = packages.iter().rev();
    for package in main_first {
        let (section, option) = match package.name.as_str() {
            PROJECT => (
                format!("Name: {PROJECT}\nVersion: {number}\nRelease: {revision}\n"),
                String::new(),
            ),
            name => (format!("%package -n {name}\n"), format!(" -n {name}")),
        };
        let _ = write!(text, "\n{section}{}", preamble(package));
        let _ = write!(text, "\n%description{option}\n");
        for line in wrapped(&package.description) {
            let _ = writeln!(text, "{}", line.replace('%', "%%"));
        }
        let _ = write!(files, "\n{}", package.scripts.rpm);
        let _ = write!(files, "\n%files{option}\n%defattr(-,root,root,-)\n");
        files += &owned(package, content)?;
    }
    let _ = write!(
        text,
        "\n%install\nmkdir -p %{{buildroot}}\ncp -a {}/. %{{buildroot}}/\n{files}\n%changelog\n* {} {} - {version}\n\
         - The changes of this version are in the project's CHANGELOG.md.\n",
        content.display(),
        commit_date("+%a %b %d %Y")?,
        maintainer(),
    );
    Ok(text)
}

/// The tags of a package.
fn preamble(package: &Package) -> String {
    let mut text = format!(
        "Summary: {}\nLicense: Apache-2.0\nPackager: {}\n",
        package.summary,
        maintainer()
    );
    let homepage = env!("CARGO_PKG_REPOSITORY");
    if !homepage.is_empty() {
        let _ = writeln!(text, "URL: {homepage}");
    }
    if is_noarch(package) {
        text += "BuildArch: noarch\n";
    }
    text += "AutoReqProv: no\n";
    // Not Obsoletes: whoever only has the repository enabled keeps the distribution's package at an upgrade.
    let relations = [
        ("Requires", &package.depends),
        ("Suggests", &package.suggests),
        ("Provides", &package.provides),
        ("Conflicts", &package.supersedes),
    ];
    for (tag, relations) in relations {
        for relation in relations {
            let _ = writeln!(text, "{tag}: {}", Relation::rpm(relation));
        }
    }
    text
}

/// Stages the files of a package. Returns its list of files.
fn owned(package: &Package, content: &Path) -> Result<String> {
    let license = project::root().join("LICENSE");
    let license = File::data(
        format!("/usr/share/licenses/{}/LICENSE", package.name),
        fs::read(&license).with_context(|| license.display().to_string())?,
    );
    let files: Vec<&File> = package.files.iter().chain([&license]).collect();
    let mut text = String::new();
    let plugins = Format::Rpm.plugin_dir();
    if package
        .files
        .iter()
        .any(|file| file.path.starts_with(&format!("{plugins}/")))
    {
        let _ = writeln!(text, "%dir {plugins}");
    }
    let _ = writeln!(text, "%dir /usr/share/licenses/{}", package.name);
    for path in stage(&files, content)? {
        let mark = match () {
            () if path.starts_with("/usr/share/licenses/") => "%license ",
            () if path.starts_with("/usr/share/man/") => "%doc ",
            () => "",
        };
        let _ = writeln!(text, "{mark}{path}");
    }
    Ok(text)
}
