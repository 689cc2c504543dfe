//! Recipes for static binaries, and the choice of one for a platform and this machine.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::compiler::{self, Compiler};
use super::platform::Platform;
use super::rustup;
use super::zig::Zig;
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

/// A way to build for a platform, with all that it requires installed.
pub(crate) struct Recipe {
    platform: &'static Platform,
    /// The compiler that builds std from source, for size. Without it, std comes from rustup, which adds 300 KB to a
    /// plugin.
    compiler: Option<Compiler>,
    library: Library,
}

/// The C library, and the linker that fits to it.
enum Library {
    /// musl of rustup's target, and the linker of rustup's compiler.
    Rustup,
    /// musl and linker of zig.
    Zig(Zig),
    /// glibc of this machine, and its C compiler. It works wherever rustup works.
    Glibc { why: String },
}

impl Recipe {
    /// The best recipe for `platform` on this machine, with the library `wanted`, if given.
    ///
    /// # Errors
    ///
    /// When there is none, with the reasons.
    pub(crate) fn choose(platform: &'static Platform, wanted: Option<Libc>) -> Result<Recipe> {
        let recipe = |compiler, library| Recipe {
            platform,
            compiler,
            library,
        };
        if wanted == Some(Libc::Gnu) {
            let why = "as requested".into();
            return Ok(recipe(None, Library::Glibc { why }));
        }
        let unavailable = match Compiler::provide() {
            Ok(compiler) if compiler.is_rustup && rustup::provides(platform.target) => {
                return Ok(recipe(Some(compiler), Library::Rustup));
            }
            Ok(compiler) => match Zig::provide() {
                Ok(zig) => return Ok(recipe(Some(compiler), Library::Zig(zig))),
                Err(err) => err,
            },
            Err(_) if rustup::provides(platform.target) => {
                return Ok(recipe(None, Library::Rustup));
            }
            Err(err) => err,
        };
        if wanted.is_none() && platform.is_host() {
            let why = format!("{unavailable:#}");
            return Ok(recipe(None, Library::Glibc { why }));
        }
        bail!(
            "no musl for {}: {unavailable:#}; and rustup has no std for it (rustup target add {})",
            platform.name,
            platform.target
        )
    }

    pub(crate) fn libc(&self) -> Libc {
        match self.library {
            Library::Glibc { .. } => Libc::Gnu,
            _ => Libc::Musl,
        }
    }

    /// Describes the recipe and why it was chosen.
    pub(crate) fn description(&self) -> String {
        let std = match &self.compiler {
            Some(compiler) => format!("std built for size by {}", compiler.version),
            None => "std of rustup".into(),
        };
        match &self.library {
            Library::Rustup => format!("static musl: {std}, linked by {}", rustup::LINKER),
            Library::Zig(zig) => format!("static musl: {std}, linked by zig {}", zig.version),
            Library::Glibc { why } => format!("static glibc ({}): {why}", self.target()),
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
    ) -> Result<PathBuf> {
        let root = project::root();
        let target = project::target().join("shipping");
        let mut command = commands::cargo(&root, ["build", "--release"]);
        command
            .args(arguments)
            .args(["--target", &self.target()])
            .arg("--target-dir")
            .arg(&target)
            .envs(project::build_environment());
        if let Some(compiler) = &self.compiler {
            command
                .args([
                    "-Zbuild-std=std,panic_abort",
                    "-Zbuild-std-features=optimize_for_size",
                ])
                .env("RUSTC", &compiler.program)
                // build-std is a nightly flag. The std source matches the compiler.
                .env("RUSTC_BOOTSTRAP", "1");
        }
        let mut flags = vec![
            "-C relocation-model=static".to_owned(),
            "-C target-feature=+crt-static".to_owned(),
            // Nothing unwinds. The tables are a tenth of a plugin.
            "-C force-unwind-tables=no".to_owned(),
        ];
        match &self.library {
            Library::Rustup => flags.push(format!("-C linker={}", rustup::LINKER)),
            Library::Zig(zig) => {
                zig.prepare(self.platform, &mut command)?;
                flags.push("-C link-self-contained=no".into());
            }
            Library::Glibc { .. } => {}
        }
        flags.extend(self.remapped_paths(&root));
        command.env("RUSTFLAGS", flags.join(" "));
        commands::run(&mut command)?;
        Ok(target.join(self.target()).join("release"))
    }

    /// Flags that keep paths of this machine out of the binaries, so that every build is the same.
    fn remapped_paths(&self, root: &Path) -> Vec<String> {
        let mut paths = vec![
            (root.to_path_buf(), "."),
            // "cargo vendor" and the registry contain the same files.
            (root.join("vendor"), "crates"),
        ];
        if let Some(home) = cargo_home() {
            let registries = fs::read_dir(home.join("registry/src"));
            let sources = registries.into_iter().flatten().flatten();
            paths.extend(sources.map(|source| (source.path(), "crates")));
        }
        let sysroot = self.compiler.as_ref();
        if let Some(Ok(sysroot)) = sysroot.map(|compiler| compiler::sysroot(&compiler.program)) {
            paths.push((Path::new(&sysroot).join("lib/rustlib/src/rust"), "rust"));
        }
        paths
            .iter()
            .map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()))
            .collect()
    }

    /// The Rust target.
    fn target(&self) -> String {
        match self.library {
            Library::Glibc { .. } => self.platform.target.replacen("musl", "gnu", 1),
            _ => self.platform.target.to_owned(),
        }
    }
}

fn cargo_home() -> Option<PathBuf> {
    env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")))
}
