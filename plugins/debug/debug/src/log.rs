//! The file with the calls.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use cni_core::{Call, Command};

/// Appends the call to the file, in upstream's format. An empty path is no file.
pub(crate) fn append(path: &Path, call: &Call) -> anyhow::Result<()> {
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o644)
        .open(path)
        .with_context(|| format!("cniOutput: open {}", path.display()))?;
    // In one write, so that entries of concurrent calls do not mix.
    file.write_all(&entry(call))
        .with_context(|| format!("cniOutput: write {}", path.display()))
}

fn entry(call: &Call) -> Vec<u8> {
    let verb = match call.command {
        Command::Add => "CmdAdd",
        Command::Del => "CmdDel",
        Command::Check => "CmdCheck",
        Command::Gc => "CmdGC",
        Command::Status => "CmdStatus",
        Command::Version => "CmdVersion",
    };
    let mut text = format!(
        "{verb}\nContainerID: {}\nNetns: {}\nIfName: {}\nArgs: {}\nPath: {}\nStdinData: ",
        call.container_id,
        call.netns.display(),
        call.if_name,
        call.args.to_string_lossy(),
        call.path.to_string_lossy(),
    )
    .into_bytes();
    text.extend_from_slice(&call.stdin);
    text.extend_from_slice(b"\n----------------------\n");
    text
}
