//! What chained plugins share: plugins that work on what the ones before them in the
//! chain have made.

use crate::Container;
use anyhow::{Context, bail};
use cni_core::{AddResult, Call, errno};
use std::fs::{File, TryLockError};
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

/// How long another process may hold the lock of a namespace. Verbs take milliseconds.
const WAIT: Duration = Duration::from_secs(30);

/// Between two tries to get it.
const PAUSE: Duration = Duration::from_millis(2);

/// Which interfaces of `result` are the container's `CNI_IFNAME`. The host may have
/// one of the same name; one whose sandbox is written otherwise counts only if there
/// is no better one.
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

/// Keeps other plugins from the container's namespace as long as the file is open, by
/// `flock(2)` on the file of the namespace, as upstream's sbr does.
///
/// # Errors
/// When the file cannot be opened, or another process does not let go of it.
pub fn lock(container: &Container) -> anyhow::Result<File> {
    let path = container.netns.path();
    let until = Instant::now() + WAIT;
    // Never created: a namespace that is gone is not to come back as an empty file.
    let file = File::open(path)
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

/// Says on standard error what is no reason to fail.
pub fn note(text: &str) {
    // Nothing better can be done when standard error is closed.
    let _ = writeln!(std::io::stderr(), "{text}");
}
