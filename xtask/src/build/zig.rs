//! zig (from PyPI): musl and a linker for every platform, those included that rustup has no std for.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::platform::Platform;
use crate::{commands, machine, project};

/// The version of zig with which releases are made.
const ZIG: &str = "ziglang==0.17.0";

/// An installed zig.
pub(crate) struct Zig {
    /// Its command line.
    command: Vec<String>,
    pub(super) version: String,
}

impl Zig {
    /// Returns the installed zig, or installs it.
    ///
    /// # Errors
    ///
    /// Names what is missing and cannot be installed.
    pub(super) fn provide() -> Result<Zig> {
        let command = match installed() {
            Some(command) => command,
            None => install()?,
        };
        let version = version(&command).context("zig does not run")?;
        Ok(Zig { command, version })
    }

    /// Makes a cargo command link with zig.
    pub(super) fn prepare(&self, platform: &Platform, cargo: &mut Command) -> Result<()> {
        let dir = project::target().join("zig-recipe");
        fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        // std links with -lunwind, which panic=abort does not need. This line alone is an empty archive.
        write(&dir.join("libunwind.a"), "!<arch>\n")?;
        let linker = dir.join(format!("zcc-{}", platform.name));
        write(&linker, &self.linker_script(platform, &dir))?;
        fs::set_permissions(&linker, fs::Permissions::from_mode(0o755))
            .with_context(|| linker.display().to_string())?;
        let key = platform.target.replace('-', "_").to_uppercase();
        cargo
            .env(format!("CARGO_TARGET_{key}_LINKER"), &linker)
            .env("ZIG_GLOBAL_CACHE_DIR", dir.join("cache"));
        Ok(())
    }

    /// Returns a script that runs zig as the linker, without the arguments that zig sets itself.
    fn linker_script(&self, platform: &Platform, unwind: &Path) -> String {
        let command: Vec<String> = self
            .command
            .iter()
            .map(|word| format!("'{word}'"))
            .collect();
        let processor = platform.zig_processor.map(|name| format!(" -mcpu={name}"));
        format!(
            r#"#!/bin/sh
for a in "$@"; do case "$a" in
  -lc|-lgcc|-lgcc_s|-lgcc_eh|-march=*|--target=*|-Wl,-melf_*) ;;
  *) set -- "$@" "$a";; esac; shift; done
exec {} cc -target {}{} '-L{}' "$@"
"#,
            command.join(" "),
            platform.zig,
            processor.unwrap_or_default(),
            unwind.display(),
        )
    }
}

fn venv() -> PathBuf {
    project::target().join("zig")
}

/// The command line of zig: in the Python environment below `target/`, else in PATH.
fn installed() -> Option<Vec<String>> {
    let python = venv().join("bin/python");
    let own = vec![
        python.to_string_lossy().into_owned(),
        "-m".into(),
        "ziglang".into(),
    ];
    if python.exists() && version(&own).is_some() {
        return Some(own);
    }
    commands::which("zig").map(|path| vec![path.to_string_lossy().into_owned()])
}

fn version(zig: &[String]) -> Option<String> {
    commands::read(Command::new(&zig[0]).args(&zig[1..]).arg("version")).ok()
}

/// Installs zig from PyPI in a Python environment below `target/`.
fn install() -> Result<Vec<String>> {
    let venv = venv();
    println!(
        "installing zig (PyPI package {ZIG}, about 440 MB) into {}",
        venv.display()
    );
    let mut make = Command::new("python3");
    make.args(["-m", "venv", "--clear"]).arg(&venv);
    commands::read(&mut make).or_else(|err| {
        if !machine::can_install() {
            bail!("no zig, and no Python environment to install it into (package python3-venv): {err:#}");
        }
        machine::install(&["python3-venv"])?;
        commands::read(&mut make)
    })?;
    let mut pip = Command::new(venv.join("bin/python"));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        ZIG,
    ]);
    commands::read(&mut pip).context("zig cannot be downloaded from PyPI")?;
    installed().context("zig is installed but does not run")
}

fn write(path: &Path, text: &str) -> Result<()> {
    // A newer file would make cargo link everything again.
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    fs::write(path, text).with_context(|| path.display().to_string())
}
