//! Extended attributes.
#![allow(unsafe_code)]

use nix::errno::Errno;
use nix::libc;
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// The attribute that holds a file's SELinux label.
const LABEL: &CStr = c"security.selinux";

/// Longest label that is kept, in bytes. Those of SELinux policies have less than 100.
const LONGEST: usize = 4096;

/// Returns a file's SELinux label; `None` if it has none or the file system has no labels.
pub(crate) fn label(file: &File) -> Option<Vec<u8>> {
    let mut label = vec![0; LONGEST];
    // SAFETY: the name ends with a zero byte, and the value has room for `LONGEST` bytes.
    let length = unsafe {
        libc::fgetxattr(
            file.as_raw_fd(),
            LABEL.as_ptr(),
            label.as_mut_ptr().cast(),
            label.len(),
        )
    };
    label.truncate(usize::try_from(length).ok()?);
    Some(label)
}

/// Sets a file's SELinux label. Succeeds if the file system has no labels.
///
/// # Errors
/// Those of the kernel's policy.
pub(crate) fn set_label(file: &File, label: &[u8]) -> io::Result<()> {
    // SAFETY: the name ends with a zero byte, and the value has `label.len()` bytes.
    let set = unsafe {
        libc::fsetxattr(
            file.as_raw_fd(),
            LABEL.as_ptr(),
            label.as_ptr().cast(),
            label.len(),
            0,
        )
    };
    match Errno::result(set) {
        Ok(_) | Err(Errno::ENOTSUP) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
