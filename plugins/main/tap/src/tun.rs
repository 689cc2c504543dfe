//! Creates taps through `/dev/net/tun`, see Documentation/networking/tuntap.rst of the
//! kernel.

use crate::ioctl;
use anyhow::{anyhow, bail};
use cni_core::errno;
use nix::errno::Errno;
use nix::libc;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileTypeExt;

const DEVICE: &str = "/dev/net/tun";

/// A tap to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunSpec {
    /// The link's name.
    pub name: String,
    /// Whether a program may open several queues.
    pub multi_queue: bool,
    /// UID that may open it.
    pub owner: Option<u32>,
    /// GID that may open it.
    pub group: Option<u32>,
}

/// Creates a tap in the network namespace of the calling thread. A failure leaves none:
/// until the last step the tap is deleted when the descriptor is closed.
pub(crate) fn create(spec: &TunSpec) -> anyhow::Result<()> {
    let tun = File::options()
        .read(true)
        .write(true)
        .open(DEVICE)
        .map_err(|e| anyhow!("cannot open {DEVICE}: {}", errno::of(&e)))?;
    // Without EXCL, TUNSETIFF opens an existing tap.
    let mut flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_TUN_EXCL;
    if spec.multi_queue {
        flags |= libc::IFF_MULTI_QUEUE;
    }
    let step =
        |what: &'static str| move |e: Errno| anyhow!("{}", errno::text(e as i32)).context(what);
    ioctl::set_iff(&tun, &spec.name, flags).map_err(step("TUNSETIFF"))?;
    if let Some(uid) = spec.owner {
        ioctl::set_owner(&tun, uid).map_err(step("TUNSETOWNER"))?;
    }
    if let Some(gid) = spec.group {
        ioctl::set_group(&tun, gid).map_err(step("TUNSETGROUP"))?;
    }
    ioctl::set_persistent(&tun).map_err(step("TUNSETPERSIST"))
}

/// Tests that taps can be created, without creating one: opening the device creates none.
pub(crate) fn available() -> anyhow::Result<()> {
    let failed = |e: &io::Error| anyhow!("cannot create taps: {DEVICE}: {}", errno::of(e));
    let metadata = fs::metadata(DEVICE).map_err(|e| failed(&e))?;
    if !metadata.file_type().is_char_device() {
        bail!("cannot create taps: {DEVICE} is not a character device");
    }
    let device = File::options().read(true).write(true).open(DEVICE);
    device.map(drop).map_err(|e| failed(&e))
}
