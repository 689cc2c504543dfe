//! `cargo xtask packages`: packages for dpkg and rpm, and the signed repository that has them.
//!
//! What is in the packages stands in [`catalogue`]; the tools of each format write them. The same commit gives the
//! same bytes; only signatures differ.

mod catalogue;
mod deb;
mod manual;
pub(crate) mod prove;
mod repository;
mod rpm;
mod version;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::build::{self, Build, Selection};
use crate::dist::{self, archive};
use crate::{commands, no_arguments, project};
use catalogue::File;
pub(crate) use repository::Publication;

/// A format of packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Deb,
    Rpm,
}

impl Format {
    /// The directory of plugins in distributions with this format.
    fn plugin_dir(self) -> &'static str {
        match self {
            Format::Deb => "/usr/lib/cni",
            Format::Rpm => "/usr/libexec/cni",
        }
    }

    /// The file of the licenses of what is linked into the binaries of a package.
    fn notices(self, package: &str) -> String {
        match self {
            Format::Deb => format!("/usr/share/doc/{package}/notices"),
            Format::Rpm => format!("/usr/share/licenses/{package}/{}", dist::NOTICES),
        }
    }
}

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let mut arguments = arguments.to_vec();
    let publication = Publication::take(&mut arguments)?;
    if let Some(dir) = take(&mut arguments, "--from")? {
        no_arguments(&arguments)?;
        let publication = publication.context("--from DIR is for --repository")?;
        return publication.add(&written(Path::new(&dir))?);
    }
    let out = take(&mut arguments, "--out")?;
    let selection = Selection::parse(&arguments)?;
    let out = out.map_or_else(archive::release_dir, |dir| Ok(PathBuf::from(dir)))?;
    release(&selection, &out, publication.as_ref())
}

/// Writes the packages for the selected platforms into `out`, and adds them to a repository.
///
/// # Errors
///
/// When a program is missing or fails, or the repository has other packages of this version.
pub(crate) fn release(
    selection: &Selection,
    out: &Path,
    publication: Option<&Publication>,
) -> Result<()> {
    let mut packages = Vec::new();
    for platform in selection.platforms()? {
        let build = build::for_platform(platform, selection.no_build)?;
        packages.extend(write(&build, &project::version(), out)?);
    }
    for path in &packages {
        println!("{}", project::shown(path));
    }
    if let Some(publication) = publication {
        publication.add(&packages)?;
        println!("published in {}", publication.dir.display());
    }
    Ok(())
}

/// The packages in a directory, sorted by name: those of a release, which was built where the key is not.
fn written(dir: &Path) -> Result<Vec<PathBuf>> {
    let context = || dir.display().to_string();
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).with_context(context)? {
        paths.push(entry.with_context(context)?.path());
    }
    let is_package = |path: &PathBuf| {
        path.extension()
            .is_some_and(|end| end == "deb" || end == "rpm")
    };
    paths.retain(is_package);
    paths.sort();
    Ok(paths)
}

/// Removes an option from the arguments. Returns its value.
fn take(arguments: &mut Vec<String>, name: &str) -> Result<Option<String>> {
    let Some(index) = arguments.iter().position(|argument| argument == name) else {
        return Ok(None);
    };
    if index + 1 == arguments.len() {
        bail!("{name} needs a value");
    }
    arguments.remove(index);
    Ok(Some(arguments.remove(index)))
}

/// Writes the packages of both formats into `out`. Returns their paths.
fn write(build: &Build, version: &str, out: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    let mut paths = deb::write(build, version, out)?;
    paths.extend(rpm::write(build, version, out)?);
    Ok(paths)
}

/// Creates an empty directory for the content of packages.
fn empty_stage(name: &str) -> Result<PathBuf> {
    let stage = project::target().join("packages").join(name);
    if stage.exists() {
        fs::remove_dir_all(&stage).with_context(|| stage.display().to_string())?;
    }
    fs::create_dir_all(&stage).with_context(|| stage.display().to_string())?;
    Ok(stage)
}

/// Writes `files` below `root`, with documents compressed. Returns their paths on the host, sorted.
fn stage(files: &[&File], root: &Path) -> Result<Vec<String>> {
    let mut paths = Vec::new();
    for file in files {
        let path = root.join(file.path.trim_start_matches('/'));
        put(&path, &file.content, file.mode)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_document =
            name.ends_with(".8") || name.starts_with("changelog") || name == "notices";
        if is_document {
            let mut gzip = Command::new("gzip");
            commands::run(gzip.args(["--no-name", "--best", "--force"]).arg(&path))?;
            paths.push(format!("{}.gz", file.path));
        } else {
            paths.push(file.path.clone());
        }
    }
    paths.sort();
    Ok(paths)
}

/// Writes a file and the directory above it. Their modes do not depend on the umask.
fn put(path: &Path, content: impl AsRef<[u8]>, mode: u32) -> Result<()> {
    let context = || path.display().to_string();
    let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    let dir = path.parent().with_context(context)?;
    fs::create_dir_all(dir)
        .and_then(|()| set(dir, 0o755))
        .and_then(|()| fs::write(path, content))
        .and_then(|()| set(path, mode))
        .with_context(context)
}

/// Gives all directories below `root` the mode that they have on hosts.
fn open_directories(root: &Path) -> Result<()> {
    let mut find = Command::new("find");
    find.arg(root);
    find.args(["-type", "d", "-exec", "chmod", "755", "{}", "+"]);
    commands::run(&mut find)
}

/// The name and address in packages: `DEBFULLNAME` and `DEBEMAIL`, as for the tools of Debian.
fn maintainer() -> String {
    let variable = |name, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    format!(
        "{} <{}>",
        variable("DEBFULLNAME", "cni-plugins-rs"),
        variable("DEBEMAIL", "packages@cni-plugins-rs.invalid")
    )
}

/// The date of the build's commit, in the form of date(1).
fn commit_date(format: &str) -> Result<String> {
    let mut command = Command::new("date");
    command.env("LC_ALL", "C").args(["--utc", format, "--date"]);
    commands::read(command.arg(format!("@{}", build::source_date())))
}

/// Breaks a text into lines of at most 76 characters.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= 76 => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
