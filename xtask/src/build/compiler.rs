//! A compiler with the source of its std, which is built for size.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::rustup;
use crate::{commands, machine};

/// Debian's compiler, whose std source is packaged.
const DEBIAN: &str = "/usr/bin/rustc";
/// The oldest compiler that can build this workspace (`rust-version` in Cargo.toml).
const OLDEST: (u32, u32) = (1, 89);

/// A compiler that has its std source.
pub(crate) struct Compiler {
    /// The program.
    pub(super) program: String,
    /// `rustc 1.95.0`.
    pub(super) version: String,
    /// Whether it is the one of rustup, so that rustup's C libraries and linker fit to it.
    pub(super) is_rustup: bool,
}

impl Compiler {
    /// Returns rustup's compiler or Debian's, and installs what is missing.
    ///
    /// # Errors
    ///
    /// Names what is missing and cannot be installed.
    pub(super) fn provide() -> Result<Compiler> {
        let missing = match rustup() {
            Err(_) if rustup::adds_source() => return rustup(),
            Err(missing) => missing,
            ready => return ready,
        };
        debian()
            .or_else(|_| install_debian())
            .with_context(|| format!("{missing:#} (rustup component add rust-src)"))
    }
}

/// The default compiler, if it has its std source.
fn rustup() -> Result<Compiler> {
    let program = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let version = with_source(&program)?;
    Ok(Compiler {
        is_rustup: program != DEBIAN,
        program,
        version,
    })
}

fn debian() -> Result<Compiler> {
    Ok(Compiler {
        version: with_source(DEBIAN)?,
        program: DEBIAN.into(),
        is_rustup: false,
    })
}

fn install_debian() -> Result<Compiler> {
    const PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];
    if !machine::can_install() {
        bail!(
            "no recent {DEBIAN} (Debian packages rustc-web, rust-web-src; installed only by root)"
        );
    }
    machine::install(&PACKAGES)?;
    // The package lists of an old image may contain an old compiler.
    debian().or_else(|_| {
        machine::refresh()?;
        machine::install(&PACKAGES)?;
        debian()
    })
}

/// The version text of a compiler, if it is recent enough and has its std source.
fn with_source(program: &str) -> Result<String> {
    let version = commands::read(Command::new(program).arg("--version"))?;
    if release(&version).is_none_or(|release| release < OLDEST) {
        bail!(
            "{program} is {version}, {}.{} or later is needed",
            OLDEST.0,
            OLDEST.1
        );
    }
    let source = sysroot(program)? + "/lib/rustlib/src/rust/library/std/src/lib.rs";
    if !Path::new(&source).exists() {
        bail!("the std source of {program} is missing");
    }
    Ok(version.split(" (").next().unwrap_or_default().to_owned())
}

/// The directory that a compiler is installed in.
pub(super) fn sysroot(program: &str) -> Result<String> {
    commands::read(Command::new(program).args(["--print", "sysroot"]))
}

/// Major and minor of `rustc 1.96.0 (…)`.
fn release(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split(' ').nth(1)?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
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
