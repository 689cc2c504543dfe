//! Root privileges, also in a user namespace.

use std::fs;
use std::io;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

/// Whether the effective user is root, in the machine's or in the current user namespace.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Makes an unprivileged user root of a new user namespace, where it may create network and mount namespaces. Does
/// nothing if the user is root already.
///
/// # Errors
///
/// The error of the kernel: user namespaces can be disabled (`kernel.unprivileged_userns_clone`,
/// `user.max_user_namespaces`, AppArmor's `apparmor_restrict_unprivileged_userns`), and a process with more
/// than one thread cannot enter one, see user_namespaces(7).
pub fn become_root() -> io::Result<()> {
    if is_root() {
        return Ok(());
    }
    let (uid, gid) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER)?;
    // Without this the kernel refuses an unprivileged gid_map.
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
}
