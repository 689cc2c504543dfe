//! The system calls that have no safe wrapper.
#![allow(unsafe_code)]

use nix::errno::Errno;
use nix::libc::{self, c_int, c_long, c_void};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

/// `_LINUX_CAPABILITY_VERSION_3` of linux/capability.h: sets of 64 bits.
const CAPABILITY_VERSION: u32 = 0x2008_0522;

/// `LANDLOCK_CREATE_RULESET_VERSION` of linux/landlock.h.
const ASK_VERSION: u32 = 1;

/// `LANDLOCK_RULE_PATH_BENEATH` of linux/landlock.h.
const PATH_BENEATH: c_int = 1;

/// `struct __user_cap_header_struct`.
#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: c_int,
}

/// `struct __user_cap_data_struct`: 32 bits of each set.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct CapabilityWord {
    pub(super) effective: u32,
    pub(super) permitted: u32,
    pub(super) inheritable: u32,
}

const OWN: CapabilityHeader = CapabilityHeader {
    version: CAPABILITY_VERSION,
    pid: 0,
};

/// Returns the capability sets of the calling thread.
pub(super) fn capabilities() -> nix::Result<[CapabilityWord; 2]> {
    let mut words = [CapabilityWord::default(); 2];
    // SAFETY: the kernel reads the header and writes two words of this layout.
    let result = unsafe {
        libc::syscall(
            libc::SYS_capget,
            ptr::from_ref(&OWN),
            words.as_mut_ptr().cast::<c_void>(),
        )
    };
    Errno::result(result).map(|_| words)
}

/// Sets the capability sets of the calling thread.
pub(super) fn set_capabilities(words: &[CapabilityWord; 2]) -> nix::Result<()> {
    // SAFETY: the kernel reads the header and two words of this layout.
    let result = unsafe { libc::syscall(libc::SYS_capset, ptr::from_ref(&OWN), words.as_ptr()) };
    Errno::result(result).map(drop)
}

/// `struct landlock_ruleset_attr`: the accesses that are refused unless a rule allows them.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct Handled {
    pub(super) files: u64,
    pub(super) network: u64,
    pub(super) scopes: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneath {
    access: u64,
    parent: RawFd,
}

/// Returns the kernel's version of Landlock.
///
/// # Errors
/// `ENOSYS` and `EOPNOTSUPP` of kernels without it.
pub(super) fn landlock_version() -> nix::Result<c_long> {
    // SAFETY: with this flag the kernel reads no memory.
    let result = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            ptr::null::<c_void>(),
            0usize,
            ASK_VERSION,
        )
    };
    Errno::result(result)
}

/// Creates a ruleset. A kernel that does not know one of the fields accepts it as 0.
pub(super) fn create_ruleset(handled: &Handled) -> nix::Result<OwnedFd> {
    // SAFETY: the kernel reads a structure of this size.
    let result = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            ptr::from_ref(handled),
            size_of::<Handled>(),
            0u32,
        )
    };
    let fd = Errno::result(result)?;
    let fd = RawFd::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just created it, for nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Adds a rule: `access` is allowed to the file `path` and everything below it.
pub(super) fn allow(ruleset: BorrowedFd<'_>, path: BorrowedFd<'_>, access: u64) -> nix::Result<()> {
    let rule = PathBeneath {
        access,
        parent: path.as_raw_fd(),
    };
    // SAFETY: the kernel reads a structure of this layout.
    let result = unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            ruleset.as_raw_fd(),
            PATH_BENEATH,
            ptr::from_ref(&rule).cast::<c_void>(),
            0u32,
        )
    };
    Errno::result(result).map(drop)
}

/// Confines the calling thread, and what it starts, to a ruleset.
pub(super) fn restrict_self(ruleset: BorrowedFd<'_>) -> nix::Result<()> {
    // SAFETY: takes two integers and touches no memory.
    let result =
        unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0u32) };
    Errno::result(result).map(drop)
}
