//! What rustup provides: the std source, and for most targets a std with musl. A linker comes with its compiler.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::compiler;
use crate::commands;

/// The linker that comes with rustup's compiler.
pub(super) const LINKER: &str = "rust-lld";

/// Installs the std source. Returns `false` if that is impossible.
pub(super) fn adds_source() -> bool {
    rustup(&["component", "add", "rust-src"])
}

/// Whether the std and musl of a target, and the linker, are there or could be installed.
pub(super) fn provides(target: &str) -> bool {
    has_linker() && (has_std(target) || rustup(&["target", "add", target]) && has_std(target))
}

/// Runs rustup within five minutes.
fn rustup(arguments: &[&str]) -> bool {
    let mut command = Command::new("timeout");
    command.args(["300", "rustup"]).args(arguments);
    commands::which("rustup").is_some() && commands::read(&mut command).is_ok()
}

fn has_std(target: &str) -> bool {
    let mut command = Command::new(rustc());
    command.args(["--print", "target-libdir", "--target", target]);
    // rustc prints the directory even if it does not exist.
    let entries = commands::read(&mut command).map(|dir| fs::read_dir(Path::new(&dir)));
    entries
        .into_iter()
        .flatten()
        .flatten()
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
}

fn has_linker() -> bool {
    let lib = compiler::sysroot(&rustc().to_string_lossy()).map(|root| root + "/lib/rustlib");
    let hosts = lib.into_iter().flat_map(fs::read_dir).flatten().flatten();
    hosts
        .into_iter()
        .any(|host| host.path().join("bin").join(LINKER).is_file())
}

fn rustc() -> OsString {
    env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())
}
