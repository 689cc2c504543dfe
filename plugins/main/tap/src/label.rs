//! Making a tap in an SELinux context.
//!
//! The kernel gives a tap the context of the process that makes it; of a process's
//! own attributes the one for sockets (`attr/sockcreate`) is of no account here
//! (`selinux_tun_dev_create`). A process gets another context by executing a program
//! (`attr/exec`), so this program is executed once more.

use crate::{TunSpec, helper, ioctl};
use anyhow::{Context, anyhow, bail};
use cni_core::errno;
use std::fs::File;
use std::io::{self, Write};
use std::process::Command;
use std::thread;

const ATTRIBUTE: &str = "/proc/thread-self/attr/exec";

/// Has the helper make a tap in the network namespace of the calling thread.
///
/// The label is the thread's own, and so is the thread: what is executed later, the
/// IPAM plugin first, has its usual context.
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

/// Sets the context of what the thread executes. The kernel takes what one call
/// writes.
fn set(context: &str) -> anyhow::Result<()> {
    let io = |e: io::Error| anyhow!("write {ATTRIBUTE}: {}", errno::of(&e));
    let mut file = File::options().write(true).open(ATTRIBUTE).map_err(io)?;
    file.write_all(context.as_bytes()).map_err(io)
}
