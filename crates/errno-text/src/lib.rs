//! Texts of system error numbers, in the lower case and wording of Go's `syscall.Errno`,
//! which runtimes and their users know from upstream.
//!
//! The C libraries capitalise theirs and disagree with each other (glibc and musl name
//! `EOPNOTSUPP` differently), so a static build would change the error texts of every
//! plugin.

use nix::libc;
use std::io;

/// Returns the text of a system error number, `errno 4711` if it has none here.
#[must_use]
pub fn text(errno: i32) -> String {
    known(errno).map_or_else(|| format!("errno {errno}"), str::to_owned)
}

/// Returns the text of an I/O error: its error number's if it has one, else its own.
#[must_use]
pub fn of(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(errno) => text(errno),
        None => error.to_string(),
    }
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
        libc::ENOTDIR => "not a directory",
        libc::EISDIR => "is a directory",
        libc::ENOTEMPTY => "directory not empty",
        libc::EPIPE => "broken pipe",
        libc::ENOEXEC => "exec format error",
        libc::ECHILD => "no child processes",
        libc::ENOTTY => "inappropriate ioctl for device",
        libc::ETXTBSY => "text file busy",
        libc::EMLINK => "too many links",
        libc::ESPIPE => "illegal seek",
        libc::EDEADLK => "resource deadlock avoided",
        libc::ENOLCK => "no locks available",
        libc::ECONNRESET => "connection reset by peer",
        libc::EUSERS => "too many users",
        libc::ENOTSOCK => "socket operation on non-socket",
        libc::ENOTBLK => "block device required",
        libc::ELIBACC => "can not access a needed shared library",
        libc::ECONNABORTED => "software caused connection abort",
        libc::EISCONN => "transport endpoint is already connected",
        libc::EDESTADDRREQ => "destination address required",
        libc::EILSEQ => "invalid or incomplete multibyte or wide character",
        libc::EKEYREJECTED => "key was rejected by service",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_of_go() {
        for (errno, expected) in [
            (libc::ENOENT, "no such file or directory"),
            (libc::EACCES, "permission denied"),
            (libc::EIO, "input/output error"),
            (libc::ENOMEM, "cannot allocate memory"),
            (libc::EOPNOTSUPP, "operation not supported"),
            (4711, "errno 4711"),
        ] {
            assert_eq!(text(errno), expected);
            assert_eq!(of(&io::Error::from_raw_os_error(errno)), expected);
        }
        assert_eq!(of(&io::Error::other("no number")), "no number");
    }
}
