//! Namespaces that outlive the process that made them: bind mounts of a thread's
//! namespace onto a file, as `ip netns` makes them.

use super::{Netns, NsError};
use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, unshare};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Where persistent namespaces live: `/var/run/netns`, or
/// `$XDG_RUNTIME_DIR/netns` when `/var/run` belongs to another user.
pub fn default_dir() -> PathBuf {
    let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
    match (runtime_dir, fs::metadata("/var/run")) {
        (Some(dir), Ok(run)) if run.uid() != nix::unistd::geteuid().as_raw() => {
            Path::new(&dir).join("netns")
        }
        _ => "/var/run/netns".into(),
    }
}

/// Creates a network namespace and keeps it at `path` until
/// [`delete_persistent`]. The directory is created when missing and made a
/// shared mount, so that the namespace is visible in other mount namespaces.
///
/// # Errors
/// When `path` exists, or a mount or `unshare(2)` is refused. Nothing is left
/// behind then.
pub fn create_persistent(path: &Path) -> Result<Netns, NsError> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    share_dir(dir)?;
    File::create_new(path)
        .map_err(|e| NsError::other(format!("failed to create {}", path.display()), e))?;
    let made = bind_new_namespace(path).and_then(|()| Netns::open(path));
    if made.is_err() {
        // Best effort: the first error is the one to report.
        let _ = umount(path);
        let _ = fs::remove_file(path);
    }
    made
}

/// Removes what [`create_persistent`] made. The namespace itself lives on while
/// a process, a handle or another mount refers to it.
///
/// # Errors
/// When `path` is no mount, is busy, or cannot be removed.
pub fn delete_persistent(path: &Path) -> Result<(), NsError> {
    umount(path)
        .map_err(|e| NsError::other(format!("failed to unmount NS: at {}", path.display()), e))?;
    fs::remove_file(path)
        .map_err(|e| NsError::other(format!("failed to remove ns path {}", path.display()), e))
}

fn share_dir(dir: &Path) -> Result<(), NsError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(dir)
        .map_err(|e| NsError::other(format!("failed to create {}", dir.display()), e))?;
    let make_shared = || {
        mount(
            None::<&str>,
            dir,
            None::<&str>,
            MsFlags::MS_SHARED | MsFlags::MS_REC,
            None::<&str>,
        )
    };
    match make_shared() {
        Ok(()) => return Ok(()),
        // Not a mount point yet: bind it onto itself first.
        Err(nix::errno::Errno::EINVAL) => {}
        Err(e) => {
            return Err(NsError::other(
                format!("mount --make-rshared {} failed", dir.display()),
                e,
            ));
        }
    }
    mount(
        Some(dir),
        dir,
        None::<&str>,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        None::<&str>,
    )
    .map_err(|e| NsError::other(format!("mount --rbind {0} {0} failed", dir.display()), e))?;
    make_shared()
        .map_err(|e| NsError::other(format!("mount --make-rshared {} failed", dir.display()), e))
}

/// A new namespace can only be made by moving a thread into it, so a thread
/// gives its life for it.
fn bind_new_namespace(path: &Path) -> Result<(), NsError> {
    let path = path.to_owned();
    let worker = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET)
            .map_err(|e| NsError::other("failed to create namespace", e))?;
        let own = "/proc/thread-self/ns/net";
        mount(
            Some(own),
            &path,
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        )
        .map_err(|e| NsError::other(format!("failed to bind mount ns at {}", path.display()), e))
    });
    worker.join().unwrap_or_else(|_| {
        Err(NsError::other(
            "failed to create namespace",
            io::Error::other("the thread panicked"),
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_and_removed() {
        // A mount namespace of this test's own, so that nothing shows outside.
        std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS).expect("this test needs root");
            let flags = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
            mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).unwrap();
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("netns/c1");
            let ns = create_persistent(&path).unwrap();
            assert!(!ns.is_same(&Netns::current().unwrap()).unwrap());
            assert!(create_persistent(&path).is_err(), "the name is taken");
            assert!(Netns::open(&path).unwrap().is_same(&ns).unwrap());
            drop(ns);
            delete_persistent(&path).unwrap();
            assert!(Netns::open(&path).unwrap_err().is_gone());
            assert!(delete_persistent(&path).is_err());
            umount(&dir.path().join("netns")).unwrap();
        })
        .join()
        .unwrap();
    }
}
