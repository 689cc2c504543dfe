//! Recipes for static binaries, and the choice of one for this machine.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use super::musl::{self, DebianMusl};
use crate::project::SIZE_BUDGET;
use crate::{commands, project};

/// The C library of the binaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Libc {
    Musl,
    Gnu,
}

impl Libc {
    pub(crate) fn from_name(name: &str) -> Result<Libc> {
        match name {
            "musl" => Ok(Libc::Musl),
            "gnu" => Ok(Libc::Gnu),
            other => bail!("--libc {other}: neither musl nor gnu"),
        }
    }

    /// The size limit of a plugin with this library, in bytes.
    ///
    /// glibc adds 830 KB to every static binary, and the limit is higher by that much. It is for machines without musl.
    pub(crate) fn budget(self) -> u64 {
        match self {
            Libc::Musl => SIZE_BUDGET,
            Libc::Gnu => SIZE_BUDGET + 830_000,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Libc::Musl => "musl",
            Libc::Gnu => "glibc",
        }
    }
}

/// A way to build, with all that it requires installed.
pub(crate) enum Recipe {
    /// musl, linked by zig, with std built from source by Debian's compiler. Binaries are the smallest and fastest.
    DebianMusl(DebianMusl),
    /// musl with the std of rustup.
    RustupMusl,
    /// Static glibc, which works wherever rustup works.
    Gnu { why: String },
}

impl Recipe {
    /// The best recipe for this machine with the library `wanted`, if given.
    ///
    /// # Errors
    ///
    /// When `wanted` is not available, with the reasons.
    pub(crate) fn choose(wanted: Option<Libc>) -> Result<Recipe> {
        if wanted == Some(Libc::Gnu) {
            return Ok(Recipe::Gnu {
                why: "as requested".into(),
            });
        }
        // Prefer what is installed to what must be downloaded.
        if let Some(ready) = DebianMusl::ready() {
            return Ok(Recipe::DebianMusl(ready));
        }
        if rustup_has_musl() || rustup_adds_musl() {
            return Ok(Recipe::RustupMusl);
        }
        match DebianMusl::provide() {
            Ok(made) => Ok(Recipe::DebianMusl(made)),
            Err(err) if wanted.is_none() => Ok(Recipe::Gnu {
                why: format!("{err:#}"),
            }),
            Err(err) => bail!(
                "no musl: {err:#}; and rustup has no std for {} (rustup target add {0})",
                triple("musl")
            ),
        }
    }

    pub(crate) fn libc(&self) -> Libc {
        match self {
            Recipe::Gnu { .. } => Libc::Gnu,
            _ => Libc::Musl,
        }
    }

    /// Describes the recipe and why it was chosen.
    pub(crate) fn description(&self) -> String {
        match self {
            Recipe::DebianMusl(made) => {
                format!(
                    "static musl: std built for size by {}, linked by {}",
                    made.compiler(),
                    made.linker()
                )
            }
            Recipe::RustupMusl => format!("static musl by rustup's {}", triple("musl")),
            Recipe::Gnu { why } => format!("static glibc ({}): {why}", triple("gnu")),
        }
    }

    /// Runs `cargo build --release` with these additional arguments. Returns the directory of the results.
    ///
    /// # Errors
    ///
    /// When cargo fails.
    pub(crate) fn cargo_build(
        &self,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        version: &str,
    ) -> Result<PathBuf> {
        let root = project::root();
        let target = project::target().join("shipping");
        let mut command = commands::cargo(&root, ["build", "--release"]);
        command
            .args(arguments)
            .arg("--target-dir")
            .arg(&target)
            .env("CNI_BUILD_VERSION", version);
        // The binary must not contain paths of this machine, so that every build is the same.
        let mut flags = vec![
            "-C relocation-model=static".to_owned(),
            "-C target-feature=+crt-static".to_owned(),
        ];
        flags.push(format!("--remap-path-prefix={}=.", root.display()));
        if let Some(home) = cargo_home() {
            flags.push(format!("--remap-path-prefix={}=cargo", home.display()));
        }
        let triple = match self {
            Recipe::DebianMusl(made) => {
                made.prepare(&mut command, &mut flags)?;
                triple("musl")
            }
            Recipe::RustupMusl => triple("musl"),
            Recipe::Gnu { .. } => triple("gnu"),
        };
        command
            .args(["--target", &triple])
            .env("RUSTFLAGS", flags.join(" "));
        commands::run(&mut command)?;
        Ok(target.join(triple).join("release"))
    }
}

/// This machine's Rust target with another C library.
pub(crate) fn triple(libc: &str) -> String {
    let arch = match env::consts::ARCH {
        "riscv64" => "riscv64gc",
        "arm" => "armv7",
        "powerpc64" => "powerpc64le",
        other => other,
    };
    let suffix = if arch == "armv7" { "eabihf" } else { "" };
    format!("{arch}-unknown-linux-{libc}{suffix}")
}

fn cargo_home() -> Option<PathBuf> {
    env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")))
}

/// Installs the std for musl with rustup. Returns `false` if that is impossible.
fn rustup_adds_musl() -> bool {
    let mut command = Command::new("timeout");
    command.args(["300", "rustup", "target", "add", &triple("musl")]);
    commands::which("rustup").is_some() && commands::read(&mut command).is_ok() && rustup_has_musl()
}

fn rustup_has_musl() -> bool {
    let compiler = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut command = Command::new(compiler);
    command.args(["--print", "target-libdir", "--target", &triple("musl")]);
    // rustc prints the directory even if it does not exist.
    commands::read(&mut command).is_ok_and(|dir| musl::has_std(Path::new(&dir)))
}
