//! Deferred completion: work that only the kernel still has to finish, left to a child
//! process.
//!
//! Deleting a link blocks its caller until RCU grace periods have passed, 15 to 30 ms
//! (`netdev_run_todo`). The link is out of all lists within one: its name is free, and the
//! kernel has announced its deletion. Closing a socket of nf_tables, too, waits until the
//! rules that anyone deleted in the namespace are freed (`nft_rcv_nl_event`).
//!
//! A forked child makes these calls ([`LinkDeletion`], [`hold`]). It has closed everything
//! else, standard output first, is in a session of its own, and exits when it is done. There
//! is one per process, and another one for each further deletion of links.
//!
//! The plugin does not wait for that child, so something else must reap it. In the initial
//! PID namespace that is the init process, or a process that asked for it
//! (`PR_SET_CHILD_SUBREAPER`). Elsewhere, PID 1 may be any program. There, no child is
//! started: a thread deletes links meanwhile, and the plugin waits for it, and sockets are
//! closed at once. `CNI_DEFER` overrides this. The same is done where `fork` fails.

mod child;
mod deletion;

use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use self::child::Child;
pub use self::deletion::{DeletionSocket, LinkDeletion};

/// The environment variable that overrides where a child is started: `always` or `never`.
const VARIABLE: &str = "CNI_DEFER";

/// Inode of the initial PID namespace (`PROC_PID_INIT_INO`, linux/proc_ns.h).
const INITIAL_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// The child of this process that holds sockets.
static HOLDER: Mutex<Option<Arc<Child>>> = Mutex::new(None);

/// Whether a child process may be left behind.
fn may_leave_child() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| match std::env::var(VARIABLE).as_deref() {
        Ok("always") => true,
        Ok("never") => false,
        _ => std::fs::metadata("/proc/self/ns/pid")
            .is_ok_and(|namespace| namespace.ino() == INITIAL_PID_NAMESPACE),
    })
}

/// Hands a reference to `socket` to the child, so that closing it does not wait: the child
/// closes it some time after this process has ended. To be called before it is closed.
///
/// Where no child may be left behind or `fork` fails, nothing is done.
pub fn hold(socket: BorrowedFd<'_>) {
    if !may_leave_child() {
        return;
    }
    let mut holder = HOLDER.lock().unwrap_or_else(PoisonError::into_inner);
    if holder.is_none() {
        *holder = Child::start(None).ok().map(Arc::new);
    }
    if let Some(child) = &*holder {
        // On failure, closing takes longer.
        let _ = child.pass(socket.as_raw_fd());
    }
}

/// Starts a child that sends `datagrams` by `socket`, and holds sockets if there is none yet
/// that does.
fn start_sending(socket: BorrowedFd<'_>, datagrams: &[Vec<u8>]) -> nix::Result<Arc<Child>> {
    let child = Arc::new(Child::start(Some((socket, datagrams)))?);
    let mut holder = HOLDER.lock().unwrap_or_else(PoisonError::into_inner);
    holder.get_or_insert_with(|| Arc::clone(&child));
    Ok(child)
}
