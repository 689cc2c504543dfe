//! `cargo xtask source`: the source of a release with all dependencies, which builds without network.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use lexopt::Arg;

use super::archive;
use crate::{commands, machine, project};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let mut prove = false;
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("prove") => prove = true,
            other => return Err(other.unexpected().into()),
        }
    }
    let name = format!("cni-plugins-{}", project::version());
    let stage = archive::stage("source")?;
    let source = stage.join(&name);
    export(&source)?;
    let replacement = vendor(&source)?;
    configure(&source, &replacement)?;
    archive::pack(&stage, &format!("{name}-vendored.tgz"))?;
    if prove {
        builds_offline(
            &archive::release_dir()?.join(format!("{name}-vendored.tgz")),
            &name,
        )?;
    }
    Ok(())
}

/// Writes the files of the commit.
fn export(source: &Path) -> Result<()> {
    let tar = source.with_extension("tar");
    fs::create_dir_all(source).with_context(|| source.display().to_string())?;
    let mut git = Command::new("git");
    git.current_dir(project::root())
        .args(["archive", "--format=tar", "HEAD", "--output"])
        .arg(&tar);
    commands::run(&mut git)?;
    let mut unpack = Command::new("tar");
    commands::run(unpack.arg("-C").arg(source).arg("-xf").arg(&tar))?;
    fs::remove_file(&tar).with_context(|| tar.display().to_string())
}

/// Adds the dependencies. Returns the configuration that makes cargo use them, which `--quiet` would suppress.
fn vendor(source: &Path) -> Result<String> {
    commands::read(&mut commands::cargo(
        source,
        ["vendor", "--locked", "--versioned-dirs", "vendor"],
    ))
}

/// Extends `.cargo/config.toml`, so that any cargo command in the tree uses the vendored crates and embeds version and
/// commit.
fn configure(source: &Path, replacement: &str) -> Result<()> {
    let path = source.join(".cargo/config.toml");
    let mut text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    for (name, value) in project::build_environment() {
        // The last table of the file is [env].
        writeln!(text, "{name} = {value:?}")?;
    }
    text += &format!("\n{replacement}\n");
    fs::write(&path, text).with_context(|| path.display().to_string())
}

/// Unpacks the tarball and builds it with an empty registry in a network namespace without links.
fn builds_offline(archive: &Path, name: &str) -> Result<()> {
    let dir: PathBuf = archive::stage("offline")?;
    let mut unpack = Command::new("tar");
    commands::run(unpack.arg("-C").arg(&dir).arg("-xf").arg(archive))?;
    let source = dir.join(name);
    let _host = machine::private_host()?;
    let mut cargo = commands::cargo(&source, ["build", "--frozen", "--release"]);
    for plugin in project::plugins()? {
        cargo.args(["--package", &plugin.name]);
    }
    commands::run(
        cargo
            .env("CARGO_HOME", dir.join("cargo-home"))
            .env_remove("CARGO_TARGET_DIR")
            // Optimised linking takes minutes, and proves nothing about the sources.
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0"),
    )?;
    let bridge = Command::new(source.join("target/release/bridge")).output();
    let about = bridge.context("run the bridge plugin")?.stderr;
    print!("{}", String::from_utf8_lossy(&about));
    Ok(())
}
