//! Texts of error numbers.
//!
//! Spelled out here because the C libraries disagree (glibc and musl name
//! `EOPNOTSUPP` differently) while callers promise one text for one error. The
//! texts are those that Go's `syscall.Errno` prints.

use std::fmt;

use nix::libc;

pub(crate) use libc::{EADDRNOTAVAIL, EEXIST, EINVAL, ENODEV, ENOENT, EOPNOTSUPP, ESRCH};

pub(crate) fn write_text(f: &mut fmt::Formatter<'_>, errno: i32) -> fmt::Result {
    match known(errno) {
        Some(text) => f.write_str(text),
        None => write!(f, "errno {errno}"),
    }
}

/// The text of an error number in lower case, `errno 4711` if it has none.
#[must_use]
pub fn text(errno: i32) -> String {
    known(errno).map_or_else(|| format!("errno {errno}"), str::to_owned)
}

fn known(errno: i32) -> Option<&'static str> {
    Some(match errno {
        libc::EPERM => "operation not permitted",
        libc::ENOENT => "no such file or directory",
        libc::ESRCH => "no such process",
        libc::EINTR => "interrupted system call",
        libc::EIO => "input/output error",
        libc::ENXIO => "no such device or address",
        libc::E2BIG => "argument list too long",
        libc::EBADF => "bad file descriptor",
        libc::EAGAIN => "resource temporarily unavailable",
        libc::ENOMEM => "cannot allocate memory",
        libc::EACCES => "permission denied",
        libc::EFAULT => "bad address",
        libc::EBUSY => "device or resource busy",
        libc::EEXIST => "file exists",
        libc::EXDEV => "invalid cross-device link",
        libc::ENODEV => "no such device",
        libc::EINVAL => "invalid argument",
        libc::ENFILE => "too many open files in system",
        libc::EMFILE => "too many open files",
        libc::EFBIG => "file too large",
        libc::ENOSPC => "no space left on device",
        libc::EROFS => "read-only file system",
        libc::EDOM => "numerical argument out of domain",
        libc::ERANGE => "numerical result out of range",
        libc::ENAMETOOLONG => "file name too long",
        libc::ENOSYS => "function not implemented",
        libc::ELOOP => "too many levels of symbolic links",
        libc::ENOMSG => "no message of desired type",
        libc::ENODATA => "no data available",
        libc::ETIME => "timer expired",
        libc::ENOLINK => "link has been severed",
        libc::EPROTO => "protocol error",
        libc::EBADMSG => "bad message",
        libc::EOVERFLOW => "value too large for defined data type",
        libc::ENOTUNIQ => "name not unique on network",
        libc::EMSGSIZE => "message too long",
        libc::ENOPROTOOPT => "protocol not available",
        libc::EPROTONOSUPPORT => "protocol not supported",
        libc::ESOCKTNOSUPPORT => "socket type not supported",
        libc::EOPNOTSUPP => "operation not supported",
        libc::EPFNOSUPPORT => "protocol family not supported",
        libc::EAFNOSUPPORT => "address family not supported by protocol",
        libc::EADDRINUSE => "address already in use",
        libc::EADDRNOTAVAIL => "cannot assign requested address",
        libc::ENETDOWN => "network is down",
        libc::ENETUNREACH => "network is unreachable",
        libc::ENOBUFS => "no buffer space available",
        libc::ENOTCONN => "transport endpoint is not connected",
        libc::ETIMEDOUT => "connection timed out",
        libc::ECONNREFUSED => "connection refused",
        libc::EHOSTDOWN => "host is down",
        libc::EHOSTUNREACH => "no route to host",
        libc::EALREADY => "operation already in progress",
        libc::EINPROGRESS => "operation now in progress",
        libc::ESTALE => "stale file handle",
        libc::EDQUOT => "disk quota exceeded",
        libc::ECANCELED => "operation canceled",
        _ => return None,
    })
}
