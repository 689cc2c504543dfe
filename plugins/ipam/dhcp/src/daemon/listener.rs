//! The socket of the daemon: systemd's, or its own.

use super::flags::Flags;
use crate::sys;
use anyhow::{Context, bail};
use cni_state::Lock;
use nix::sys::socket::{SockType, getsockopt, sockopt};
use nix::sys::stat::{Mode, umask};
use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The first descriptor that systemd passes (`SD_LISTEN_FDS_START`).
const FIRST_PASSED: i32 = 3;
/// How long another daemon may take to start.
const PATIENCE: Duration = Duration::from_secs(10);

/// The listening socket, and its path if it is to be removed at the end.
pub(super) struct Listener {
    pub(super) socket: UnixListener,
    own: Option<PathBuf>,
}

impl Listener {
    /// Takes over systemd's socket, or binds one.
    ///
    /// # Errors
    /// When something else is at the path, or another daemon listens there.
    pub(super) fn open(flags: &Flags) -> anyhow::Result<Listener> {
        let (socket, own) = match passed()? {
            Some(socket) => (socket, None),
            None => {
                let path = flags.on_host(&flags.socket_path);
                (bind(&path)?, Some(path))
            }
        };
        socket.set_nonblocking(true)?;
        Ok(Listener { socket, own })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(path) = &self.own {
            // One that stays is removed by the next daemon.
            let _ = fs::remove_file(path);
        }
    }
}

/// Returns the socket that systemd has passed to this process (sd_listen_fds(3)).
fn passed() -> anyhow::Result<Option<UnixListener>> {
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|value| value.parse::<u32>().ok())
    };
    if number("LISTEN_PID") != Some(std::process::id()) {
        return Ok(None);
    }
    match number("LISTEN_FDS") {
        None | Some(0) => return Ok(None),
        Some(1) => {}
        Some(count) => bail!("Too many ({count}) FDs passed through socket activation"),
    }
    let socket = sys::take_descriptor(FIRST_PASSED).ok().filter(|fd| {
        getsockopt(fd, sockopt::SockType) == Ok(SockType::Stream)
            && getsockopt(fd, sockopt::AcceptConn) == Ok(true)
    });
    match socket {
        Some(fd) => Ok(Some(fd.into())),
        None => bail!("LISTEN_FDS=1 but no FD found"),
    }
}

fn bind(path: &Path) -> anyhow::Result<UnixListener> {
    if let Some(parent) = path.parent() {
        let created = DirBuilder::new().recursive(true).mode(0o700).create(parent);
        created.with_context(|| format!("cannot create {}", parent.display()))?;
    }
    // Two daemons that start at once must not remove each other's socket.
    let _lock = Lock::take("dhcp-daemon", PATIENCE)?;
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
        Ok(found) if !found.file_type().is_socket() => bail!(
            "{} is in the way of the daemon's socket, and is no socket: remove it, or choose \
             another path by -socketpath",
            path.display()
        ),
        Ok(_) => match UnixStream::connect(path) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                fs::remove_file(path).with_context(|| {
                    format!("cannot remove the stale socket {}", path.display())
                })?;
            }
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
            Ok(_) => bail!(
                "another daemon listens on {}: stop it, or choose another path by -socketpath",
                path.display()
            ),
        },
    }
    let before = umask(Mode::from_bits_truncate(0o177));
    let bound = UnixListener::bind(path);
    umask(before);
    bound.with_context(|| format!("Error getting listener: listen unix {}", path.display()))
}
