//! What the host's processes say of attachments: plugins that run at this moment, and namespaces that are in use.

use std::collections::HashMap;
use std::fs::{self, DirEntry};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use cni_core::ns::Netns;
use cni_core::types;

/// How often plugins that run are looked for: between two plugins of a chain there is a moment without any.
pub(super) const THOROUGHLY: u32 = 20;
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Processes by network namespace: device and inode.
pub(super) struct Users(HashMap<(u64, u64), u32>);

impl Users {
    /// Reads the namespaces of all processes.
    pub(super) fn read() -> Users {
        let user = |pid: u32| {
            let namespace = fs::metadata(format!("/proc/{pid}/ns/net")).ok()?;
            Some(((namespace.dev(), namespace.ino()), pid))
        };
        Users(processes().filter_map(user).collect())
    }

    /// Returns a process in the namespace at `path`.
    pub(super) fn of(&self, path: &Path) -> Option<u32> {
        let namespace = fs::metadata(path).ok()?;
        self.0.get(&(namespace.dev(), namespace.ino())).copied()
    }
}

/// Returns the attachments for which an ADD runs, by the environments of plugins, in so many looks.
///
/// The runtime does not list a sandbox while its networks are attached, and the attachment is not in the cache then: only
/// the plugins themselves know it.
pub(super) fn additions(looks: u32) -> Vec<types::Attachment> {
    let mut found: Vec<types::Attachment> = Vec::new();
    for look in 0..looks {
        if look > 0 {
            thread::sleep(PAUSE);
        }
        found.extend(processes().filter_map(addition));
    }
    found.sort_by(|a, b| (&a.container_id, &a.if_name).cmp(&(&b.container_id, &b.if_name)));
    found.dedup();
    found
}

/// Returns the attachment that a process makes, if it is a plugin.
fn addition(pid: u32) -> Option<types::Attachment> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let variable = |name: &str| {
        let mut variables = environment.split(|byte| *byte == 0);
        let value = variables
            .find_map(|variable| variable.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
        Some(String::from_utf8_lossy(value).into_owned()).filter(|value| !value.is_empty())
    };
    if variable("CNI_COMMAND")? != "ADD" {
        return None;
    }
    Some(types::Attachment {
        container_id: variable("CNI_CONTAINERID")?,
        if_name: variable("CNI_IFNAME")?,
    })
}

/// Returns the names of the links in a network namespace; none if it cannot be read.
pub(super) fn links(netns: &Path) -> Vec<String> {
    let read = || fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
    let text = Netns::open(netns)
        .and_then(|netns| netns.run(read))
        .unwrap_or_default();
    let names = text.lines().filter_map(|line| line.split_once(':'));
    names.map(|(name, _)| name.trim().to_owned()).collect()
}

/// Returns the numbers of all processes.
fn processes() -> impl Iterator<Item = u32> {
    let number = |entry: DirEntry| entry.file_name().to_str()?.parse().ok();
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(number)
}
