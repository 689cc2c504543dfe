//! The executables of plugins: versions, copies that are never run, and files that anybody can replace.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use child_process::Running;

use super::{Host, Report};

const AREA: &str = "plugins";

/// How long a plugin has to say its version.
const TIME: Duration = Duration::from_secs(3);

pub(super) fn examine(host: &Host, report: &mut Report) {
    if host.plugin_dirs.is_empty() {
        report.error(
            AREA,
            "there is no directory of plugins",
            "runtimes execute plugins from a directory such as /opt/cni/bin",
            "install the plugins, or name their directory by --cni-path",
        );
        return;
    }
    let mut found: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for dir in &host.plugin_dirs {
        ownership(dir, report);
        for path in files(dir) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            found.entry(name.into_owned()).or_default().push(path);
        }
    }
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, paths) in &found {
        shadowed(name, paths, report);
        // Those behind the first are never run.
        let path = &paths[0];
        if is_runnable(path, report)
            && let Some(version) = version(path)
        {
            versions.entry(version).or_default().insert(name.clone());
        }
    }
    let listed = versions.iter().map(|(version, names)| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        format!("{version} ({})", names.join(", "))
    });
    let listed = listed.collect::<Vec<_>>().join("; ");
    report.fact(
        AREA,
        match listed.is_empty() {
            true => "none that says its version".to_owned(),
            false => listed.clone(),
        },
    );
    if versions.len() > 1 {
        report.warning(
            AREA,
            format!("plugins of several versions are in use: {listed}"),
            "an installation or an upgrade has not finished, or two of them write into one directory",
            "install all plugins of one version",
        );
    }
}

/// The files of a directory, without those whose names begin with a dot.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries
        .filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."))
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    paths.sort();
    paths
}

/// A file or directory that others than root can change.
fn ownership(path: &Path, report: &mut Report) {
    let Ok(metadata) = fs::metadata(path) else {
        return;
    };
    if is_open_to_others(&metadata) {
        report.error(
            AREA,
            format!(
                "{} belongs to user {} and has mode {:o}",
                path.display(),
                metadata.uid(),
                metadata.mode() & 0o7777
            ),
            "whoever can write there has root run a program of theirs",
            format!("chown root {0}; chmod go-w {0}", path.display()),
        );
    }
}

/// Whether others than the user of this process can write.
fn is_open_to_others(metadata: &Metadata) -> bool {
    metadata.mode() & 0o002 != 0 || ![0, nix::unistd::geteuid().as_raw()].contains(&metadata.uid())
}

fn shadowed(name: &str, paths: &[PathBuf], report: &mut Report) {
    let [first, rest @ ..] = paths else { return };
    let identity = |path: &Path| path.metadata().map(|m| (m.dev(), m.ino())).ok();
    for other in rest {
        if identity(first) == identity(other) || fs::read(first).ok() == fs::read(other).ok() {
            continue;
        }
        report.warning(
            AREA,
            format!(
                "{name} is in several directories, and differs: {} is never run",
                other.display()
            ),
            format!("{} comes first in the search path", first.display()),
            format!("delete the one that is not wanted: rm {}", other.display()),
        );
    }
}

fn is_runnable(path: &Path, report: &mut Report) -> bool {
    ownership(path, report);
    let mode = path
        .metadata()
        .map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o6000 != 0 {
        report.error(
            AREA,
            format!("{} is set-user-ID or set-group-ID", path.display()),
            "any user can run it with the rights of its owner, with a configuration of their own",
            format!("chmod ug-s {}", path.display()),
        );
    }
    if mode & 0o111 == 0 {
        report.error(
            AREA,
            format!("{} is not executable", path.display()),
            "runtimes find it and cannot run it",
            format!("chmod 755 {}", path.display()),
        );
        return false;
    }
    let own = machine(Path::new("/proc/self/exe"));
    match machine(path) {
        Some(other) if Some(other) != own => {
            report.error(
                AREA,
                format!(
                    "{} is for another processor (ELF machine {other})",
                    path.display()
                ),
                "the kernel answers \"exec format error\"",
                "install the release for this platform",
            );
            false
        }
        _ => true,
    }
}

/// `e_machine` of an ELF file (elf.h); `None` for other files, such as scripts.
fn machine(path: &Path) -> Option<u16> {
    let mut header = [0; 20];
    File::open(path).ok()?.read_exact(&mut header).ok()?;
    let bytes = [header[18], header[19]];
    let is_big_endian = header[5] == 2;
    header
        .starts_with(b"\x7fELF")
        .then_some(match is_big_endian {
            true => u16::from_be_bytes(bytes),
            false => u16::from_le_bytes(bytes),
        })
}

/// The version that a plugin prints when it is run by hand, without a verb.
fn version(path: &Path) -> Option<String> {
    let mut command = Command::new(path);
    command.env_clear();
    let output = Running::spawn(command).ok()?.finish(&[], TIME).ok()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let (_, version) = text.lines().next()?.split_once(" plugin ")?;
    Some(version.trim().to_owned())
}
