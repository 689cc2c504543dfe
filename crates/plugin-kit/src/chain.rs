//! Helpers of chained plugins, which work on interfaces that earlier plugins created.

use crate::Container;
use anyhow::{Context, bail};
use cni_core::{AddResult, Call, errno};
use std::fs::{File, TryLockError};
use std::io::Write;
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

/// How long to wait for the lock of a namespace. Verbs take milliseconds.
const WAIT: Duration = Duration::from_secs(30);

/// Interval between attempts to take the lock.
const PAUSE: Duration = Duration::from_millis(2);

/// Returns the indices of the interfaces of `result` that are the container's `CNI_IFNAME`,
/// and not interfaces of the same name on the host. If no sandbox equals `CNI_NETNS`, any
/// sandbox counts, since the namespace may have several paths.
pub fn own_interfaces(call: &Call, result: &AddResult) -> Vec<usize> {
    let sandbox = call.sandbox();
    let own = |wanted: &dyn Fn(&str) -> bool| -> Vec<usize> {
        let all = result.interfaces.iter().enumerate();
        all.filter(|(_, i)| i.name == call.if_name && wanted(&i.sandbox))
            .map(|(number, _)| number)
            .collect()
    };
    let exactly = own(&|other| other == sandbox);
    match exactly.is_empty() {
        true => own(&|other| !other.is_empty()),
        false => exactly,
    }
}

/// Locks the container's namespace against other plugins as long as the returned file or
/// the container is open, by `flock(2)` on the file of the namespace, as upstream's sbr
/// does.
///
/// # Errors
/// When another process keeps the lock.
pub fn lock(container: &Container) -> anyhow::Result<File> {
    let path = container.netns.path();
    let until = Instant::now() + WAIT;
    // Not opened by its path, which a confined process may be refused.
    let file = container.netns.as_fd().try_clone_to_owned().map(File::from);
    let file = file
        .map_err(|e| anyhow::anyhow!("{}", errno::of(&e)))
        .with_context(|| format!("failed to open {}", path.display()))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(e)) => {
                bail!("failed to lock {}: {}", path.display(), errno::of(&e))
            }
            Err(TryLockError::WouldBlock) if Instant::now() < until => thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => bail!(
                "failed to lock {0}: another process holds it for more than {1} s; find that \
                 process (\"fuser {0}\") and end it if it hangs",
                path.display(),
                WAIT.as_secs()
            ),
        }
    }
}

/// Logs a non-fatal warning.
pub fn note(text: &str) {
    // Nothing better can be done when standard error is closed.
    let _ = writeln!(std::io::stderr(), "{text}");
}
