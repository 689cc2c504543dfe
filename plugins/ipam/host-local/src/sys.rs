//! The system calls that have no safe wrapper: extended attributes, and file handles of
//! namespaces.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::libc::{self, c_int, c_void};

/// Length of the file handle of a namespace: `struct nsfs_file_handle` of linux/nsfs.h.
pub(crate) const HANDLE_LEN: usize = 16;

/// Type of the file handle of a namespace (`FILEID_NSFS` of linux/exportfs.h).
const FILEID_NSFS: c_int = 0xf1;

/// Stands for the file system of namespaces (`FD_NSFS_ROOT` of linux/fcntl.h).
const FD_NSFS_ROOT: c_int = -10003;

/// `struct file_handle` of linux/fs.h with room for the handle of a namespace.
#[repr(C)]
struct FileHandle {
    bytes: u32,
    kind: c_int,
    handle: [u8; HANDLE_LEN],
}

/// Returns an extended attribute of an open file, of at most `N` bytes.
///
/// # Errors
/// `ENODATA` if the file has none; `EOPNOTSUPP` if the file system has no attributes;
/// `ERANGE` if it is longer.
pub(crate) fn attribute<const N: usize>(file: &File, name: &CStr) -> io::Result<Vec<u8>> {
    let mut value = vec![0; N];
    // SAFETY: the name ends with a zero byte, and the kernel writes at most `N` bytes to
    // `value`, which has as many.
    let len = unsafe {
        libc::fgetxattr(
            file.as_raw_fd(),
            name.as_ptr(),
            value.as_mut_ptr().cast::<c_void>(),
            N,
        )
    };
    let len = Errno::result(len)?;
    value.truncate(usize::try_from(len).unwrap_or(0));
    Ok(value)
}

/// Sets an extended attribute of the file at `path`; a symbolic link is not followed.
///
/// # Errors
/// Those of the kernel, such as `EOPNOTSUPP` and `ENOSPC`.
pub(crate) fn set_attribute(path: &Path, name: &CStr, value: &[u8]) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: path and name end with a zero byte, and the kernel reads as many bytes as
    // `value` has.
    let result = unsafe {
        libc::lsetxattr(
            path.as_ptr(),
            name.as_ptr(),
            value.as_ptr().cast::<c_void>(),
            value.len(),
            0,
        )
    };
    Errno::result(result).map(drop).map_err(Into::into)
}

/// Returns the file handle of an open namespace.
///
/// # Errors
/// `EOPNOTSUPP` before Linux 6.18; `EOVERFLOW` or `EINVAL` for another file.
pub(crate) fn namespace_handle(file: BorrowedFd<'_>) -> io::Result<[u8; HANDLE_LEN]> {
    let mut handle = FileHandle {
        bytes: HANDLE_LEN as u32,
        kind: 0,
        handle: [0; HANDLE_LEN],
    };
    let mut mount = 0;
    // SAFETY: the empty path ends with a zero byte; the kernel writes `struct file_handle` with at
    // most `bytes` bytes behind its header, for which there is room, and a mount number.
    let result = unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            file.as_raw_fd(),
            c"".as_ptr(),
            &raw mut handle,
            &raw mut mount,
            libc::AT_EMPTY_PATH,
        )
    };
    Errno::result(result)?;
    match (handle.kind, handle.bytes as usize) {
        (FILEID_NSFS, HANDLE_LEN) => Ok(handle.handle),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Returns whether the namespace of a file handle exists. The kernel answers `ESTALE` if it
/// does not, and also if the process has no `CAP_SYS_ADMIN` over its owner: exportfs makes
/// `ESTALE` of every error of a file system.
///
/// # Errors
/// Those of the kernel, such as `EBADF` before Linux 6.18.
pub(crate) fn namespace_exists(handle: [u8; HANDLE_LEN]) -> io::Result<bool> {
    let handle = FileHandle {
        bytes: HANDLE_LEN as u32,
        kind: FILEID_NSFS,
        handle,
    };
    // SAFETY: the kernel reads `struct file_handle` with the bytes behind its header.
    let result = unsafe {
        libc::syscall(
            libc::SYS_open_by_handle_at,
            FD_NSFS_ROOT,
            &raw const handle,
            libc::O_RDONLY | libc::O_CLOEXEC,
        )
    };
    match Errno::result(result) {
        Ok(fd) => {
            if let Ok(fd) = c_int::try_from(fd) {
                // SAFETY: the descriptor was opened just now, and nothing else knows it.
                unsafe { libc::close(fd) };
            }
            Ok(true)
        }
        Err(Errno::ESTALE) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}
