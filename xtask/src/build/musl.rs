//! Static musl on Debian. There is no package of std for musl, so std is built from source. zig (from PyPI) provides
//! musl and the linker.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::recipe::triple;
use crate::{commands, machine, project};

/// Debian's compiler, whose std source is packaged.
const RUSTC: &str = "/usr/bin/rustc";
/// The oldest compiler that can build this workspace (`rust-version` in Cargo.toml).
const OLDEST: (u32, u32) = (1, 89);
/// The version of zig with which the recipe was tested.
const ZIG: &str = "ziglang==0.17.0";

/// The compiler, its std source and zig, all installed.
pub(crate) struct DebianMusl {
    compiler: String,
    /// The command line of zig.
    zig: Vec<String>,
    zig_version: String,
}

impl DebianMusl {
    /// Returns what is installed; `None` if something is missing.
    pub(crate) fn ready() -> Option<DebianMusl> {
        let compiler = compiler().ok()?;
        let zig = zig_command()?;
        let zig_version = zig_version(&zig)?;
        Some(DebianMusl {
            compiler,
            zig,
            zig_version,
        })
    }

    /// Installs what is missing.
    ///
    /// # Errors
    ///
    /// Names what is missing and cannot be installed.
    pub(crate) fn provide() -> Result<DebianMusl> {
        let compiler = compiler().or_else(|_| install_compiler())?;
        let zig = match zig_command() {
            Some(zig) => zig,
            None => install_zig()?,
        };
        let zig_version = zig_version(&zig).context("zig does not run")?;
        Ok(DebianMusl {
            compiler,
            zig,
            zig_version,
        })
    }

    pub(crate) fn compiler(&self) -> &str {
        &self.compiler
    }

    pub(crate) fn linker(&self) -> String {
        format!("zig {}", self.zig_version)
    }

    /// Prepares a cargo command for this recipe.
    pub(crate) fn prepare(&self, command: &mut Command, flags: &mut Vec<String>) -> Result<()> {
        let dir = project::target().join("zig-recipe");
        let unwind = dir.join("empty-unwind");
        fs::create_dir_all(&unwind).with_context(|| unwind.display().to_string())?;
        // std links with -lunwind, which panic=abort does not need. This line alone is an empty archive.
        write(&unwind.join("libunwind.a"), "!<arch>\n")?;
        let linker = dir.join("zcc");
        write(&linker, &self.linker_script())?;
        fs::set_permissions(&linker, fs::Permissions::from_mode(0o755))
            .with_context(|| linker.display().to_string())?;

        let key = triple("musl").replace('-', "_").to_uppercase();
        command
            .args([
                "-Zbuild-std=std,panic_abort",
                "-Zbuild-std-features=optimize_for_size",
            ])
            .env("RUSTC", RUSTC)
            // build-std is a nightly flag. The packaged std source matches the packaged compiler.
            .env("RUSTC_BOOTSTRAP", "1")
            .env(format!("CARGO_TARGET_{key}_LINKER"), &linker)
            .env("ZIG_GLOBAL_CACHE_DIR", dir.join("cache"));
        flags.push("-C link-self-contained=no".into());
        flags.push(format!("-L {}", unwind.display()));
        Ok(())
    }

    /// Returns a script that runs zig as the linker without the arguments that zig sets itself.
    fn linker_script(&self) -> String {
        let zig: Vec<String> = self.zig.iter().map(|word| format!("'{word}'")).collect();
        format!(
            r#"#!/bin/sh
for a in "$@"; do case "$a" in
  -lc|-lgcc|-lgcc_s|-lgcc_eh|-march=*|--target=*|-Wl,-melf_*) ;;
  *) set -- "$@" "$a";; esac; shift; done
exec {} cc -target {} "$@"
"#,
            zig.join(" "),
            zig_target()
        )
    }
}

/// zig's name of the musl target of this machine.
fn zig_target() -> String {
    let arch = match std::env::consts::ARCH {
        "arm" => return "arm-linux-musleabihf".into(),
        "powerpc64" => "powerpc64le",
        other => other,
    };
    format!("{arch}-linux-musl")
}

/// Whether the library directory of a target contains a std.
pub(crate) fn has_std(dir: &Path) -> bool {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .into_iter()
        .any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
}

/// The version text of Debian's compiler, if it is recent enough and has its std source.
fn compiler() -> Result<String> {
    let version = commands::read(Command::new(RUSTC).arg("--version"))?;
    if release(&version).is_none_or(|release| release < OLDEST) {
        bail!(
            "{RUSTC} is {version}, {}.{} or later is needed",
            OLDEST.0,
            OLDEST.1
        );
    }
    let sysroot = commands::read(Command::new(RUSTC).args(["--print", "sysroot"]))?;
    let source = Path::new(&sysroot).join("lib/rustlib/src/rust/library/std/src/lib.rs");
    if !source.exists() {
        bail!("the std source of {RUSTC} is missing");
    }
    Ok(version.split(" (").next().unwrap_or_default().to_owned())
}

fn install_compiler() -> Result<String> {
    const PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];
    if !machine::can_install() {
        bail!(
            "no recent {RUSTC} (Debian packages rustc-web, rust-web-src; installed only by root)"
        );
    }
    machine::install(&PACKAGES)?;
    // The package lists of an old image may contain an old compiler.
    compiler().or_else(|_| {
        machine::refresh()?;
        machine::install(&PACKAGES)?;
        compiler()
    })
}

/// Major and minor of `rustc 1.96.0 (…)`.
fn release(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split(' ').nth(1)?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn venv() -> PathBuf {
    project::target().join("zig")
}

/// The command line of zig: in the Python environment below `target/`, else in PATH.
fn zig_command() -> Option<Vec<String>> {
    let python = venv().join("bin/python");
    let own = vec![
        python.to_string_lossy().into_owned(),
        "-m".into(),
        "ziglang".into(),
    ];
    if python.exists() && zig_version(&own).is_some() {
        return Some(own);
    }
    commands::which("zig").map(|path| vec![path.to_string_lossy().into_owned()])
}

fn zig_version(zig: &[String]) -> Option<String> {
    commands::read(Command::new(&zig[0]).args(&zig[1..]).arg("version")).ok()
}

/// Installs zig from PyPI in a Python environment below `target/`.
fn install_zig() -> Result<Vec<String>> {
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
    zig_command().context("zig is installed but does not run")
}

fn write(path: &Path, text: &str) -> Result<()> {
    // A newer file would make cargo link everything again.
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    fs::write(path, text).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_as_numbers() {
        assert_eq!(
            release("rustc 1.96.0 (ac68faa20 2026-05-25)"),
            Some((1, 96))
        );
        assert!(release("rustc 1.100.0").is_some_and(|r| r >= OLDEST));
        assert!(release("rustc 1.63.0 (x)").is_some_and(|r| r < OLDEST));
        assert_eq!(release("gcc"), None);
    }
}
