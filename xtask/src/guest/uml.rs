//! User Mode Linux: Debian's kernel as an ordinary program, with device types that the machine's kernel may lack.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::mount::{MsFlags, mount};

use super::{Machine, init};
use crate::machine::{self, Need};
use crate::{commands, project};

const NEEDS: &[Need] = &[
    Need {
        what: "linux.uml",
        package: "user-mode-linux",
        why: "a kernel with the features that this one lacks",
    },
    machine::KMOD,
    machine::SETPRIV,
];

/// Installs User Mode Linux. Returns the release of its kernel.
///
/// # Errors
///
/// Contains why it is not available.
pub(crate) fn provide() -> Result<String> {
    if !cfg!(target_arch = "x86_64") {
        bail!("User Mode Linux exists for x86_64 only");
    }
    machine::provide(NEEDS)?;
    if needs_registers() {
        compile_registers()?;
    }
    commands::read(Command::new("linux.uml").arg("--version"))
}

/// The command that boots a machine.
pub(super) fn command(machine: &Machine, room: &Path) -> Result<Command> {
    let memory = memory_dir(machine, room)?;
    commands::read(Command::new("ip").args(["link", "set", "lo", "up", "multicast", "on"]))?;
    commands::read(Command::new("ip").args(["route", "add", "239.0.0.0/8", "dev", "lo"]))?;

    // The kernel leaves child processes when it is killed. In a PID namespace all end with the first process, the
    // shell, which ends with unshare, which ends with this process.
    let mut command = Command::new("setpriv");
    command
        .args([
            "--pdeathsig",
            "KILL",
            "unshare",
            "--pid",
            "--fork",
            "--kill-child",
        ])
        .args(["sh", "-c", "linux.uml \"$@\"; exit $?", "linux.uml"])
        .arg(format!("mem={}M", machine.memory))
        .args(["root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro"])
        .args(["con=null", "con0=null,fd:1"])
        .arg(format!("umid=machine-{}", machine.number))
        .arg(format!("uml_dir={}/", room.display()))
        .arg(format!("init=\"{}\"", init(room).display()))
        .args(machine.parameters("hostfs", Path::new("/usr/lib/uml/modules")))
        .env("TMPDIR", &memory);
    if needs_registers() {
        command.env("LD_PRELOAD", registers_library());
    }
    if machine.device {
        command.arg("eth0=mcast");
    }
    Ok(command)
}

/// Mounts a tmpfs for the file with the kernel's memory, because /dev/shm is small in many containers.
fn memory_dir(machine: &Machine, room: &Path) -> Result<PathBuf> {
    let memory = room.join(format!("memory-{}", machine.number));
    let none = None::<&str>;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    fs::create_dir_all(&memory)?;
    mount(none, "/", none, private, none)
        .and_then(|()| {
            mount(
                Some("uml"),
                &memory,
                Some("tmpfs"),
                MsFlags::empty(),
                Some("size=90%"),
            )
        })
        .with_context(|| format!("cannot mount a tmpfs on {}", memory.display()))?;
    Ok(memory)
}

/// Whether User Mode Linux cannot save all registers of this machine's processor, see `xstate.rs`.
fn needs_registers() -> bool {
    fs::read_to_string("/proc/cpuinfo")
        .is_ok_and(|info| info.split_whitespace().any(|word| word == "amx_tile"))
}

/// The library that [`compile_registers`] creates.
fn registers_library() -> PathBuf {
    project::target().join("guest").join("xstate.so")
}

fn compile_registers() -> Result<()> {
    let library = registers_library();
    let dir = library.with_file_name(format!("xstate-{}", std::process::id()));
    fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    let source = dir.join("xstate.rs");
    let compiled = dir.join("xstate.so");
    fs::write(&source, include_str!("xstate.rs")).with_context(|| source.display().to_string())?;
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    commands::run(
        Command::new(rustc)
            .args(["--edition=2024", "--crate-type=cdylib", "-Copt-level=2"])
            .args(["-Cpanic=abort", "-Cstrip=symbols", "-o"])
            .args([&compiled, &source]),
    )?;
    // Another cargo xtask may be using the file.
    fs::rename(&compiled, &library).with_context(|| library.display().to_string())?;
    fs::remove_dir_all(&dir).with_context(|| dir.display().to_string())
}
