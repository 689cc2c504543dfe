//! System error numbers as text.

/// The text of a system error number in the wording and lower case that
/// runtimes and their users know from upstream ("no such file or directory").
///
/// The C library's own texts are capitalised and differ between glibc and musl,
/// so a static build would otherwise change the error texts of every plugin.
pub fn text(errno: i32) -> String {
    use nix::errno::Errno;
    let errno = Errno::from_raw(errno);
    match errno {
        Errno::EIO => "input/output error".into(),
        Errno::UnknownErrno => "unknown error".into(),
        known => {
            let text = known.desc();
            let mut chars = text.chars();
            match chars.next() {
                // "RFS specific error", "I/O error": leave acronyms alone.
                Some(first) if !chars.as_str().starts_with(char::is_uppercase) => {
                    first.to_lowercase().chain(chars).collect()
                }
                _ => text.into(),
            }
        }
    }
}

/// The same for an I/O error: its error number's text if it has one, else its
/// own text.
pub fn of(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(errno) => text(errno),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_users_know() {
        for (errno, expected) in [
            (nix::libc::ENOENT, "no such file or directory"),
            (nix::libc::EACCES, "permission denied"),
            (nix::libc::EIO, "input/output error"),
            (nix::libc::EPERM, "operation not permitted"),
            (nix::libc::EROFS, "read-only file system"),
            (nix::libc::ENOSPC, "no space left on device"),
        ] {
            assert_eq!(text(errno), expected);
        }
        assert_eq!(text(99999), "unknown error");
    }
}
