//! Being root, at least in a user namespace.

use std::fs;
use std::io;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

/// Whether the effective user is root, in the machine's or in the current user namespace.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Makes an ordinary user root of a new user namespace, in which it may create network and mount
/// namespaces; does nothing for who is root already.
///
/// # Errors
///
/// What the kernel answered: user namespaces can be switched off (`kernel.unprivileged_userns_clone`,
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
