//! Creates a tap in an SELinux context.
//!
//! The kernel labels a tap with the context of the process that creates it, and ignores
//! the process's attribute for sockets (`attr/sockcreate`), see `selinux_tun_dev_create`.
//! A process changes its context by executing a program (`attr/exec`), so this program
//! is executed once more.

use crate::{TunSpec, helper, ioctl};
use anyhow::{Context, anyhow, bail};
use cni_core::errno;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;

const ATTRIBUTE: &str = "/proc/thread-self/attr/exec";

/// Lets the helper create a tap in the network namespace of the calling thread.
///
/// The label is an attribute of the thread, so it is set on a thread of its own: programs
/// executed later, such as the IPAM plugin, run in the usual context.
pub(crate) fn create_as(context: &str, spec: &TunSpec) -> anyhow::Result<()> {
    thread::scope(|scope| {
        let helper = scope.spawn(|| run_helper(context, spec));
        match helper.join() {
            Ok(made) => made,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn run_helper(context: &str, spec: &TunSpec) -> anyhow::Result<()> {
    set(context).context("failed set socket label")?;
    ioctl::close_inherited_on_exec();
    let output = Command::new("/proc/self/exe")
        // The executable with all plugins acts by its name.
        .arg0("tap")
        .args(helper::arguments(spec))
        .env_clear()
        .output()
        .map_err(|e| anyhow!("failed to run helper: {}", errno::of(&e)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("failed to run helper: {}: {}", output.status, said.trim());
    }
    Ok(())
}

/// Sets the context of programs that the thread executes. The kernel takes the value from
/// a single write.
fn set(context: &str) -> anyhow::Result<()> {
    let io = |e: io::Error| anyhow!("write {ATTRIBUTE}: {}", errno::of(&e));
    let mut file = File::options().write(true).open(ATTRIBUTE).map_err(io)?;
    file.write_all(context.as_bytes()).map_err(io)
}
